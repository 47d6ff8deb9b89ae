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
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers, find_column
from mri_transfer.core.arrays import BoolArray, FloatArray
from mri_transfer.evaluation.external.aggregate_document import (
    AggregateDocument,
    BareEstimate,
    Calls,
    CallsTold,
    LeftOut,
    PrevalenceTold,
    ScoreBand,
    ToldAge,
    ToldCriterion,
    ToldFigure,
    ToldLevel,
    ToldRecalibration,
    ToldSampleSize,
    ToldWay,
)
from mri_transfer.evaluation.external.disclosure import (
    SMALLEST,
    is_told,
    joined_rows,
    safe_cuts,
    told_count,
)
from mri_transfer.evaluation.external.document import Population
from mri_transfer.evaluation.external.evaluate import ExternalEvaluation
from mri_transfer.evaluation.external.results import ExternalTest, RecalibrationWay, ToldCaseMix
from mri_transfer.evaluation.external.settings import NewCohort
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.operating_point import confusion, rates
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


def aggregate_document(
    tested: ExternalEvaluation, cohort: NewCohort, left_out: Mapping[str, int]
) -> AggregateDocument:
    """Return what may be sent out of an external test.

    Parameters
    ----------
    tested : ExternalEvaluation
    cohort : NewCohort
        That it is of.
    left_out : mapping of str to int
        Scans that are not in the figures, by the stage that left them out.

    Returns
    -------
    AggregateDocument
    """
    document = tested.document
    patients = cohort.patients.loc[tested.scores["patient_id"].tolist()]
    positive = (tested.scores["label"] == document.positive_label).to_numpy(dtype=bool)
    told = AggregateDocument(
        **{name: getattr(document, name) for name in ExternalTest.model_fields},
        how=_HOW,
        smallest_count=SMALLEST,
        overlap_counted=document.cohort.overlap_counted,
        n_by_label={
            document.positive_label: told_count(int(positive.sum())),
            document.negative_label: told_count(int((~positive).sum())),
        },
        n_overlapping=told_count(document.cohort.n_overlapping),
        n_outside_contract=told_count(document.cohort.n_outside_contract),
        left_out=tuple(
            LeftOut(stage=stage, n=told_count(count)) for stage, count in sorted(left_out.items())
        ),
        sex=_levels(patients, positive, ["sex", "gender"]),
        age=_ages(patients, positive),
        calls=_calls(tested, positive),
        **_figures(document.populations.all, positive),
    )
    return AggregateDocument.model_validate(_rounded(told.plain()))


def _figures(everybody: Population, positive: BoolArray) -> dict[str, Any]:
    """Return the figures that are sums over all patients, by their names in the document."""
    few = min(positive.sum(), (~positive).sum()) < SMALLEST
    advice, size, mix = everybody.recalibration, everybody.sample_size, everybody.case_mix
    if everybody.figures is None or few or advice is None or size is None or mix is None:
        return {
            "reason": "figures need five patients or more of each label",
            "figures": {},
            "comparison": (),
            "case_mix": None,
            "recalibration": None,
            "sample_size": None,
        }
    return {
        "reason": None,
        "figures": {name: BareEstimate.of(getattr(everybody.figures, name)) for name in _WHOLE},
        "comparison": tuple(
            ToldFigure(
                figure=compared.figure,
                external=BareEstimate.of(compared.external),
                internal=BareEstimate.of(compared.internal),
                difference=BareEstimate.of(compared.difference),
                intervals_overlap=compared.intervals_overlap,
                p=compared.p,
            )
            for compared in everybody.comparison
            if compared.figure in _WHOLE
        ),
        "case_mix": ToldCaseMix(differences=mix.differences, sentences=mix.sentences),
        "recalibration": ToldRecalibration(ways=tuple(map(_way, advice.ways)), least=advice.least),
        "sample_size": ToldSampleSize(
            criteria=tuple(
                ToldCriterion(
                    **{name: getattr(criterion, name) for name in ToldCriterion.model_fields}
                )
                for criterion in size.criteria
            ),
            all_enough=size.all_enough,
        ),
    }


def _way(way: RecalibrationWay) -> ToldWay:
    parameters = {
        name: BareEstimate.of(number) if isinstance(number, Estimate) else number
        for name, number in way.parameters.items()
    }
    return ToldWay(way=way.way, parameters=parameters, log_loss=way.log_loss)


