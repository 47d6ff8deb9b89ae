"""Safetensors files of NumPy arrays, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from mri_transfer.errors import StoreError
from mri_transfer.files import atomic_write_bytes

__all__ = ["described_files", "read_tensors", "write_tensors"]

Array = npt.NDArray[Any]


def described_files(stem: Path) -> tuple[Path, Path]:
    """Return the two files of arrays with a description: `stem`.safetensors and `stem`.json.

    By adding to the name: a stem may hold a dot of its own.
    """
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def write_tensors(path: Path, tensors: Mapping[str, Array], *, schema: str) -> None:
    """Write arrays to one file, marked with the schema of what they are, atomically."""
    import numpy as np
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    # One metadata key alone: the format keeps metadata in a hash map, whose order is not fixed.
    atomic_write_bytes(path, save(contiguous, metadata={"schema": schema}))


def read_tensors(path: Path, *, schema: str) -> dict[str, Array]:
    """Read what `write_tensors` wrote.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or of another schema.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            found = (file.metadata() or {}).get("schema")
            if found == schema:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise StoreError(
            "cannot read the stored arrays",
            where=str(path),
            found=str(error),
            remedy="Delete the file; it is made anew",
        ) from error
    raise StoreError(
        "stored arrays of another kind", where=str(path), found=str(found), expected=schema
    )
