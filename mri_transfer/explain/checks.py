"""Whether the maps can be believed: sanity checks, and agreement between methods.

A map that looks the same when the model is randomised explains the picture, not the model
(Adebayo et al. 2018, NeurIPS). So the head's weights are permuted among channels, and the trunk
is replaced by one with random weights: the maps must change.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.explain.cohort_maps import CohortMaps, patient_means
from mri_transfer.explain.contrast import ContrastMaps
from mri_transfer.explain.faithfulness import close_maps
from mri_transfer.explain.patches import join_cells
from mri_transfer.explain.pixel_attribution import PixelAttribution
from mri_transfer.explain.regions import mean_over_patients

__all__ = ["agreement_rows", "likeness", "repeat_agreement", "sanity_rows"]

DoubleArray = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]

#: A cell or patch counts where at least this share of it lies in the head.
_IN_HEAD = 0.5
#: Correlation below which a map no longer looks like another, and above which two agree.
_UNLIKE, _ALIKE = 0.3, 0.5
#: What maps may lack of the log-odds, and features differ by, for rounding.
_ROUNDING = 1e-3


def likeness(first: npt.ArrayLike, second: npt.ArrayLike, inside: npt.ArrayLike) -> float:
    """Return Spearman's correlation of two maps over the cells in the head; NaN if undefined.

    Parameters
    ----------
    first, second : array_like
        Of one shape.
    inside : array_like
        Share of each cell that lies in the head.
    """
    from scipy.stats import rankdata

    used = np.asarray(inside) >= _IN_HEAD
    a, b = np.asarray(first)[used], np.asarray(second)[used]
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def repeat_agreement(cohort: CohortMaps) -> DoubleArray:
    """Return the mean correlation of each scan's maps between repeats, shape (n_scans,).

    NaN with one repeat.
    """
    pairs = list(itertools.combinations(range(cohort.by_repeat.shape[1]), 2))
    found = np.full(len(cohort.scan_ids), np.nan)
    for i, maps in enumerate(cohort.by_repeat):
        values = [likeness(maps[a], maps[b], cohort.inside[i]) for a, b in pairs]
        if values:
            found[i] = np.mean(values)
    return found


def sanity_rows(
    cohort: CohortMaps,
    pixels: Mapping[str, PixelAttribution],
    *,
    exact: bool,
    same_again: bool | None,
    tuned: bool = False,
    n_samples: int,
    seed: int,
    confidence: float,
) -> list[dict[str, Any]]:
    """Check the maps.

    Parameters
    ----------
    cohort : CohortMaps
    pixels : mapping of str to PixelAttribution
        By scan.
    exact : bool
        Whether the heads are linear, so that maps must add up exactly.
    same_again : bool or None
        Whether a scan's maps, computed twice, were the same bytes; None where nothing was computed.
    tuned : bool
        Whether each head has a tail, so that `cohort.mismatch` is that of scores.
    n_samples, seed, confidence
        Of the bootstrap over patients.

    Returns
    -------
    list of dict
        check, what, expected, value (an estimate, or a number, or None), passed (True, False or
        None where it could not be judged), reason where None.
    """

    def over_patients(values: DoubleArray, owners: Sequence[str]) -> dict[str, Any]:
        means = patient_means(values, owners)[1] if len(values) else values
        return _mean(means, n_samples=n_samples, seed=seed, confidence=confidence)

    randomised = np.array(
        [
            likeness(cohort.by_repeat[i, 0], cohort.randomised[i], cohort.inside[i])
            for i in range(len(cohort.scan_ids))
        ]
    )
    position = {name: i for i, name in enumerate(cohort.scan_ids)}
    owner_of = dict(zip(cohort.scan_ids, cohort.patient_ids, strict=True))
    trunk = np.array(
        [likeness(v.raw, v.random_trunk, cohort.inside[position[s]]) for s, v in pixels.items()]
    )
    spread = float(np.std(cohort.log_odds)) or 1.0
    lacking = float(np.abs(cohort.residual).max()) / spread
    return [
        _row("same_features", "the maps are of the features that the heads were scored on",
             "patients' scores are those recorded, to 0.001" if tuned
             else "largest difference below 0.1 % of the largest feature", cohort.mismatch,
             cohort.mismatch < _ROUNDING),
        _row("same_again", "a scan explained twice gives the same bytes", "the same",
             same_again, same_again, reason="every map came from the cache"),
        _row("is_complete", "the values of a map add up to the log-odds that it explains",
             "lacking less than 0.1 % of their spread" if exact else "none: the head is not linear",
             lacking, lacking < _ROUNDING if exact else None,
             reason="the head bends, so a part of its log-odds belongs to no place"),
        _judged("randomised_head", "the head's weights permuted among channels destroy the map",
                f"correlation below {_UNLIKE:g}", over_patients(randomised, cohort.patient_ids),
                lambda value: abs(value) < _UNLIKE),
        _judged("random_trunk", "a trunk of random weights destroys the map",
                f"correlation below {_UNLIKE:g}",
                over_patients(trunk, [owner_of[s] for s in pixels]),
                lambda value: abs(value) < _UNLIKE),
        _judged("repeats", "heads of other repeats give the same map",
                f"correlation above {_ALIKE:g}",
                over_patients(repeat_agreement(cohort), cohort.patient_ids),
                lambda value: value > _ALIKE),
    ]  # fmt: skip


def _row(
    check: str, what: str, expected: str, value: Any, passed: bool | None, *, reason: str = ""
) -> dict[str, Any]:
    row = {"check": check, "what": what, "expected": expected, "value": value, "passed": passed}
    return row if passed is not None else {**row, "reason": reason}


def _judged(
    check: str, what: str, expected: str, value: dict[str, Any], good: Callable[[float], bool]
) -> dict[str, Any]:
    if value["value"] is None:
        return _row(check, what, expected, value, None, reason=str(value["reason"]))
    return _row(check, what, expected, value, good(value["value"]))


def _mean(values: DoubleArray, *, n_samples: int, seed: int, confidence: float) -> dict[str, Any]:
    """Return the mean of patients' values that are defined."""
    from mri_transfer.metrics.intervals import undefined

    kept = values[np.isfinite(values)] if len(values) else values
    if not len(kept):
        reason = "no patient has such a pair of maps"
        return undefined(reason, n=0, method="none").as_dict()
    return mean_over_patients(kept, n_samples=n_samples, seed=seed, confidence=confidence)


