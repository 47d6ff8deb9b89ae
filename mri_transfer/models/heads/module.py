"""What every head is as a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.errors import HeadError

__all__ = ["HeadModule"]


class HeadModule(torch.nn.Module):
    """A head: features of slices to their log-odds and weights.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        What was fitted, under the names of `shapes`.

    Raises
    ------
    HeadError
        If a tensor is missing, unknown or has a shape that does not fit the others.
    """

    #: Every tensor with the names of its axes; the same name is the same length. All heads have
    #: an axis `features`; one `slices` ties a head to a number of slices.
    shapes: ClassVar[Mapping[str, tuple[str, ...]]]
    #: Tensors that are moments of the training features, which no gradient changes.
    moments: ClassVar[Sequence[str]] = ()

    def __init__(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        super().__init__()
        self.lengths = _lengths(tensors, self.shapes)
        for name in self.shapes:
            values = torch.tensor(np.asarray(tensors[name]))
            if name in self.moments:
                self.register_buffer(name, values)
            else:
                self.register_parameter(name, torch.nn.Parameter(values))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score and weigh the slices of scans.

        Parameters
        ----------
        features : Tensor, shape (n_scans, n_slices, n_features)

        Returns
        -------
        logits, weights : Tensor, shape (n_scans, n_slices)
            Log-odds of the positive label, and how much each slice counts in its scan; each row
            of weights sums to 1.
        """
        slices = torch.arange(features.shape[1], device=features.device)
        return self.slice_logits(features, slices), self.slice_weights(features)

    def slice_logits(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of slices, whichever of a scan they are.

        Parameters
        ----------
        features : Tensor, shape (..., n_features)
        slices : Tensor of int64, shape (...)
            Which slice of the scan each is, from the lowest up; axes may be missing in front.
        """
        raise NotImplementedError

    def slice_weights(self, features: torch.Tensor) -> torch.Tensor:
        """Return how much the slices of scans (n_scans, n_slices, n_features) count: the same."""
        return torch.full_like(features[..., 0], 1.0 / features.shape[1])

    def demand_fits(self, n_slices: int, n_features: int) -> None:
        """Raise HeadError unless features have the shape that the head was fitted on."""
        found = {"slices": n_slices, "features": n_features}
        for axis, length in found.items():
            if self.lengths.get(axis, length) != length:
                raise HeadError(
                    f"the head was fitted on other features: another number of {axis}",
                    found=f"{length} {axis}",
                    expected=str(self.lengths[axis]),
                )


def _lengths(
    tensors: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    """Return the length of every named axis."""
    if set(tensors) != set(shapes):
        raise HeadError(
            "these are not the tensors of such a head",
            found=", ".join(sorted(tensors)) or "none",
            expected=", ".join(sorted(shapes)),
            remedy="Train the heads again",
        )
    lengths: dict[str, int] = {"one": 1}
    for name, axes in shapes.items():
        values = np.asarray(tensors[name])
        known = [lengths.get(axis) for axis in axes]
        fits = len(values.shape) == len(axes) and all(
            length in (None, n) for length, n in zip(known, values.shape, strict=True)
        )
        if not fits or values.dtype.kind != "f":
            wanted = (axis if n is None else str(n) for axis, n in zip(axes, known, strict=True))
            raise HeadError(
                "a tensor of the head does not fit the others",
                where=name,
                found=f"{values.dtype} of shape {values.shape}",
                expected=f"real numbers of shape ({', '.join(wanted)})",
                remedy="Train the heads again",
            )
        lengths |= dict(zip(axes, values.shape, strict=True))
    return lengths
