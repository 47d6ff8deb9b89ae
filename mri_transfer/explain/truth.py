"""How well maps find what was planted, in a cohort whose truth is known.

Planted are the cells of the head in which most tissue was made to turn into fluid or to move: the
fifth of the head with the largest change. Three figures per patient: the AUC of the strength of
attribution for planted cells, the pointing game (Zhang et al. 2018, IJCV 126:1084-1102: whether
the strongest cell is planted) and the share of all strength that lies in planted cells. Chance is
the same patient's map turned about: back to front, upside down, and both. It keeps the map's
smoothness, which permuting its cells would not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.explain.cohort_maps import CohortMaps, patient_means
from mri_transfer.explain.contrast import ContrastMaps
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.regions import mean_over_patients, volume_at
from mri_transfer.metrics.intervals import patient_bootstrap

__all__ = ["auc_of", "planted_cells", "score_truth"]

DoubleArray = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Share of the head's cells that count as planted.
PLANTED_SHARE = 0.2
_IN_HEAD = 0.5
_PER_EDGE = 4
#: Axes (slices, rows) along which a map is turned about for chance.
_TURNS = ((1,), (0,), (0, 1))


def planted_cells(
    loss: FloatArray, affine: DoubleArray, geometry: SliceGeometry, inside: FloatArray
) -> BoolArray:
    """Return which cells of the head hold most of what was planted.

    Parameters
    ----------
    loss : ndarray of float32, shape (X, Y, Z)
        `mri_transfer.cohorts.synthetic.cohort.planted_atrophy`.
    affine : ndarray of float64, shape (4, 4)
    geometry : SliceGeometry
    inside : ndarray of float32, shape (n_slices, rows, columns)
        Share of each cell that lies in the head.

    Returns
    -------
    ndarray of bool, shape (n_slices, rows, columns)
    """
    points = geometry.cell_points_mm((inside.shape[1], inside.shape[2]), per_edge=_PER_EDGE)
    amount = volume_at(np.abs(loss), affine, points).mean(axis=-1)
    head = inside >= _IN_HEAD
    if not head.any():
        return head
    found: BoolArray = head & (amount > np.quantile(amount[head], 1 - PLANTED_SHARE))
    return found


def auc_of(values: npt.ArrayLike, planted: npt.ArrayLike) -> float:
    """Return the AUC of values for planted cells; NaN if all or none are planted."""
    from scipy.stats import rankdata

    flags = np.asarray(planted, dtype=bool)
    n_planted = int(flags.sum())
    rest = flags.size - n_planted
    if not n_planted or not rest:
        return float("nan")
    ranks = rankdata(np.asarray(values))
    return float((ranks[flags].sum() - n_planted * (n_planted + 1) / 2) / (n_planted * rest))


def score_truth(
    cohort: CohortMaps,
    planted: Sequence[BoolArray],
    labels: dict[str, str],
    *,
    positive: str,
    contrast: ContrastMaps | None = None,
    n_samples: int,
    seed: int,
    confidence: float,
) -> dict[str, Any]:
    """Score the maps, and for comparison those of a randomised head and, if there are, Grad-CAM's.

    The strength of a contrast map is its value: it says what speaks for the label, and how
    unusually much. That of the others is their size, above 0 or below.

    Parameters
    ----------
    cohort : CohortMaps
    planted : sequence of ndarray of bool, length n_scans
    labels : dict of str to str
    positive : str
        The label that the planted change belongs to.
    contrast : ContrastMaps, optional
        Of some of the scans.
    n_samples, seed, confidence
        Of the bootstrap over patients.

    Returns
    -------
    dict
        planted_share; methods: by method the figures `auc`, `pointing` and `mass` of the patients
        of the positive label, each with value, chance and difference as estimates, and
        `group_auc`, the AUC of the difference between the groups' mean maps.
    """
    everybody = tuple(range(len(cohort.scan_ids)))
    methods = {"maps": _Scored(maps=cohort.maps, of=everybody)}
    if cohort.gradcam is not None:
        methods["Grad-CAM"] = _Scored(maps=cohort.gradcam, of=everybody)
    methods["randomised head"] = _Scored(maps=cohort.randomised, of=everybody)
    if contrast is not None and any(
        labels[cohort.patient_ids[i]] == positive for i in contrast.positions
    ):
        shown = {"contrast": contrast.maps, "contrast, randomised head": contrast.randomised}
        for name, maps in shown.items():
            methods[name] = _Scored(maps=maps, of=contrast.positions, signed=True)
    settings = {"n_samples": n_samples, "seed": seed, "confidence": confidence}
    return {
        "planted_share": PLANTED_SHARE,
        "label": positive,
        "methods": {
            name: {
                **_figures(one, cohort, planted, labels, positive, settings),
                "group_auc": _group_auc(one, cohort, planted, labels, positive, settings),
            }
            for name, one in methods.items()
        },
    }


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Scored:
    """Maps of some scans that are scored.

    Attributes
    ----------
    maps : ndarray of float32, shape (n, n_slices, rows, columns)
    of : tuple of int, length n
        Positions of the scans in the cohort.
    signed : bool
        Whether a cell is strong by its value, not by its size.
    """

    maps: FloatArray
    of: tuple[int, ...]
    signed: bool = False


def _figures(
    scored: _Scored,
    cohort: CohortMaps,
    planted: Sequence[BoolArray],
    labels: dict[str, str],
    positive: str,
    settings: dict[str, Any],
) -> dict[str, Any]:
    rows = [n for n, i in enumerate(scored.of) if labels[cohort.patient_ids[i]] == positive]
    chosen = [scored.of[n] for n in rows]
    owners = [cohort.patient_ids[i] for i in chosen]
    strength = [scored.maps[n] if scored.signed else np.abs(scored.maps[n]) for n in rows]
    heads = [cohort.inside[i] >= _IN_HEAD for i in chosen]
    found: dict[str, Any] = {}
    for name, figure in (("auc", auc_of), ("pointing", _pointing), ("mass", _mass)):
        own, chance = [], []
        for values, head, i in zip(strength, heads, chosen, strict=True):
            flags = planted[i][head]
            own.append(figure(values[head], flags))
            chance.append(np.mean([figure(np.flip(values, t)[head], flags) for t in _TURNS]))
        _, values = patient_means(np.array([own, chance]).T, owners)
        parts = {
            "value": values[:, 0],
            "chance": values[:, 1],
            "difference": values[:, 0] - values[:, 1],
        }
        found[name] = {key: mean_over_patients(v, **settings) for key, v in parts.items()}
    return found


def _pointing(values: npt.NDArray[Any], planted: BoolArray) -> float:
    return float(planted[int(np.argmax(values))])


def _mass(values: npt.NDArray[Any], planted: BoolArray) -> float:
    values = np.clip(values, 0, None)
    total = float(values.sum(dtype=np.float64))
    return float(values[planted].sum(dtype=np.float64)) / total if total else float("nan")


def _group_auc(
    scored: _Scored,
    cohort: CohortMaps,
    planted: Sequence[BoolArray],
    labels: dict[str, str],
    positive: str,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return the AUC of the groups' difference for the cells planted in most patients."""
    head = (cohort.inside >= _IN_HEAD).mean(axis=0) >= _IN_HEAD
    flags = np.mean([one[head] for one in planted], axis=0) >= _IN_HEAD
    owners = [cohort.patient_ids[i] for i in scored.of]
    names, means = patient_means(scored.maps[:, head], owners)
    is_positive = np.array([labels[name] == positive for name in names])

    def statistic(drawn: npt.NDArray[np.int64]) -> float:
        own = is_positive[drawn]
        change = means[drawn[own]].mean(axis=0) - means[drawn[~own]].mean(axis=0)
        return auc_of(change if scored.signed else np.abs(change), flags)

    return patient_bootstrap(
        statistic,
        is_positive,
        n_samples=settings["n_samples"],
        rng=np.random.default_rng(settings["seed"]),
        confidence=settings["confidence"],
    ).as_dict()
