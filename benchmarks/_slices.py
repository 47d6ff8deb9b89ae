"""Real slices for benchmarks: what the trunk sees of a patient, black surroundings included."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch

from mri_transfer.scans.slices import SliceSpec, cut_slices
from mri_transfer.scans.volumes import Volume

__all__ = ["SLICES_TAR", "made_up_slices", "real_slices"]

#: Brains of OASIS-1 in template space, 32 axial slices of 1 mm a patient, beside the checkout.
SLICES_TAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "oasis1-slices-140.tar"


def real_slices(patient: int, *, size_px: int, n_slices: int = 32) -> torch.Tensor:
    """Return a patient's slices as the pipeline cuts them.

    Parameters
    ----------
    patient : int
        Position in the order of names.
    size_px : int
    n_slices : int
        At most 32.

    Returns
    -------
    Tensor of uint8, shape (n_slices, size_px, size_px)
    """
    from PIL import Image

    with tarfile.open(SLICES_TAR) as tar:
        members = [member for member in tar if "/" in member.name]
        name = sorted({member.name.split("/")[0] for member in members})[patient]
        own = sorted(m.name for m in members if m.name.split("/")[0] == name)
        files = [tar.extractfile(one) for one in own]
        planes = [
            np.asarray(Image.open(io.BytesIO(file.read())).convert("L")) for file in files if file
        ]
    voxels = np.stack([plane[::-1].T for plane in planes], axis=2).astype(np.float32)
    volume = Volume(voxels=voxels, affine=np.eye(4), scan_id=name)
    spec = SliceSpec(size_px=size_px, n_slices=n_slices)
    return torch.from_numpy(cut_slices(volume, spec).pixels)


def made_up_slices(n: int, *, size_px: int) -> torch.Tensor:
    """Return slices of random grey values: nothing of them is black surroundings."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (n, size_px, size_px), dtype=np.uint8))
