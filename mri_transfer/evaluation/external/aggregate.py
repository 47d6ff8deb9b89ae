"""The figures of an external test as a document that a hospital can send out.

It names no patient, scan, site or file, holds no row of a patient, and no count from 1 to 4 nor
anything from which one could be computed (`disclosure`). The AUC and the measures of calibration
are sums over all patients and are told in full, to three digits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers, find_column
from mri_transfer.evaluation.external.aggregate_document import AggregateDocument
from mri_transfer.evaluation.external.disclosure import (
    SMALLEST,
    is_told,
    joined_rows,
    safe_cuts,
    told_count,
)
from mri_transfer.evaluation.external.evaluate import ExternalEvaluation
from mri_transfer.evaluation.external.settings import NewCohort
from mri_transfer.evaluation.plain import plain
from mri_transfer.metrics.operating_point import Confusion, confusion, rates
from mri_transfer.metrics.predictive_values import by_prevalence, likelihood_ratios

__all__ = ["aggregate_document"]

#: Figures that are sums over all patients and cut nobody off.
_WHOLE = (
    "auc",
    "average_precision",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "ici",
)

#: Ages in years at which a band begins; the first has no lower end and the last no upper one.
_AGE_BEGINS = (40, 50, 60, 70, 80, 90)

_BANDS = tuple(round(0.1 * step, 1) for step in range(1, 10))

_HOW = (
    f"Counts from 1 to {SMALLEST - 1} are not told. Neighbouring groups are joined, and thresholds "
    "left out, until none is left that could be computed from others. Figures have three digits."
)

BoolArray = npt.NDArray[np.bool_]


def aggregate_document(
    found: ExternalEvaluation, cohort: NewCohort, left_out: Mapping[str, int]
) -> AggregateDocument:
    """Return what may be sent out of an external test.

    Parameters
    ----------
    found : ExternalEvaluation
    cohort : NewCohort
        That it is of.
    left_out : mapping of str to int
        Scans that are not in the figures, by the stage that left them out.

    Returns
    -------
    AggregateDocument
    """
    document = found.document.plain()
    everybody = document["populations"]["all"]
    patients = cohort.patients.loc[found.scores["patient_id"].tolist()]
    positive = (found.scores["label"] == document["positive_label"]).to_numpy(dtype=bool)
    told = {
        "how": _HOW,
        "smallest_count": SMALLEST,
        **{
            name: document[name]
            for name in ("positive_label", "negative_label", "confidence", "synthetic", "warnings")
        },
        "bundle": document["bundle"],
        "overlap_counted": document["cohort"]["overlap_counted"],
        "n_by_label": _labels(document, positive),
        "n_overlapping": told_count(document["cohort"]["n_overlapping"]),
        "n_outside_contract": told_count(document["cohort"]["n_outside_contract"]),
        "left_out": [
            {"stage": stage, "n": told_count(count)} for stage, count in sorted(left_out.items())
        ],
        "sex": _levels(patients, positive, ["sex", "gender"]),
        "age": _ages(patients, positive),
        "calls": _calls(found, positive),
        **_figures(document, everybody, positive),
    }
    return AggregateDocument.model_validate(plain(_rounded(told)))


def _labels(document: Mapping[str, Any], positive: BoolArray) -> dict[str, int | None]:
    counts = {
        document["positive_label"]: int(positive.sum()),
        document["negative_label"]: int((~positive).sum()),
    }
    return {label: told_count(count) for label, count in counts.items()}


def _large(positive: BoolArray) -> bool:
    """Whether patients of both labels are enough for any figure of both."""
    return bool(min(positive.sum(), (~positive).sum()) >= SMALLEST)


def _figures(
    document: Mapping[str, Any], everybody: Mapping[str, Any], positive: BoolArray
) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "figures": {},
        "comparison": [],
        "case_mix": None,
        "recalibration": None,
        "sample_size": None,
    }
    if everybody["figures"] is None or not _large(positive):
        return {**empty, "reason": "figures need five patients or more of each label"}
    figures = everybody["figures"]
    mix = everybody["case_mix"]
    return {
        "figures": {name: _bare(figures[name]) for name in _WHOLE if name in figures},
        "comparison": [
            {
                **{name: _bare(one[name]) for name in ("external", "internal", "difference")},
                "figure": one["figure"],
                "intervals_overlap": one["intervals_overlap"],
                "p": one["p"],
            }
            for one in everybody["comparison"]
            if one["figure"] in _WHOLE
        ],
        "case_mix": {name: mix[name] for name in ("differences", "sentences")},
        "recalibration": _recalibration(everybody["recalibration"]),
        "sample_size": {
            "criteria": [
                {name: one.get(name) for name in _CRITERION}
                for one in everybody["sample_size"]["criteria"]
            ],
            "all_enough": everybody["sample_size"]["all_enough"],
        },
        "reason": None,
    }


_CRITERION = ("figure", "expected_half_width", "target_half_width", "n_needed", "enough", "source")


def _recalibration(found: Mapping[str, Any]) -> dict[str, Any]:
    ways = []
    for one in found["ways"]:
        parameters = {
            name: _bare(value) if isinstance(value, Mapping) else value
            for name, value in one["parameters"].items()
        }
        ways.append({**one, "parameters": parameters})
    return {"ways": ways, "least": found["least"]}


def _bare(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a figure without the number of patients behind it, and without texts about them."""
    return {name: entry.get(name) for name in ("value", "ci_low", "ci_high", "method")}


