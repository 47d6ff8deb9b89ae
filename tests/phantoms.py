"""Phantoms: small volumes on which a swapped or flipped axis shows, and cohorts made of them."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel import orientations

__all__ = [
    "ALL_ORIENTATIONS",
    "asymmetric_phantom",
    "ras_affine",
    "store_nifti",
    "write_bids_cohort",
    "write_tsv",
]

#: The 48 ways in which the axes of a volume can be stored, such as "RAS" and "PIL".
ALL_ORIENTATIONS = tuple(
    "".join(axes[at] for axes, at in zip(order, flips, strict=True))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for flips in itertools.product((0, 1), repeat=3)
)


def asymmetric_phantom(
    shape: tuple[int, int, int] = (21, 24, 27), *, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Return a volume (X, Y, Z) in RAS+ that differs from every flip and permutation of itself.

    An ellipsoid with a brighter right, front and top half and noise inside; the edges of the
    default shape keep the proportion 7 : 8 : 9. Values are whole numbers from 0 to 32000.
    """
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, extent) for extent in shape), indexing="ij")
    inside = x**2 + y**2 + z**2 < 0.9
    noise = np.random.default_rng(seed).integers(0, 200, size=shape)
    values = 1000 + 400 * (x > 0.2) + 900 * (y > 0.1) + 1900 * (z > 0.3) + noise
    return np.where(inside, values, 0).astype(np.float32)


def ras_affine(
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    origin_mm: tuple[float, float, float] = (-10.0, -12.0, -13.0),
) -> npt.NDArray[np.float64]:
    """Return the affine of a volume in RAS+ whose first voxel lies at `origin_mm`."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = origin_mm
    return affine


def store_nifti(
    path: Path,
    voxels: npt.NDArray[np.generic],
    affine: npt.NDArray[np.float64] | None = None,
    *,
    axcodes: str = "RAS",
    dtype: str = "int16",
    version: int = 1,
) -> Path:
    """Write a volume given in RAS+ to disk with its axes as `axcodes` says.

    Parameters
    ----------
    path : Path
        Ends in .nii or .nii.gz; parent folders are made.
    voxels : ndarray of shape (X, Y, Z, ...)
    affine : ndarray of shape (4, 4), optional
        Of the volume in RAS+.
    axcodes : str
        Where the stored axes point, such as ``PSR``.
    dtype : str
        NumPy type of the stored voxels, byte order included.
    version : {1, 2}
        NIfTI-1 or NIfTI-2.
    """
    affine = ras_affine() if affine is None else affine
    there = orientations.ornt_transform(
        orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(axcodes)
    )
    stored = orientations.apply_orientation(voxels, there).astype(dtype)
    stored_affine = affine @ orientations.inv_ornt_aff(there, voxels.shape[:3])
    header_kind, image_kind = {
        1: (nib.Nifti1Header, nib.Nifti1Image),
        2: (nib.Nifti2Header, nib.Nifti2Image),
    }[version]
    header = header_kind(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(stored.dtype)
    image = image_kind(stored, stored_affine, header)
    image.set_sform(stored_affine, code=1)
    image.set_qform(stored_affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_tsv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """Write a table separated by tabs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerows([columns, *rows])
    return path


def write_bids_cohort(
    folder: Path,
    scans: Mapping[str, Sequence[str | None]],
    *,
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[object]] = (),
) -> Path:
    """Write a BIDS data set of phantoms, each patient's session with its own noise.

    Parameters
    ----------
    folder : Path
    scans : mapping
        Patient without ``sub-`` to its sessions without ``ses-``; None for a patient without
        sessions.
    columns, rows
        participants.tsv; not written without columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "phantoms", "BIDSVersion": "1.10.0"})
    )
    every = [(patient, session) for patient, sessions in scans.items() for session in sessions]
    for seed, (patient, session) in enumerate(every):
        parts = [f"sub-{patient}", *([] if session is None else [f"ses-{session}"])]
        path = folder.joinpath(*parts, "anat", "_".join([*parts, "T1w"]) + ".nii.gz")
        store_nifti(path, asymmetric_phantom(seed=seed))
    if columns:
        write_tsv(folder / "participants.tsv", columns, rows)
    return folder