def agreement_rows(
    cohort: CohortMaps,
    pixels: Mapping[str, PixelAttribution],
    *,
    patch_cells: int,
    contrast: ContrastMaps | None = None,
    n_samples: int,
    seed: int,
    confidence: float,
) -> list[dict[str, Any]]:
    """Compare the methods over patches of the head, patient by patient.

    Parameters
    ----------
    cohort : CohortMaps
    pixels : mapping of str to PixelAttribution
        By scan.
    patch_cells : int
        Cells along a patch's edge.
    contrast : ContrastMaps, optional
    n_samples, seed, confidence
        Of the bootstrap over patients.

    Returns
    -------
    list of dict
        first, second (names of methods) and correlation (an estimate, mean over patients).
    """
    found: dict[tuple[str, str], list[float]] = {}
    for scan, view in pixels.items():
        methods, inside = _by_patch(cohort, scan, view, patch_cells, contrast)
        for pair in itertools.combinations(methods, 2):
            found.setdefault(pair, []).append(likeness(methods[pair[0]], methods[pair[1]], inside))
    return [
        {
            "first": first,
            "second": second,
            "correlation": _mean(
                np.array(values), n_samples=n_samples, seed=seed, confidence=confidence
            ),
        }
        for (first, second), values in found.items()
    ]


def _by_patch(
    cohort: CohortMaps,
    scan: str,
    view: PixelAttribution,
    patch_cells: int,
    contrast: ContrastMaps | None,
) -> tuple[dict[str, DoubleArray], DoubleArray]:
    i = cohort.scan_ids.index(scan)
    cells = (cohort.inside.shape[2], cohort.inside.shape[3])
    counted = join_cells(np.ones((1, *cells)), patch_cells)
    by_cell = close_maps(
        cohort.maps[i],
        view,
        patch_cells=patch_cells,
        contrast=None if contrast is None else contrast.of(i),
    )
    methods = {name: join_cells(values, patch_cells) for name, values in by_cell.items()}
    return methods, join_cells(cohort.inside[i][view.slices], patch_cells) / counted
