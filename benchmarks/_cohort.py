"""Made-up heads as NIfTI files, as large as real scans: for time and memory, not for accuracy."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

__all__ = ["SHAPE", "write_cohort"]

#: Voxels of 1 mm, as a scanner's usual sagittal series has them.
SHAPE = (176, 256, 256)

_COLUMNS = ["patient_id", "session_id", "scan_id", "path", "label", "age", "sex", "site", "scanner"]
_COLUMNS += ["nwbv"]


def write_cohort(folder: Path, n_patients: int) -> Path:
    """Write one scan a patient and the manifest; return the manifest's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1.2, 1.2, n) for n in SHAPE), indexing="ij", sparse=True)
    radius = np.sqrt(sum(axis**2 for axis in axes)).astype(np.float32)
    folds = np.sin(25 * axes[0]) * np.sin(20 * axes[1]) * np.sin(22 * axes[2])
    head = np.where(radius < 1, 600 + 200 * folds, 0).astype(np.float32)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for i in range(n_patients):
            name = f"p{i:04d}"
            noise = rng.standard_normal(SHAPE, dtype=np.float32) * 30
            _write_scan(folder / f"{name}.nii.gz", head * rng.uniform(0.8, 1.2) + noise)
            label = "AD" if i % 2 else "CN"
            age = 70 + 6 * (i % 2) + 5 * rng.standard_normal()
            nwbv = 0.75 - 0.03 * (i % 2) + 0.02 * rng.standard_normal()
            row = [name, "", f"{name}_T1w", f"{name}.nii.gz", label, f"{age:.0f}", "FM"[i // 2 % 2]]
            writer.writerow([*row, "", "", f"{nwbv:.3f}"])
    return folder / "manifest.csv"


def _write_scan(path: Path, voxels: np.ndarray) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [-n / 2 for n in SHAPE]
    image = nib.Nifti1Image(np.clip(voxels, 0, None).astype(np.int16), affine)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
