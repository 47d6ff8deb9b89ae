"""Volumes: one picture whatever the storage, and a plain word about every file that holds none."""

from __future__ import annotations

import errno
import struct
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mri_transfer.errors import (
    IntensityError,
    MachineError,
    ScanError,
    UnreachableScanError,
    UnreadableScanError,
    UnsupportedScanError,
)
from mri_transfer.scans.volumes import Volume, VolumeSpec, check_header, load_volume
from tests.gallery import AFFINE, patch_header, store_phantom
from tests.phantoms import ALL_ORIENTATIONS, asymmetric_phantom, store_nifti


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Import MONAI once: the warnings of its own imports are no business of these tests."""
    pytest.importorskip("monai.transforms")


def _load(path: Path, spec: VolumeSpec | None = None) -> Volume:
    return load_volume(path, scan_id="s1", spec=spec)


class TestOrientation:
    def test_there_are_48_ways_to_store_a_volume(self) -> None:
        assert len(set(ALL_ORIENTATIONS)) == 48

    @pytest.mark.parametrize("axcodes", ALL_ORIENTATIONS)
    def test_storage_direction_does_not_matter(self, tmp_path: Path, axcodes: str) -> None:
        phantom = asymmetric_phantom()
        path = store_nifti(tmp_path / "s.nii", phantom, AFFINE, axcodes=axcodes)
        assert check_header(path, scan_id="s1").orientation == axcodes
        volume = _load(path)
        assert np.array_equal(volume.voxels, phantom)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
        np.testing.assert_allclose(volume.spacing_mm, (1.0, 1.5, 2.0))

    def test_the_phantom_differs_from_each_of_its_other_storages(self) -> None:
        # Without this the test above would prove nothing.
        cube = asymmetric_phantom((20, 20, 20))
        assert not np.array_equal(cube, cube[::-1])
        assert not np.array_equal(cube, cube[:, ::-1])
        assert not np.array_equal(cube, cube[:, :, ::-1])
        assert not np.array_equal(cube, cube.transpose(1, 0, 2))

    def test_agrees_with_nibabels_closest_canonical(self, tmp_path: Path) -> None:
        tilt = np.deg2rad(20)
        affine = AFFINE.copy()
        turn = [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
        affine[:3, :3] = np.array(turn) @ affine[:3, :3]
        path = store_nifti(tmp_path / "s.nii.gz", asymmetric_phantom(), affine, axcodes="PIL")
        volume = _load(path)
        reference = nib.as_closest_canonical(nib.load(path))
        assert np.array_equal(volume.voxels, reference.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-12)
        np.testing.assert_allclose(volume.spacing_mm, (1.0, 1.5, 2.0), rtol=1e-6)

    @pytest.mark.parametrize("code", ["sform_code", "qform_code"])
    def test_one_of_the_two_forms_suffices(self, tmp_path: Path, code: str) -> None:
        path = store_nifti(tmp_path / "s.nii", asymmetric_phantom(), AFFINE, axcodes="LPS")
        patch_header(path, code, "<h", 0)
        np.testing.assert_allclose(_load(path).affine, AFFINE, atol=1e-5)


class TestStorage:
    @pytest.mark.parametrize("name", ["s.nii", "s.nii.gz", "S.NII.GZ"])
    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("dtype", ["uint16", "<i2", ">i2", "<i4", ">f4", "<f8", "float32"])
    def test_the_same_voxels_from_every_kind_of_file(
        self, tmp_path: Path, name: str, version: int, dtype: str
    ) -> None:
        phantom = asymmetric_phantom()
        path = store_nifti(tmp_path / name, phantom, AFFINE, dtype=dtype, version=version)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            volume = _load(path)
        assert volume.voxels.dtype == np.dtype("float32")
        assert volume.voxels.flags.c_contiguous
        assert volume.voxels.flags.writeable
        assert volume.affine.dtype == np.dtype("float64")
        assert volume.scan_id == "s1"
        assert np.array_equal(volume.voxels, phantom)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_scale_factors_are_applied(self, tmp_path: Path, order: str) -> None:
        phantom = asymmetric_phantom()
        path = store_nifti(tmp_path / "s.nii", phantom, dtype=f"{order}i2")
        patch_header(path, "scl_slope", f"{order}ff", 0.5, -3.0)
        assert np.array_equal(_load(path).voxels, phantom * 0.5 - 3)

    @pytest.mark.parametrize("slope", [0.0, float("nan")])
    def test_a_slope_that_means_none_changes_nothing(self, tmp_path: Path, slope: float) -> None:
        phantom = asymmetric_phantom()
        path = store_nifti(tmp_path / "s.nii", phantom)
        patch_header(path, "scl_slope", "<ff", slope, 0.0)
        assert np.array_equal(_load(path).voxels, phantom)

    @pytest.mark.parametrize("extra", [(1,), (1, 1)])
    def test_a_single_frame_is_squeezed(self, tmp_path: Path, extra: tuple[int, ...]) -> None:
        phantom = asymmetric_phantom()
        path = tmp_path / "s.nii"
        nib.save(nib.Nifti1Image(phantom.reshape(*phantom.shape, *extra), AFFINE), path)
        assert check_header(path, scan_id="s1").shape == phantom.shape
        assert np.array_equal(_load(path).voxels, phantom)

    def test_header_extensions_are_skipped(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(asymmetric_phantom(), AFFINE)
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
        nib.save(image, tmp_path / "s.nii")
        assert np.array_equal(_load(tmp_path / "s.nii").voxels, asymmetric_phantom())

    def test_a_slab_of_32_slices_is_accepted(self, tmp_path: Path) -> None:
        path = store_nifti(tmp_path / "s.nii.gz", asymmetric_phantom((40, 48, 32)))
        assert _load(path).voxels.shape == (40, 48, 32)

    def test_the_header_alone_says_what_is_in_the_file(self, tmp_path: Path) -> None:
        path = store_nifti(
            tmp_path / "s.nii", asymmetric_phantom(), AFFINE, axcodes="PSR", dtype=">i2"
        )
        header = check_header(str(path), scan_id="s1")
        assert header.shape == (24, 27, 21)
        assert header.spacing_mm == pytest.approx((1.5, 2.0, 1.0))
        assert header.dtype == np.dtype(">i2")


class TestBadInput:
    def test_a_file_that_may_not_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = store_phantom(tmp_path / "s.nii")

        def refuse(*args: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        # Not by chmod alone: an administrator may read everything.
        path.chmod(0)
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(UnreadableScanError, match="no permission to read") as caught:
            _load(path)
        assert "permission" in str(caught.value.remedy)

    @pytest.mark.parametrize("error", [RecursionError, struct.error, KeyError])
    def test_whatever_the_reader_raises_becomes_a_scan_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        path = store_phantom(tmp_path / "s.nii")

        def fail(*args: object, **options: object) -> None:
            raise error("boom")

        monkeypatch.setattr(nib.arrayproxy, "ArrayProxy", fail)
        with pytest.raises(ScanError, match="scan s1"):
            _load(path)

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (MemoryError("boom"), MachineError),
            (RuntimeError("Failed to allocate memory for image."), MachineError),
            (OSError(errno.ENOMEM, "Cannot allocate memory"), MachineError),
            (OSError(errno.EMFILE, "Too many open files"), MachineError),
            (ImportError("no such package"), MachineError),
            (OSError(errno.EIO, "Input/output error"), UnreachableScanError),
            (OSError(errno.ESTALE, "Stale file handle"), UnreachableScanError),
            (OSError(errno.ELOOP, "Too many levels of symbolic links"), UnreadableScanError),
        ],
        ids=str,
    )
    def test_what_the_machine_lacks_is_no_fault_of_the_scan(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        kind: type[Exception],
    ) -> None:
        path = store_phantom(tmp_path / "s.nii")

        def fail(*args: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(nib.arrayproxy, "ArrayProxy", fail)
        with pytest.raises(kind) as caught:
            _load(path)
        assert type(caught.value) is kind

    def test_every_cut_of_the_header_is_refused(self, tmp_path: Path) -> None:
        data = store_phantom(tmp_path / "whole.nii").read_bytes()
        path = tmp_path / "s.nii"
        for length in range(1, 353, 3):
            path.write_bytes(data[:length])
            with pytest.raises(UnreadableScanError):
                check_header(path, scan_id="s1")

    def test_no_damaged_header_makes_another_exception(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        data = store_phantom(tmp_path / "whole.nii").read_bytes()
        path = tmp_path / "s.nii"
        refused = 0
        for _ in range(150):
            damaged = bytearray(data)
            for at in rng.integers(0, 348, size=6):
                damaged[at] = rng.integers(0, 256)
            path.write_bytes(damaged)
            try:
                _load(path)
            except ScanError:
                refused += 1
        assert refused > 50

    @pytest.mark.parametrize(
        ("spec", "says"),
        [
            (VolumeSpec(max_voxels=13607), "at most 13607"),
            (VolumeSpec(min_axis_voxels=22), "at least 22"),
            (VolumeSpec(max_spacing_mm=1.9), "voxel sizes"),
            (VolumeSpec(min_spacing_mm=1.1), "voxel sizes"),
        ],
    )
    def test_the_limits_are_those_of_the_spec(
        self, tmp_path: Path, spec: VolumeSpec, says: str
    ) -> None:
        path = store_phantom(tmp_path / "s.nii")
        with pytest.raises(UnsupportedScanError, match=says):
            _load(path, spec)
        exact = VolumeSpec(max_voxels=13608, min_axis_voxels=21, max_spacing_mm=2, min_spacing_mm=1)
        assert _load(path, exact).voxels.size == 13608

    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_z_scored_brain_is_named(self, tmp_path: Path, sign: int) -> None:
        inside = np.zeros((40, 40, 40), dtype=bool)
        inside[10:30, 8:34, 8:30] = True
        scores = 1000 * np.random.default_rng(0).normal(size=inside.shape)
        path = store_nifti(tmp_path / "z.nii", sign * np.where(inside, scores, 0), AFFINE)
        with pytest.raises(IntensityError, match="z-scoring") as refused:
            _load(path)
        assert "its darkest voxel is above the background" in str(refused.value)
        lifted = np.where(inside, scores - scores.min() + 1, 0)
        _load(store_nifti(tmp_path / "lifted.nii", lifted, AFFINE))

    def test_what_interpolation_rings_and_whole_heads_below_zero_pass(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        brain = np.zeros((40, 40, 40))
        brain[10:30, 8:34, 8:30] = rng.uniform(50, 100, (20, 26, 22))
        # A spline rings below zero at the brain's edge, in some voxels and by little.
        brain[9, 8:34, 8:30] = -6
        brain[10:30, 8:34, 8] = -3
        _load(store_nifti(tmp_path / "ringing.nii", brain, AFFINE))
        # Centred between -1 and 1 the background stays the darkest.
        _load(store_nifti(tmp_path / "centred.nii", np.maximum(brain, 0) * 20 - 1000, AFFINE))
        noise = brain + rng.normal(size=brain.shape)
        centred = 1000 * (noise - noise.mean()) / noise.std()
        _load(store_nifti(tmp_path / "head.nii", centred, AFFINE))

    @pytest.mark.parametrize("options", [{"max_voxels": 0}, {"min_axis": 3}])
    def test_limits_that_cannot_be_meant_are_refused(self, options: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="validation error"):
            VolumeSpec(**options)


@pytest.mark.data
class TestRealScans:
    def test_every_real_scan_is_as_nibabel_reads_it(self, shared_data: Path) -> None:
        paths = sorted(shared_data.glob("*/sub-*/**/*.nii.gz"))
        one_a_cohort = {path.relative_to(shared_data).parts[0]: path for path in paths}
        assert set(one_a_cohort) == {"ixi-16", "oasis1-heads-3", "oasis1-repeat-5"}
        for path in one_a_cohort.values():
            volume = _load(path)
            reference = nib.as_closest_canonical(nib.load(path))
            assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
            assert np.array_equal(volume.voxels, reference.get_fdata(dtype=np.float32))
            np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-9)

    def test_the_second_cohort_is_turned(self, shared_data: Path) -> None:
        path = shared_data / "ixi-16" / "sub-IXI015" / "anat" / "sub-IXI015_T1w.nii.gz"
        header = check_header(path, scan_id="s1")
        assert (header.orientation, header.shape) == ("PSR", (120, 120, 90))
        volume = _load(path)
        assert volume.voxels.shape == (90, 120, 120)
        assert volume.spacing_mm == pytest.approx((2.0, 2.0, 2.0))
