"""Activations at the cut: what the frozen prefix makes of a scan, kept for the tails of all folds.

They are pure functions of one scan, as features are, and addressed by content. A fit reads some
slices of some scans at a time, memory-mapped: a cohort is never held in memory as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore
from mri_transfer.core.tensorfile import read_rows
from mri_transfer.models.features import FeatureSpec, feature_key
from mri_transfer.models.trunks import Trunk, TrunkSpec
from mri_transfer.scans.slices import SliceStack

__all__ = ["ActivationStore", "ActivationTable", "activation_key"]

#: Bits of bfloat16, which NumPy does not know.
_BITS = np.dtype(np.int16)


def activation_key(*, slices: str, trunk_spec: TrunkSpec, feature_spec: FeatureSpec) -> str:
    """Return the key of a scan's activations behind `trunk_spec.layer`, the cut.

    Parameters
    ----------
    slices : str
        The slices' key.
    trunk_spec : TrunkSpec
    feature_spec : FeatureSpec
        Resolved: without `auto`. Its pooling is passed over.
    """
    neutral = dataclasses.replace(feature_spec, pooling="max")
    key = feature_key(slices=slices, trunk_spec=trunk_spec, feature_spec=neutral)
    return digest({"kind": "activations/1", "of": key})


class ActivationStore(TensorStore):
    """Activations, addressed by `activation_key`: in the precision they were computed in."""

    kind = "activations"
    schema = "mri-transfer/activations/1"
    #: Name of the one array in a file.
    array: ClassVar[str] = "maps"

    def put(self, key: str, stack: SliceStack, prefix: Trunk) -> None:
        """Pass a scan's slices through the prefix and store what comes out.

        Parameters
        ----------
        key : str
        stack : SliceStack
        prefix : Trunk
            Read out at the cut.
        """
        maps = prefix.forward_slices(torch.from_numpy(stack.pixels)).cpu().contiguous()
        if prefix.precision == "bf16":
            # Exact: they were computed in it.
            values = maps.to(torch.bfloat16).view(torch.int16).numpy()
        else:
            values = maps.numpy()
        self._write(key, {self.array: values})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivationTable:
    """Where the activations of some scans lie. It leads to those scans and to no others.

    Attributes
    ----------
    files : tuple of Path, length n_scans
        Verified entries of a store, one a scan.
    array : str
        Name of the array in the files, (n_slices, channels, rows, columns) of float32 or of the
        bits of bfloat16; or (n_slices, rows, columns) of uint8 where the cut lies in front of the
        first stage.
    """

    files: tuple[Path, ...]
    array: str

    def rows(self, rows: Iterable[int]) -> ActivationTable:
        """Return the table of some scans."""
        return ActivationTable(files=tuple(self.files[i] for i in rows), array=self.array)

    def joined(self, other: ActivationTable) -> ActivationTable:
        """Return the scans of both tables."""
        return ActivationTable(files=self.files + other.files, array=self.array)

    def read(self, scan: int, slices: npt.NDArray[np.int64] | None = None) -> torch.Tensor:
        """Read slices of a scan; only these are loaded.

        Parameters
        ----------
        scan : int
            Position in the table.
        slices : ndarray of int64, shape (n,), optional
            All where nothing is given.

        Returns
        -------
        Tensor of float32 or bfloat16, shape (n, channels, rows, columns), or of uint8, (n, rows,
        columns)

        Raises
        ------
        StoreError
            If the file is missing or damaged.
        """
        values = read_rows(self.files[scan], self.array, slices)
        tensor = torch.from_numpy(values)
        return tensor.view(torch.bfloat16) if values.dtype == _BITS else tensor
