"""Volumes: one picture whatever the storage, and a plain word about every file that holds none."""

from __future__ import annotations

import dataclasses
import gzip
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mri_transfer.errors import (
    IntensityError,
    ScanError,
    UnreadableScanError,
    UnsupportedScanError,
)
from mri_transfer.volumes import Volume, VolumeSpec, check_header, load_volume
from tests.phantoms import ALL_ORIENTATIONS, asymmetric_phantom, ras_affine, store_nifti

_SPACING = (1.0, 1.5, 2.0)
_AFFINE = ras_affine(_SPACING)


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
        path = store_nifti(tmp_path / "s.nii", phantom, _AFFINE, axcodes=axcodes)
        assert check_header(path, scan_id="s1").orientation == axcodes
        volume = _load(path)
        assert np.array_equal(volume.voxels, phantom)
        np.testing.assert_allclose(volume.affine, _AFFINE, atol=1e-5)
        np.testing.assert_allclose(volume.spacing_mm, _SPACING)

    def test_the_phantom_differs_from_each_of_its_other_storages(self) -> None:
        # Without this the test above would prove nothing.
        cube = asymmetric_phantom((20, 20, 20))
        assert not np.array_equal(cube, cube[::-1])
        assert not np.array_equal(cube, cube[:, ::-1])
        assert not np.array_equal(cube, cube[:, :, ::-1])
        assert not np.array_equal(cube, cube.transpose(1, 0, 2))

    def test_agrees_with_nibabels_closest_canonical(self, tmp_path: Path) -> None:
        tilt = np.deg2rad(20)
        affine = _AFFINE.copy()
        turn = [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
        affine[:3, :3] = np.array(turn) @ affine[:3, :3]
        path = store_nifti(tmp_path / "s.nii.gz", asymmetric_phantom(), affine, axcodes="PIL")
        volume = _load(path)
        reference = nib.as_closest_canonical(nib.load(path))
        assert np.array_equal(volume.voxels, reference.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-12)
        np.testing.assert_allclose(volume.spacing_mm, _SPACING, rtol=1e-6)

    @pytest.mark.parametrize("code", ["sform_code", "qform_code"])
    def test_one_of_the_two_forms_suffices(self, tmp_path: Path, code: str) -> None:
        path = store_nifti(tmp_path / "s.nii", asymmetric_phantom(), _AFFINE, axcodes="LPS")
        _patch(path, _HEADER_FIELDS[code], "<h", 0)
        np.testing.assert_allclose(_load(path).affine, _AFFINE, atol=1e-5)


class TestStorage:
    @pytest.mark.parametrize("name", ["s.nii", "s.nii.gz", "S.NII.GZ"])
    @pytest.mark.parametrize("version", [1, 2])
    @pytest.mark.parametrize("dtype", ["uint16", "<i2", ">i2", "<i4", ">f4", "<f8", "float32"])
    def test_the_same_voxels_from_every_kind_of_file(
        self, tmp_path: Path, name: str, version: int, dtype: str
    ) -> None:
        phantom = asymmetric_phantom()
        path = store_nifti(tmp_path / name, phantom, _AFFINE, dtype=dtype, version=version)
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
        _patch(path, _HEADER_FIELDS["scl_slope"], f"{order}ff", 0.5, -3.0)
        assert np.array_equal(_load(path).voxels, phantom * 0.5 - 3)

    @pytest.mark.parametrize("slope", [0.0, float("nan")])
    def test_a_slope_that_means_none_changes_nothing(self, tmp_path: Path, slope: float) -> None:
        phantom = asymmetric_phantom()
        path = store_nifti(tmp_path / "s.nii", phantom)
        _patch(path, _HEADER_FIELDS["scl_slope"], "<ff", slope, 0.0)
        assert np.array_equal(_load(path).voxels, phantom)

    @pytest.mark.parametrize("extra", [(1,), (1, 1)])
    def test_a_single_frame_is_squeezed(self, tmp_path: Path, extra: tuple[int, ...]) -> None:
        phantom = asymmetric_phantom()
        path = tmp_path / "s.nii"
        nib.save(nib.Nifti1Image(phantom.reshape(*phantom.shape, *extra), _AFFINE), path)
        assert check_header(path, scan_id="s1").shape == phantom.shape
        assert np.array_equal(_load(path).voxels, phantom)

    def test_header_extensions_are_skipped(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(asymmetric_phantom(), _AFFINE)
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
        nib.save(image, tmp_path / "s.nii")
        assert np.array_equal(_load(tmp_path / "s.nii").voxels, asymmetric_phantom())

    def test_a_slab_of_32_slices_is_accepted(self, tmp_path: Path) -> None:
        path = store_nifti(tmp_path / "s.nii.gz", asymmetric_phantom((40, 48, 32)))
        assert _load(path).voxels.shape == (40, 48, 32)

    def test_the_header_alone_says_what_is_in_the_file(self, tmp_path: Path) -> None:
        path = store_nifti(
            tmp_path / "s.nii", asymmetric_phantom(), _AFFINE, axcodes="PSR", dtype=">i2"
        )
        header = check_header(str(path), scan_id="s1")
        assert header.shape == (24, 27, 21)
        assert header.spacing_mm == pytest.approx((1.5, 2.0, 1.0))
        assert header.dtype == np.dtype(">i2")


#: Byte of a field in a NIfTI-1 header.
_HEADER_FIELDS = {
    "dim": 40,
    "datatype": 70,
    "bitpix": 72,
    "pixdim": 76,
    "vox_offset": 108,
    "scl_slope": 112,
    "qform_code": 252,
    "sform_code": 254,
    "srow_x": 280,
    "srow_z": 312,
    "magic": 344,
}


def _patch(path: Path, offset: int, form: str, *values: object) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)


def _fresh(path: Path, dtype: str = "int16", version: int = 1) -> Path:
    return store_nifti(path, asymmetric_phantom(), _AFFINE, dtype=dtype, version=version)


def _patched(name: str, form: str, *values: object) -> Callable[[Path], None]:
    return lambda path: _patch(_fresh(path), _HEADER_FIELDS[name], form, *values)


def _array(voxels: np.ndarray, affine: np.ndarray = _AFFINE) -> Callable[[Path], None]:
    return lambda path: nib.save(nib.Nifti1Image(voxels, affine), path)


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _with_value(value: float) -> np.ndarray:
    phantom = asymmetric_phantom()
    phantom[3, 4, 5] = value
    return phantom


def _cut(keep: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = _fresh(path).read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return make


def _corrupt(path: Path) -> None:
    """Flip one bit in the middle of a compressed file."""
    data = bytearray(_fresh(path).read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def _wrong_checksum(path: Path) -> None:
    data = bytearray(_fresh(path).read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)


def _header_only(path: Path) -> None:
    data = gzip.decompress(_fresh(path).read_bytes())
    path.write_bytes(gzip.compress(data[:352]))


def _huge(path: Path, *, dim: tuple[int, ...], datatype: int = 4, bitpix: int = 16) -> None:
    """Declare a huge volume in a small file."""
    plain = path.with_name("plain.nii")
    _fresh(plain)
    _patch(plain, _HEADER_FIELDS["dim"], "<8h", *dim)
    _patch(plain, _HEADER_FIELDS["datatype"], "<hh", datatype, bitpix)
    data = plain.read_bytes()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def _rgb(path: Path) -> None:
    voxels = np.zeros((20, 20, 20), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(voxels, _AFFINE), path)


def _no_orientation(path: Path) -> None:
    _fresh(path)
    for name in ("sform_code", "qform_code"):
        _patch(path, _HEADER_FIELDS[name], "<h", 0)


def _qform_nonsense(path: Path) -> None:
    _fresh(path)
    _patch(path, _HEADER_FIELDS["sform_code"], "<h", 0)
    _patch(path, 256, "<3f", 3.0, 3.0, 3.0)


def _renamed(path: Path, *, compressed: bool) -> None:
    data = _fresh(path.with_name("plain.nii")).read_bytes()
    path.write_bytes(gzip.compress(data) if compressed else data)


@dataclasses.dataclass(frozen=True)
class _Bad:
    make: Callable[[Path], None]
    error: type[ScanError]
    says: str
    name: str = "s.nii"


_PLAIN = asymmetric_phantom()
_GALLERY = {
    "missing": _Bad(lambda path: None, UnreadableScanError, "missing"),
    "folder": _Bad(lambda path: path.mkdir(), UnreadableScanError, "regular file"),
    "pipe": _Bad(lambda path: os.mkfifo(path), UnreadableScanError, "regular file"),
    "device": _Bad(lambda path: path.symlink_to("/dev/zero"), UnreadableScanError, "regular file"),
    "link to itself": _Bad(lambda path: path.symlink_to(path), UnreadableScanError, "damaged"),
    "empty": _Bad(_bytes(b""), UnreadableScanError, "empty"),
    "empty gzip": _Bad(_bytes(b""), UnreadableScanError, "empty", "s.nii.gz"),
    "gzip of nothing": _Bad(
        _bytes(gzip.compress(b"")), UnreadableScanError, "not a NIfTI", "s.nii.gz"
    ),
    "text": _Bad(_bytes(b"patient_id,path\n" * 50), UnreadableScanError, "not a NIfTI file"),
    "zeros": _Bad(_bytes(bytes(5000)), UnreadableScanError, "not a NIfTI file"),
    "noise": _Bad(_bytes(bytes(range(256)) * 20), UnreadableScanError, "not a NIfTI file"),
    "four bytes": _Bad(_bytes(struct.pack("<i", 348)), UnreadableScanError, "not a NIfTI file"),
    "DICOM": _Bad(_bytes(bytes(128) + b"DICM" + bytes(900)), UnreadableScanError, "DICOM"),
    "another format": _Bad(
        _bytes(b"\0\0\0\1" * 200),
        UnsupportedScanError,
        "not named like NIfTI",
        "s.mgz",
    ),
    "header cut": _Bad(_cut(0.01), UnreadableScanError, "not a NIfTI file"),
    "voxels cut": _Bad(_cut(0.9), UnreadableScanError, "shorter than its header declares"),
    "last byte cut": _Bad(_cut(0.99999), UnreadableScanError, "shorter"),
    "gzip cut": _Bad(_cut(0.6), UnreadableScanError, "EOFError", "s.nii.gz"),
    "gzip header cut": _Bad(_cut(0.0005), UnreadableScanError, "damaged", "s.nii.gz"),
    "gzip corrupt": _Bad(_corrupt, UnreadableScanError, "damaged", "s.nii.gz"),
    "gzip checksum": _Bad(_wrong_checksum, UnreadableScanError, "CRC", "s.nii.gz"),
    "gzip without voxels": _Bad(_header_only, UnreadableScanError, "s1", "s.nii.gz"),
    "compressed, named plain": _Bad(
        lambda path: _renamed(path, compressed=True), UnreadableScanError, "compressed, but"
    ),
    "plain, named compressed": _Bad(
        lambda path: _renamed(path, compressed=False),
        UnreadableScanError,
        "not compressed",
        "s.nii.gz",
    ),
    "wrong magic": _Bad(_patched("magic", "4s", b"xyz\0"), UnreadableScanError, "signature"),
    "pair": _Bad(_patched("magic", "4s", b"ni1\0"), UnreadableScanError, "pair"),
    "Analyze": _Bad(_patched("magic", "4s", b"\0" * 4), UnreadableScanError, "Analyze"),
    "picture": _Bad(_array(_PLAIN[:, :, 0]), UnsupportedScanError, "a picture"),
    "picture with a third axis": _Bad(
        _array(_PLAIN[:, :, :1]), UnsupportedScanError, "too few voxels"
    ),
    "too thin": _Bad(_array(_PLAIN[:, :, :15]), UnsupportedScanError, "at least 16"),
    "two frames": _Bad(
        _array(np.stack([_PLAIN, _PLAIN], axis=-1)), UnsupportedScanError, "more than one volume"
    ),
    "vectors": _Bad(
        _array(np.stack([_PLAIN] * 3, axis=-1)[:, :, :, np.newaxis]),
        UnsupportedScanError,
        "more than one volume",
    ),
    "colour": _Bad(_rgb, UnsupportedScanError, "colour"),
    "complex": _Bad(_array(_PLAIN.astype("complex64")), UnsupportedScanError, "complex"),
    "unknown type": _Bad(_patched("datatype", "<h", 999), UnreadableScanError, "code 999"),
    "bits": _Bad(_patched("datatype", "<h", 1), UnsupportedScanError, "single real numbers"),
    "negative dimension": _Bad(
        _patched("dim", "<4h", 3, -21, 24, 27), UnreadableScanError, "impossible dimensions"
    ),
    "no dimensions": _Bad(_patched("dim", "<h", 0), UnreadableScanError, "impossible"),
    "nine dimensions": _Bad(_patched("dim", "<h", 9), UnreadableScanError, "impossible"),
    "absurd size": _Bad(
        lambda path: _huge(path, dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)),
        UnsupportedScanError,
        "more voxels",
    ),
    "absurd size, compressed": _Bad(
        lambda path: _huge(path, dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)),
        UnsupportedScanError,
        "more voxels",
        "s.nii.gz",
    ),
    "absurd bytes": _Bad(
        lambda path: _huge(path, dim=(3, 512, 512, 512, 1, 1, 1, 1), datatype=64, bitpix=64),
        UnsupportedScanError,
        "more data",
    ),
    "large, and too small a compressed file": _Bad(
        lambda path: _huge(path, dim=(3, 500, 500, 500, 1, 1, 1, 1)),
        UnreadableScanError,
        "bytes, compressed",
        "s.nii.gz",
    ),
    "voxels inside the header": _Bad(
        _patched("vox_offset", "<f", 16.0), UnreadableScanError, "impossible place"
    ),
    "voxels nowhere": _Bad(
        _patched("vox_offset", "<f", float("nan")), UnreadableScanError, "impossible place"
    ),
    "voxels far away": _Bad(
        _patched("vox_offset", "<f", 1e20), UnreadableScanError, "impossible place"
    ),
    "spacing zero": _Bad(_patched("pixdim", "<4f", 1, 0, 1, 1), UnsupportedScanError, "sizes"),
    "spacing negative": _Bad(
        _patched("pixdim", "<4f", 1, 1, -1, 1), UnsupportedScanError, "voxel sizes"
    ),
    "spacing NaN": _Bad(
        _patched("pixdim", "<4f", 1, 1, 1, float("nan")), UnsupportedScanError, "voxel sizes"
    ),
    "spacing in micrometres": _Bad(
        _array(_PLAIN, np.diag([1000.0, 1000, 1000, 1])), UnsupportedScanError, "their unit"
    ),
    "spacing in metres": _Bad(
        _array(_PLAIN, np.diag([0.001, 0.001, 0.001, 1])), UnsupportedScanError, "their unit"
    ),
    "orientation unknown": _Bad(_no_orientation, UnsupportedScanError, "how the patient lay"),
    "qform nonsense": _Bad(_qform_nonsense, UnreadableScanError, "damaged"),
    "affine flat": _Bad(
        _patched("srow_z", "<4f", 0, 1.5, 0, 0), UnsupportedScanError, "three directions"
    ),
    "affine zero": _Bad(
        _patched("srow_x", "<12f", *[0.0] * 12), UnsupportedScanError, "three directions"
    ),
    "affine NaN": _Bad(
        _patched("srow_x", "<f", float("nan")), UnsupportedScanError, "three directions"
    ),
    "all zero": _Bad(_array(_PLAIN * 0), IntensityError, "all voxels are zero"),
    "constant": _Bad(_array(_PLAIN * 0 + 7), IntensityError, "constant"),
    "one NaN": _Bad(_array(_with_value(np.nan)), IntensityError, "1 of 13608"),
    "one infinity": _Bad(_array(_with_value(-np.inf)), IntensityError, "1 of 13608"),
    "beyond float32": _Bad(
        _array(_with_value(1.0).astype("float64") * 1e300), IntensityError, "infinite"
    ),
    "scale beyond float32": _Bad(
        _patched("scl_slope", "<ff", 3e38, 0.0), IntensityError, "infinite"
    ),
    "scale without offset": _Bad(
        _patched("scl_slope", "<ff", 1.0, float("nan")), UnreadableScanError, "damaged"
    ),
}


class TestBadInput:
    @pytest.mark.parametrize("kind", _GALLERY)
    def test_every_bad_file_is_refused_by_a_scan_error_with_name_and_remedy(
        self, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        bad = _GALLERY[kind]
        path = tmp_path / bad.name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the maker: casting NaN, overflowing float32
            bad.make(path)
        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ScanError) as caught:
                _load(path)
        assert type(caught.value) is bad.error
        assert bad.says in str(caught.value)
        assert "scan s1" in str(caught.value)
        assert path.name in str(caught.value)
        assert caught.value.remedy
        assert capfd.readouterr() == ("", "")

    def test_a_file_that_may_not_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = _fresh(tmp_path / "s.nii")

        def refuse(*args: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        # Not by chmod alone: an administrator may read everything.
        path.chmod(0)
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(UnreadableScanError, match="may not be read") as caught:
            _load(path)
        assert "permission" in str(caught.value.remedy)

    @pytest.mark.parametrize("error", [MemoryError, RecursionError, struct.error, KeyError])
    def test_whatever_the_reader_raises_becomes_a_scan_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        path = _fresh(tmp_path / "s.nii")

        def fail(*args: object, **options: object) -> None:
            raise error("boom")

        monkeypatch.setattr(nib.arrayproxy, "ArrayProxy", fail)
        with pytest.raises(ScanError, match="scan s1"):
            _load(path)

    def test_every_cut_of_the_header_is_refused(self, tmp_path: Path) -> None:
        data = _fresh(tmp_path / "whole.nii").read_bytes()
        path = tmp_path / "s.nii"
        for length in range(1, 353, 3):
            path.write_bytes(data[:length])
            with pytest.raises(UnreadableScanError):
                check_header(path, scan_id="s1")

    def test_no_damaged_header_makes_another_exception(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        data = _fresh(tmp_path / "whole.nii").read_bytes()
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

    def test_an_absurd_header_costs_no_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "s.nii.gz"
        _huge(path, dim=(3, 512, 512, 512, 1, 1, 1, 1), datatype=64, bitpix=64)
        code = (
            "import resource, sys\n"
            "import nibabel\n"
            "from mri_transfer.errors import ScanError\n"
            "from mri_transfer.volumes import load_volume\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try:\n"
            "    load_volume(sys.argv[1], scan_id='s1')\n"
            "except ScanError:\n"
            "    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "    print(after - before)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            cwd=Path(__file__).resolve().parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) < 20_000  # KiB

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
        path = _fresh(tmp_path / "s.nii")
        with pytest.raises(UnsupportedScanError, match=says):
            _load(path, spec)
        exact = VolumeSpec(max_voxels=13608, min_axis_voxels=21, max_spacing_mm=2, min_spacing_mm=1)
        assert _load(path, exact).voxels.size == 13608

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
