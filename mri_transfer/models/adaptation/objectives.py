"""What gradient steps on a site's labelled patients go down: a loss of their slices' features."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.models.heads import Head, head_module

__all__ = ["CentroidLoss", "HeadLoss", "Objective"]

IntArray = npt.NDArray[np.int64]


class Objective(Protocol):
    """A loss of the features of all labelled scans."""

    def __call__(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        features : Tensor, shape (n_scans, n_drawn, n_features)
        slices : Tensor of int64, shape (n_scans, n_drawn)
            Which slices these are.
        """


def _balanced_weights(labels: IntArray) -> npt.NDArray[np.float64]:
    """Return a weight a scan: labels alike in sum, 1 on average."""
    counts = np.bincount(labels, minlength=2).clip(min=1)
    present = int((np.bincount(labels, minlength=2) > 0).sum())
    weights: npt.NDArray[np.float64] = len(labels) / (present * counts[labels])
    return weights


class HeadLoss:
    """Cross-entropy of the scans' mean log-odds by a head that stays as it is.

    The new site's question is that of the training sites, so that their head is kept. (FLUTE's
    domains have classes of their own, and must build a head anew.)

    Parameters
    ----------
    head : Head
    labels : ndarray of {0, 1}, shape (n_scans,)
    """

    def __init__(self, head: Head, labels: IntArray) -> None:
        self._head = head_module(head).requires_grad_(False)
        self._targets = torch.from_numpy(labels).float()
        self._weights = torch.from_numpy(_balanced_weights(labels)).float()

    def __call__(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return the loss; see `Objective`."""
        logits = torch.stack(
            [self._head.slice_logits(f, s) for f, s in zip(features, slices, strict=True)]
        )
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits.mean(1), self._targets, weight=self._weights
        )


class CentroidLoss:
    """Cross-entropy of the nearest centroid by cosine among the scans themselves.

    Parameters
    ----------
    labels : ndarray of {0, 1}, shape (n_scans,)
    scale : float
        Of cosines.
    """

    def __init__(self, labels: IntArray, *, scale: float) -> None:
        self._labels = torch.from_numpy(labels)
        self._weights = torch.from_numpy(_balanced_weights(labels)).float()
        self._scale = scale

    def __call__(self, features: torch.Tensor, slices: torch.Tensor) -> torch.Tensor:
        """Return the loss; see `Objective`."""
        del slices
        rows = features.mean(1)
        centroids = torch.stack([rows[self._labels == label].mean(0) for label in (0, 1)])
        cosines = torch.nn.functional.normalize(rows, dim=1) @ (
            torch.nn.functional.normalize(centroids, dim=1).T
        )
        losses = torch.nn.functional.cross_entropy(
            self._scale * cosines, self._labels, reduction="none"
        )
        return (losses * self._weights).mean()
