"""NIfTI files in template space."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from mri_transfer.scans.preparation.nifti import read_bits, write_nifti
from tests.phantoms import asymmetric_phantom, ras_affine


def test_a_file_holds_voxels_and_place_and_says_which_space(tmp_path: Path) -> None:
    voxels, affine = asymmetric_phantom((6, 7, 8)), ras_affine()
    write_nifti(tmp_path / "a.nii.gz", voxels, affine)
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), voxels)
    np.testing.assert_array_equal(image.affine, affine)
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 4
    assert image.header.get_xyzt_units()[0] == "mm"


def test_the_same_voxels_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "another name.nii.gz"):
        write_nifti(tmp_path / name, asymmetric_phantom(), ras_affine())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "another name.nii.gz").read_bytes()


def test_small_integers_come_back(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    write_nifti(tmp_path / "bits.nii.gz", bits, ras_affine())
    read = read_bits(tmp_path / "bits.nii.gz")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, bits)