def _levels(
    patients: pd.DataFrame, positive: BoolArray, columns: Sequence[str]
) -> tuple[ToldLevel, ...] | None:
    column = find_column(patients, columns)
    if column is None:
        return None
    levels = covariate_levels(patients, column)
    names = sorted(set(levels))
    # The commonest last, so that small levels are joined with each other first.
    names.sort(key=lambda name: int((levels == name).sum()))
    return _table([str(name) or "not known" for name in names], levels, names, positive)


def _ages(patients: pd.DataFrame, positive: BoolArray) -> ToldAge | None:
    column = find_column(patients, ["age"])
    if column is None:
        return None
    ages = covariate_numbers(patients, column)
    known = ages[np.isfinite(ages)]
    bands = np.where(np.isfinite(ages), np.searchsorted(_AGE_BEGINS, ages, side="right"), 99)
    ends = [f"below {_AGE_BEGINS[0]}"]
    ends += [f"{low} to {high - 1}" for low, high in itertools.pairwise(_AGE_BEGINS)]
    ends += [f"{_AGE_BEGINS[-1]} and older", "not known"]
    numbers = [*range(len(_AGE_BEGINS) + 1), 99]
    # The number known is the whole less the number missing, which may be small.
    whole = is_told(len(ages) - len(known)) and len(known) >= 2 * SMALLEST
    return ToldAge(
        mean=float(known.mean()) if whole else None,
        sd=float(known.std(ddof=1)) if whole else None,
        bands=_table(ends, bands, numbers, positive),
    )


def _table(
    names: Sequence[str], of_patient: Any, levels: Sequence[Any], positive: BoolArray
) -> tuple[ToldLevel, ...] | None:
    counts = [
        [int(((of_patient == level) & part).sum()) for part in (positive, ~positive)]
        for level in levels
    ]
    joined = joined_rows(names, counts)
    if joined is None:
        return None
    return tuple(
        ToldLevel(level=name, n_positive=row[0], n_negative=row[1])
        for name, row in zip(*joined, strict=True)
    )


def _calls(tested: ExternalEvaluation, positive: BoolArray) -> Calls:
    """Return rates and counts at the thresholds that leave no small group."""
    document = tested.document
    scores = tested.scores["score"].to_numpy(dtype=np.float64)
    own = document.threshold.bundle
    candidates = list(dict.fromkeys([own, *_BANDS]))
    cuts = {label: safe_cuts(scores[positive == label], candidates) for label in (True, False)}
    labels = {True: document.positive_label, False: document.negative_label}
    return Calls(
        bundle_threshold=own,
        thresholds=tuple(
            _at(scores, positive, cut, cuts, document.confidence)
            for cut in candidates
            if cut in cuts[True] or cut in cuts[False]
        ),
        score_bands={
            name: _score_bands(scores[positive == label], cuts[label])
            for label, name in labels.items()
            if is_told(int((positive == label).sum()))
        },
    )


def _at(
    scores: FloatArray,
    positive: BoolArray,
    cut: float,
    cuts: Mapping[bool, Sequence[float]],
    confidence: float,
) -> CallsTold:
    counts = confusion(positive, scores >= cut)
    figures = rates(counts, confidence=confidence)
    figures |= likelihood_ratios(counts, confidence=confidence)
    both = cut in cuts[True] and cut in cuts[False] and positive.any() and not positive.all()
    names = list(figures) if both else ["sensitivity"] if cut in cuts[True] else ["specificity"]
    return CallsTold(
        threshold=cut,
        figures={name: BareEstimate.of(figures[name]) for name in names},
        by_prevalence=tuple(
            PrevalenceTold(
                prevalence=row.prevalence,
                ppv=BareEstimate.of(row.ppv),
                npv=BareEstimate.of(row.npv),
            )
            for row in (by_prevalence(counts, confidence=confidence) if both else ())
        ),
    )


def _score_bands(values: FloatArray, cuts: Sequence[float]) -> tuple[ScoreBand, ...]:
    ends = [0.0, *sorted(cuts), 1.0]
    begins = np.searchsorted(np.sort(values), ends[1:-1], side="left")
    counts = np.diff([0, *begins.tolist(), len(values)])
    return tuple(
        ScoreBand(begin=low, end=high, n=int(count))
        for (low, high), count in zip(itertools.pairwise(ends), counts, strict=True)
    )


def _rounded(value: Any) -> Any:
    """Return a document whose numbers have three digits, so that no count hides in them."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 3) if isinstance(value, float) else value
