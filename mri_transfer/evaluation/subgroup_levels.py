"""The subgroups of a cohort: who belongs to each, and whether they are enough to say anything.

The verdict on the size is made before looking at a subgroup's own figures: from its patients of
each label and the AUC of the whole cohort follows how wide the interval of its AUC must be
expected to be.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers, find_column
from mri_transfer.core.arrays import BoolArray, FloatArray, TextArray
from mri_transfer.evaluation.group_results import SubgroupSize
from mri_transfer.metrics.precision import expected_width

__all__ = [
    "AGE_BANDS",
    "NOT_RECORDED",
    "Members",
    "expected_half_width",
    "find_subgroups",
    "subgroup_size",
]


#: Ages in years at which a new band begins.
AGE_BANDS = (60, 70, 80)

#: Patients of each label, and half-width of the interval expected of the AUC, that a subgroup
#: needs before anything is said about it. Both numbers are our own convention, no published rule:
#: beyond a half-width of .15 an AUC of .75 could be .6, a poor model, or .9, an excellent one.
MIN_PER_LABEL = 10
MAX_HALF_WIDTH = 0.15

#: The level of patients whose covariate is missing.
NOT_RECORDED = "not recorded"

#: Columns that a group is read from, whatever their case; the first that there is.
_COLUMNS = {
    "sex": ("sex", "gender"),
    "age band": ("age",),
    "site": ("site",),
    "scanner": ("scanner",),
    "education": ("education", "educ", "education_years", "edu"),
    "cdr": ("cdr", "cdr_global", "cdrglob", "cdglobal"),
}
_MAKES = ("manufacturer", "scanner_manufacturer")
_STRENGTHS = ("field_strength", "field_strength_t", "magnetic_field_strength")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Members:
    """The patients of a subgroup.

    Attributes
    ----------
    group, level : str
    members : ndarray of bool, shape (n,)
    comment : str, optional
        What a reader has to know of how they were chosen.
    is_severity : bool
        The patients of the negative label are those of every level.
    """

    group: str
    level: str
    members: BoolArray
    comment: str | None = None
    is_severity: bool = False


def expected_half_width(
    value: float, n_positive: int, n_negative: int, *, confidence: float = 0.95
) -> float:
    """Return half the width to expect of the interval of an AUC.

    Half of `expected_width`, kept from promising an interval of no width where the AUC is near 1.

    Parameters
    ----------
    value : float
        The AUC to expect, 0 to 1; taken as at most .95 and at least .05.
    n_positive, n_negative : int
        1 or more.
    confidence : float
    """
    area = min(max(value, 0.05), 0.95)
    return expected_width(area, n_positive, n_negative, confidence=confidence) / 2.0


def find_subgroups(
    positive: BoolArray, patients: pd.DataFrame, *, age_bands: Sequence[float] = AGE_BANDS
) -> Iterator[Members]:
    """Yield the subgroups by sex, age band, site, scanner, education and CDR.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    patients : DataFrame
        In the same order, with whichever covariates are known.
    age_bands : sequence of float
        Ages in years, rising, at which a new band begins.
    """
    for group, names in _COLUMNS.items():
        column, comment = find_column(patients, names), None
        levels, order = np.full(len(patients), "", dtype=object), None
        if group == "scanner" and (column is None or patients[column].isna().all()):
            levels = _makes(patients)
        elif column is not None and group == "age band":
            levels, order = _banded(covariate_numbers(patients, column), age_bands)
        elif column is not None and group == "education":
            levels, comment = _halved(covariate_numbers(patients, column), column)
        elif column is not None:
            levels = covariate_levels(patients, column)
        if group == "cdr":
            yield from _severities(levels, positive)
            continue
        for level in order or sorted(set(levels) - {""}):
            yield Members(group=group, level=level, members=levels == level, comment=comment)
        if (levels == "").any():
            yield Members(group=group, level=NOT_RECORDED, members=levels == "")


def _makes(patients: pd.DataFrame) -> TextArray:
    """Name scanners by manufacturer and field strength, as far as either is known."""
    parts = [find_column(patients, known) for known in (_MAKES, _STRENGTHS)]
    texts = [covariate_levels(patients, part) for part in parts if part is not None]
    names = [" ".join(text[i] for text in texts if text[i]) for i in range(len(patients))]
    return np.array(names, dtype=object)


def _banded(age: FloatArray, bands: Sequence[float]) -> tuple[TextArray, list[str]]:
    """Return each patient's band of completed years, and the names of the bands that occur."""
    names = [
        f"under {bands[0]:g}",
        *(f"{low:g} to {high - 1:g}" for low, high in itertools.pairwise(bands)),
        f"{bands[-1]:g} and over",
    ]
    numbers = np.searchsorted(np.asarray(bands, dtype=np.float64), age, side="right")
    known = np.isfinite(age)
    levels = [names[number] if known[i] else "" for i, number in enumerate(numbers)]
    return np.array(levels, dtype=object), [name for name in names if name in levels]


def _halved(values: FloatArray, column: str) -> tuple[TextArray, str | None]:
    """Split at the median of all scored patients, which only describes them: nothing is fitted."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(values), "", dtype=object), None
    median = float(np.median(values[known]))
    levels = np.where(values < median, "below the median", "median and above").astype(object)
    levels[~known] = ""
    return levels, f"split at this cohort's median of the column {column}, {median:g}"


def _severities(levels: TextArray, positive: BoolArray) -> Iterator[Members]:
    comment = (
        "patients of the positive label at this CDR against all of the negative label, since the "
        "CDR is part of the reference standard"
    )
    for level in sorted(set(levels[positive]) - {""}):
        members = (levels == level) | ~positive
        yield Members(group="cdr", level=level, members=members, comment=comment, is_severity=True)


def subgroup_size(
    subgroup: Members,
    every: Sequence[Members],
    *,
    positive: BoolArray,
    expected_auc: float,
    confidence: float = 0.95,
) -> SubgroupSize:
    """Return who is in a subgroup, and whether that is enough to say anything.

    Parameters
    ----------
    subgroup : Members
    every : sequence of Members
        All of them: a group of a single level compares nothing.
    positive : ndarray of bool, shape (n,)
    expected_auc : float
        The whole cohort's: a subgroup's own would pass the lucky ones.
    confidence : float
    """
    inside = positive[subgroup.members]
    n_positive, n_negative = int(inside.sum()), int((~inside).sum())
    half = None
    if min(n_positive, n_negative) > 0:
        half = expected_half_width(expected_auc, n_positive, n_negative, confidence=confidence)
    n_levels = sum(other.group == subgroup.group and other.level != NOT_RECORDED for other in every)
    reason = None
    if subgroup.level == NOT_RECORDED:
        reason = f"the {subgroup.group} of these patients is not recorded"
    elif n_levels == 1 and not subgroup.is_severity:
        reason = "all patients of whom it is recorded are of this level: nothing to compare"
    elif half is None:
        reason = f"{n_positive} positive and {n_negative} negative patients: no statement"
    elif min(n_positive, n_negative) < MIN_PER_LABEL or half > MAX_HALF_WIDTH:
        reason = (
            f"{n_positive} positive and {n_negative} negative patients: the interval of the AUC "
            f"would be ±{half:.2f}; no statement (asked for: {MIN_PER_LABEL} of each and at most "
            f"±{MAX_HALF_WIDTH:.2f})"
        )
    return SubgroupSize(
        group=subgroup.group,
        level=subgroup.level,
        n=len(inside),
        n_positive=n_positive,
        n_negative=n_negative,
        expected_half_width=half,
        enough=reason is None,
        reason=reason,
        comment=subgroup.comment,
    )
