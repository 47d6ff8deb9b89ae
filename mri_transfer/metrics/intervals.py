"""A value with its interval, and the three ways an interval is made here.

A patient is the unit throughout: proportions count patients, resampling draws patients, and a
patient's repeats and slices always travel together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.core.documents import Amount, OptionalText
from mri_transfer.errors import EvaluationError

__all__ = [
    "ESTIMATE",
    "EXACT",
    "Estimate",
    "bootstrap_mean",
    "exact_proportion",
    "mean_of_independent",
    "normal_quantile",
    "patient_bootstrap",
    "resample_patients",
    "square_and_add",
    "undefined",
    "without_interval",
]

#: How the interval of a proportion was made: of whole counts, and of means over repeats.
EXACT = "Clopper-Pearson exact"
AVERAGED = "beta quantiles at the mean of the repeats, conservative"


#: A resample on which the statistic is undefined is left out; beyond this share no interval is
#: given, because the rest would no longer be a random sample.
_MAX_UNDEFINED = 0.05

#: Entries of an index array handed to a batched statistic at once; bounds its memory.
_BATCH_ENTRIES = 1_000_000


#: Pydantic configuration of an estimate and of its kinds. What is missing needs a reason.
ESTIMATE = ConfigDict(
    extra="forbid",
    allow_inf_nan=False,
    use_attribute_docstrings=True,
    json_schema_extra={
        "if": {"properties": {name: {"type": "number"} for name in ("value", "ci_low", "ci_high")}},
        "else": {"required": ["reason"]},
    },
)


@dataclass(frozen=True, kw_only=True, config=ESTIMATE)
class Estimate:
    """A figure with its confidence interval. Intervals resample patients, never slices."""

    # Described by Field, as kinds of estimates do not inherit what stands below an attribute.
    value: Annotated[
        float | None,
        Field(
            description="The figure itself; empty (null) where it is undefined, `reason` then "
            "says why."
        ),
    ]
    ci_low: Annotated[
        float | None,
        Field(
            description="Lower limit of the confidence interval, in the unit of the value; empty "
            "(null) where no honest interval exists."
        ),
    ]
    ci_high: Annotated[
        float | None,
        Field(
            description="Upper limit of the confidence interval, in the unit of the value; empty "
            "(null) where no honest interval exists."
        ),
    ]
    n: Annotated[
        Amount,
        Field(
            description="Units behind the value: patients, unless said otherwise. Not whole where "
            "a denominator was averaged over repeats."
        ),
    ]
    method: Annotated[str, Field(description="How the interval was made.")]
    reason: Annotated[
        OptionalText,
        Field(description="Why the value or its interval is missing; absent where nothing is."),
    ] = None

    @field_validator("n", mode="after")
    @classmethod
    def _whole(cls, n: float) -> float:
        return int(n) if float(n).is_integer() else n

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if None in (self.value, self.ci_low, self.ci_high) and self.reason is None:
            raise ValueError("what is undefined needs a reason")
        return self

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both limits; None where there is no interval."""
        if self.ci_low is None or self.ci_high is None:
            return None
        return self.ci_low, self.ci_high

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of a document; `reason` only where there is one."""
        entry = dataclasses.asdict(self)
        if self.reason is None:
            del entry["reason"]
        return entry


def undefined(reason: str, *, n: float, method: str = "none") -> Estimate:
    """Return an estimate without a value."""
    return without_interval(None, reason, n=n, method=method)


def without_interval(value: float | None, reason: str, *, n: float, method: str) -> Estimate:
    """Return an estimate whose interval is missing, and why."""
    return Estimate(value=value, ci_low=None, ci_high=None, n=n, method=method, reason=reason)


def normal_quantile(confidence: float) -> float:
    """Return the two-sided standard normal quantile, 1.96 for a confidence of 0.95."""
    from statistics import NormalDist

    if not 0.0 < confidence < 1.0:
        raise EvaluationError(
            "not a confidence", found=str(confidence), expected="a number between 0 and 1"
        )
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def exact_proportion(
    count: float, n: float, *, confidence: float = 0.95, averaged: bool = False
) -> Estimate:
    """Estimate a proportion with the exact interval of Clopper and Pearson (1934).

    The interval is made of quantiles of beta distributions, which are defined for counts that
    are not whole. That is used on purpose: with repeated cross-validation each patient is
    predicted once per repeat, and those predictions are far from independent. Their counts are
    averaged over the repeats and `n` stays the number of patients, so that repeating the
    cross-validation never narrows an interval.

    Of averaged counts the interval is not exact, and `method` does not call it so. It is
    conservative: a patient's share of right calls varies at most as much as a single call, which
    is what the interval allows for (in simulations it covered in 98 per cent, docs/coverage.md).

    Parameters
    ----------
    count, n : float
        Successes and trials, ``0 <= count <= n``.
    confidence : float
    averaged : bool
        Whether the counts are means over repeats. Counts that are not whole are so in any case.

    Returns
    -------
    Estimate
        Undefined, with a reason, if `n` is 0.

    Raises
    ------
    EvaluationError
        If the counts are impossible.
    """
    from statsmodels.stats.proportion import proportion_confint

    whole = float(count).is_integer() and float(n).is_integer()
    method = EXACT if whole and not averaged else AVERAGED
    if not (math.isfinite(count) and math.isfinite(n) and 0.0 <= count <= n):
        raise EvaluationError(
            "impossible counts of a proportion",
            found=f"{count} of {n}",
            expected="0 <= count <= n",
        )
    if n == 0:
        return undefined("no patient counts towards it", n=0, method=method)
    low, high = proportion_confint(count, n, alpha=1.0 - confidence, method="beta")
    return Estimate(value=count / n, ci_low=float(low), ci_high=float(high), n=n, method=method)


def square_and_add(first: Estimate, second: Estimate) -> Estimate:
    """Estimate the mean of two independent proportions from their own intervals.

    The method of variance estimates recovery (Zou and Donner 2008, Stat Med 27:1693-1702), also
    called square-and-add. Fit for balanced accuracy, whose two halves are measured on different
    patients; unlike the bootstrap it keeps a width when every patient is classified rightly.

    Parameters
    ----------
    first, second : Estimate

    Returns
    -------
    Estimate
        Undefined, with the reason of the undefined half, if either is.
    """
    averaged = AVERAGED in (first.method, second.method)
    method = f"square-and-add of two {'conservative' if averaged else 'exact'} intervals"
    n = first.n + second.n
    return mean_of_independent((first, second), n=n, method=method)


def mean_of_independent(proportions: Sequence[Estimate], *, n: float, method: str) -> Estimate:
    """Estimate the mean of any number of independent proportions, as `square_and_add` does.

    Parameters
    ----------
    proportions : sequence of Estimate
        Each measured on patients of its own.
    n : float
        Patients behind the mean.
    method : str

    Returns
    -------
    Estimate
        Undefined, with the reason of the first undefined proportion, if one is.
    """
    known = [
        (part.value, *part.interval)
        for part in proportions
        if part.value is not None and part.interval is not None
    ]
    if len(known) < len(proportions):
        reason = next(str(part.reason) for part in proportions if part.reason is not None)
        return undefined(reason, n=n, method=method)
    value = float(np.mean([middle for middle, _, _ in known]))
    down = math.hypot(*(middle - low for middle, low, _ in known)) / len(known)
    up = math.hypot(*(high - middle for middle, _, high in known)) / len(known)
    return Estimate(
        value=value, ci_low=max(0.0, value - down), ci_high=min(1.0, value + up), n=n, method=method
    )


def resample_patients(
    labels: npt.ArrayLike, *, n_samples: int, rng: np.random.Generator
) -> IntArray:
    """Draw patients with replacement, inside each label.

    Parameters
    ----------
    labels : array_like, shape (n,)
        One entry a patient.
    n_samples : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (n_samples, n)
        Positions of patients. Every row holds as many of each label as `labels` does.
    """
    classes = np.asarray(labels)
    parts = []
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        parts.append(members[rng.integers(len(members), size=(n_samples, len(members)))])
    return np.concatenate(parts, axis=1).astype(np.int64, copy=False)


def patient_bootstrap(
    statistic: Callable[[IntArray], Any],
    labels: npt.ArrayLike,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    batched: bool = False,
    n: float | None = None,
) -> Estimate:
    """Estimate a statistic with a percentile interval over resampled patients.

    Resampling is stratified by label, as the intervals of DeLong and of Clopper and Pearson also
    hold the numbers per label fixed (Efron and Tibshirani 1993, ch. 13; Carpenter and Bithell
    2000, Stat Med 19:1141-1164).

    Parameters
    ----------
    statistic : callable
        Takes positions of patients, shape (n,), and returns a float; NaN where undefined.
    labels : array_like, shape (n,)
    n_samples : int
    rng : numpy.random.Generator
    confidence : float
    batched : bool
        The statistic takes positions of shape (b, n) and returns shape (b,). Much faster.
    n : float, optional
        The `n` to report if the units are not the patients.

    Returns
    -------
    Estimate
        Without an interval, with a reason, if every resample gives the same value or too many
        resamples leave the statistic undefined.
    """
    classes = np.asarray(labels)
    size = len(classes)
    indices = resample_patients(classes, n_samples=n_samples, rng=rng)
    evaluate = statistic if batched else _row_by_row(statistic)
    value = float(np.asarray(evaluate(np.arange(size)[None, :]))[0])
    step = max(1, _BATCH_ENTRIES // max(size, 1))
    draws = np.concatenate(
        [
            np.asarray(evaluate(indices[start : start + step]), dtype=np.float64)
            for start in range(0, n_samples, step)
        ]
    )
    method = "stratified patient bootstrap, percentile"
    units = size if n is None else n
    if not math.isfinite(value):
        return undefined("undefined on these scores", n=units, method=method)
    kept = draws[np.isfinite(draws)]
    reason = _no_interval(kept, n_samples)
    tail = (1.0 - confidence) / 2.0
    low, high = (
        (None, None) if reason else (float(q) for q in np.quantile(kept, [tail, 1.0 - tail]))
    )
    return Estimate(value=value, ci_low=low, ci_high=high, n=units, method=method, reason=reason)


def bootstrap_mean(
    values: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate a mean over patients with a percentile interval over resampled patients.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        One a patient.
    labels : array_like, shape (n,), optional
        Resampling keeps the number of each; without them it draws from all patients alike.
    n_samples, rng, confidence
        As in `patient_bootstrap`.
    """
    of_patient = np.asarray(values, dtype=np.float64)

    def means(indices: IntArray) -> FloatArray:
        return np.asarray(of_patient[indices].mean(axis=1), dtype=np.float64)

    return patient_bootstrap(
        means,
        np.zeros(len(of_patient)) if labels is None else labels,
        n_samples=n_samples,
        rng=rng,
        confidence=confidence,
        batched=True,
    )


def _row_by_row(statistic: Callable[[IntArray], Any]) -> Callable[[IntArray], FloatArray]:
    def evaluate(indices: IntArray) -> FloatArray:
        return np.array([float(statistic(row)) for row in indices], dtype=np.float64)

    return evaluate


def _no_interval(kept: FloatArray, n_samples: int) -> str | None:
    if len(kept) < (1.0 - _MAX_UNDEFINED) * n_samples:
        return f"undefined on {n_samples - len(kept)} of {n_samples} resamples"
    if np.ptp(kept) == 0.0:
        return "every resample of patients gives the same value"
    return None
