"""What the features of a new site are moved and scaled by to look like those trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.models.harmonisation import HarmonisationSpec, fit_combat

__all__ = ["combat_map", "moments_map"]

FloatArray = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating[Any]]

#: Share of a feature's deviation at the old sites below which it stands still at the new one.
_STILL = 1e-3


def moments_map(source: Features, site: Features) -> tuple[FloatArray, FloatArray]:
    """Return scale and shift that give the site's slices the old slices' mean and deviation.

    As batch normalisation with the moments of a new domain does (AdaBN; Li et al. 2018, Pattern
    Recognit 80:109-117), for features that pass no such layer. No label enters.

    Parameters
    ----------
    source, site : ndarray, shape (n_scans, n_slices, n_features)

    Returns
    -------
    scale, shift : ndarray of float64, shape (n_features,)
    """
    old, new = (_moments(one) for one in (source, site))
    still = new[1] <= _STILL * old[1]
    scale = np.where(still, 1.0, old[1] / np.where(still, 1.0, new[1]))
    return scale, old[0] - scale * new[0]


def _moments(features: Features) -> tuple[FloatArray, FloatArray]:
    rows = features.reshape(-1, features.shape[-1])
    return rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)


def combat_map(source: Features, site: Features) -> tuple[FloatArray, FloatArray]:
    """Return scale and shift by ComBat, with the old patients as the site that stays as it is.

    Offsets and scales are shrunk towards what the features have in common, which is what few
    patients need. No label enters.

    Parameters
    ----------
    source, site : ndarray, shape (n_scans, n_slices, n_features)
        At least two scans each, one a patient.

    Returns
    -------
    scale, shift : ndarray of float64, shape (n_features,)

    Raises
    ------
    HeadError
        If one of both has a single scan.
    """
    names = ["old"] * len(source) + ["new"] * len(site)
    index = [f"{name}{i}" for i, name in enumerate(names)]
    rows = np.concatenate([source.mean(axis=1), site.mean(axis=1)])
    spec = HarmonisationSpec(kind="combat", preserve=())
    fitted = fit_combat(rows, pd.DataFrame({"site": names}, index=index), spec=spec)
    mean, spread = fitted.tensors["mean"], fitted.tensors["spread"]
    new, old = (fitted.sites.index(name) for name in ("new", "old"))
    deviation = np.sqrt(fitted.tensors["variance"])
    offset = fitted.tensors["offset"] * spread
    # Out of the new site's frame, and into that of the old ones.
    scale = deviation[old] / deviation[new]
    return scale, mean + offset[old] - scale * (mean + offset[new])
