"""Safetensors files of NumPy arrays, written atomically."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from mri_transfer.core.files import atomic_write_bytes
from mri_transfer.errors import StoreError

__all__ = [
    "described_files",
    "read_marked",
    "read_rows",
    "read_tensors",
    "write_marked",
    "write_tensors",
]

Array = npt.NDArray[Any]


def described_files(stem: Path) -> tuple[Path, Path]:
    """Return the two files of arrays with a description: `stem`.safetensors and `stem`.json.

    The suffix is appended, as a stem may contain a dot.
    """
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def write_tensors(path: Path, tensors: Mapping[str, Array], *, schema: str) -> None:
    """Write arrays to one file, marked with their schema, atomically."""
    write_marked(path, tensors, mark={"schema": schema})


def read_tensors(path: Path, *, schema: str) -> dict[str, Array]:
    """Read a file written by `write_tensors`.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or has another schema.
    """
    mark, tensors = read_marked(path)
    if mark.get("schema") != schema:
        raise StoreError(
            "stored arrays with another schema",
            where=str(path),
            found=str(mark.get("schema")),
            expected=schema,
        )
    return tensors


def write_marked(path: Path, tensors: Mapping[str, Array], *, mark: Mapping[str, str]) -> None:
    """Write arrays to one file with a mark of one name and value, atomically.

    Raises
    ------
    ValueError
        If the mark has more than one name: the format stores them in a hash map without a fixed
        order.
    """
    import numpy as np
    from safetensors.numpy import save

    if len(mark) != 1:
        raise ValueError("only a mark with one name gives reproducible bytes")
    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    atomic_write_bytes(path, save(contiguous, metadata=dict(mark)))


def read_marked(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    """Read the mark and the arrays of a file.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return dict(file.metadata() or {}), tensors
    except (OSError, SafetensorError) as error:
        raise StoreError(
            "cannot read the stored arrays",
            where=str(path),
            found=str(error),
            remedy="Delete the file; it will be recomputed",
        ) from error


def read_rows(path: Path, name: str, rows: npt.NDArray[Any] | None = None) -> Array:
    """Read rows of an array, from a memory map of its file.

    Parameters
    ----------
    path : Path
    name : str
        Of the array.
    rows : ndarray of int64, shape (n,), optional
        Along the first axis; all where nothing is given.

    Raises
    ------
    StoreError
        If the file is missing or damaged, or holds no such array.
    """
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            if rows is None:
                whole: Array = file.get_tensor(name)
                return whole
            stored = file.get_slice(name)
            return np.concatenate([stored[int(row) : int(row) + 1] for row in rows])
    except (OSError, SafetensorError) as error:
        raise StoreError(
            "cannot read rows of a stored array",
            where=str(path),
            found=str(error),
            remedy="Delete the file; it will be recomputed",
        ) from error