def _levels(
    patients: pd.DataFrame, positive: BoolArray, columns: Sequence[str]
) -> list[dict[str, Any]] | None:
    column = find_column(patients, columns)
    if column is None:
        return None
    levels = covariate_levels(patients, column)
    names = sorted(set(levels))
    # The commonest last, so that small levels are joined with each other first.
    names.sort(key=lambda name: int((levels == name).sum()))
    return _table([str(name) or "not known" for name in names], levels, names, positive)


def _ages(patients: pd.DataFrame, positive: BoolArray) -> dict[str, Any] | None:
    column = find_column(patients, ["age"])
    if column is None:
        return None
    ages = covariate_numbers(patients, column)
    known = ages[np.isfinite(ages)]
    bands = np.where(np.isfinite(ages), np.searchsorted(_AGE_BEGINS, ages, side="right"), 99)
    ends = [f"below {_AGE_BEGINS[0]}"]
    ends += [f"{low} to {high - 1}" for low, high in itertools.pairwise(_AGE_BEGINS)]
    ends += [f"{_AGE_BEGINS[-1]} and older", "not known"]
    places = [*range(len(_AGE_BEGINS) + 1), 99]
    # The number known is the whole less the number missing, which may be small.
    whole = is_told(len(ages) - len(known)) and len(known) >= 2 * SMALLEST
    return {
        "mean": float(known.mean()) if whole else None,
        "sd": float(known.std(ddof=1)) if whole else None,
        "bands": _table(ends, bands, places, positive),
    }


def _table(
    names: Sequence[str], of_patient: Any, levels: Sequence[Any], positive: BoolArray
) -> list[dict[str, Any]] | None:
    counts = [
        [int(((of_patient == level) & part).sum()) for part in (positive, ~positive)]
        for level in levels
    ]
    joined = joined_rows(names, counts)
    if joined is None:
        return None
    return [
        {"level": name, "n_positive": row[0], "n_negative": row[1]}
        for name, row in zip(*joined, strict=True)
    ]


def _calls(found: ExternalEvaluation, positive: BoolArray) -> dict[str, Any]:
    """Return rates and counts at the thresholds that leave no small group."""
    document = found.document.plain()
    scores = found.scores["score"].to_numpy(dtype=np.float64)
    own = float(document["threshold"]["bundle"])
    candidates = list(dict.fromkeys([own, *_BANDS]))
    cuts = {
        True: safe_cuts(scores[positive], candidates),
        False: safe_cuts(scores[~positive], candidates),
    }
    labels = {True: document["positive_label"], False: document["negative_label"]}
    thresholds = [
        _at(scores, positive, cut, cuts, document["confidence"])
        for cut in candidates
        if cut in cuts[True] or cut in cuts[False]
    ]
    return {
        "bundle_threshold": own,
        "thresholds": thresholds,
        "score_bands": {
            labels[label]: _score_bands(scores[positive == label], cuts[label])
            for label in (True, False)
            if is_told(int((positive == label).sum()))
        },
    }


def _at(
    scores: npt.NDArray[np.float64],
    positive: BoolArray,
    cut: float,
    cuts: Mapping[bool, Sequence[float]],
    confidence: float,
) -> dict[str, Any]:
    counts: Confusion = confusion(positive, scores >= cut)
    found = {**rates(counts, confidence=confidence)}
    found |= likelihood_ratios(counts, confidence=confidence)
    both = cut in cuts[True] and cut in cuts[False] and positive.any() and not positive.all()
    names = list(found) if both else ["sensitivity"] if cut in cuts[True] else ["specificity"]
    return {
        "threshold": cut,
        "figures": {name: _bare(found[name].as_dict()) for name in names},
        "by_prevalence": [
            {
                "prevalence": row.prevalence,
                "ppv": _bare(row.ppv.as_dict()),
                "npv": _bare(row.npv.as_dict()),
            }
            for row in (by_prevalence(counts, confidence=confidence) if both else ())
        ],
    }


def _score_bands(values: npt.NDArray[np.float64], cuts: Sequence[float]) -> list[dict[str, Any]]:
    ends = [0.0, *sorted(cuts), 1.0]
    places = np.searchsorted(np.sort(values), ends[1:-1], side="left")
    groups = np.diff([0, *places.tolist(), len(values)])
    return [
        {"from": low, "to": high, "n": int(group)}
        for (low, high), group in zip(itertools.pairwise(ends), groups, strict=True)
    ]


def _rounded(value: Any) -> Any:
    """Return a document whose numbers have three digits, so that no count hides in them."""
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 3)
    return value
