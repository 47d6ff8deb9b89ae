"""A linear projection of features, fitted by the nearest centroid: URL's rival on a new domain.

URL (Li, Liu and Bilen 2021, ICCV) puts a square matrix, the identity at first, behind frozen
features, and moves it down the loss of the nearest centroid of the labelled examples. Of 512
features a whole matrix would have 262,144 entries, for at most sixteen patients; here the matrix is
the identity plus a product of low rank.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import at_most_threads
from mri_transfer.models.adaptation.objectives import CentroidLoss

__all__ = ["fit_projection"]

FloatArray = npt.NDArray[np.float64]


def fit_projection(
    rows: FloatArray,
    labels: npt.NDArray[np.int64],
    *,
    rank: int,
    steps: int,
    learning_rate: float,
    scale: float,
    seed: int,
) -> FloatArray:
    """Return the projection, shape (n_features, n_features).

    Parameters
    ----------
    rows : ndarray, shape (n_patients, n_features)
        Mean features of labelled patients of both labels.
    labels : ndarray of {0, 1}, shape (n_patients,)
    rank : int
    steps : int
        Of Adam.
    learning_rate : float
    scale : float
        Of cosines.
    seed : int
        Draws the first factor.
    """
    n_features = rows.shape[1]
    generator = torch.Generator().manual_seed(seed)
    given = torch.from_numpy(np.asarray(rows)).float()
    down = torch.randn(rank, n_features, generator=generator) / n_features**0.5
    down.requires_grad_(True)
    up = torch.zeros(n_features, rank, requires_grad=True)
    objective = CentroidLoss(labels, scale=scale)
    optimiser = torch.optim.Adam([down, up], lr=learning_rate)
    nowhere = torch.zeros(len(rows), 1, dtype=torch.int64)
    with at_most_threads(1):
        for _ in range(steps):
            projected = given + (given @ down.T) @ up.T
            optimiser.zero_grad(set_to_none=True)
            loss = objective(projected[:, None], nowhere)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        whole = torch.eye(n_features) + (up @ down).detach()
    found: FloatArray = whole.double().numpy()
    return found
