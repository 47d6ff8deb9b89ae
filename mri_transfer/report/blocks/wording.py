"""How numbers become text, and what each metric means in plain words."""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

__all__ = [
    "METRICS",
    "Shown",
    "bare_p",
    "count",
    "estimate",
    "interval",
    "label_of",
    "number",
    "p_value",
    "plain_decimal",
    "spelt_names",
    "verdict",
]

_NO_BREAK = "\u00a0"
_MINUS = "\u2212"


@dataclasses.dataclass(frozen=True)
class Metric:
    """Name of a metric in a report, and its meaning for a reader who is no statistician."""

    title: str
    meaning: str


#: In the order in which a report lists them.
METRICS: dict[str, Metric] = {
    "auc": Metric(
        "AUC",
        "How often the patient with the positive label scores above the other; 0.5 is guessing",
    ),
    "auc_bootstrap": Metric("AUC, bootstrap", "The same AUC with an interval made another way"),
    "average_precision": Metric(
        "Average precision",
        "Precision over all thresholds; guessing gives the share of positive labels",
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy", "Mean of sensitivity and specificity; 0.5 is guessing"
    ),
    "accuracy": Metric("Accuracy", "Share of patients classified correctly"),
    "sensitivity": Metric(
        "Sensitivity", "Of patients with the positive label, share called positive"
    ),
    "specificity": Metric(
        "Specificity", "Of patients with the negative label, share called negative"
    ),
    "ppv": Metric("PPV", "Of those called positive, share that are; depends on the cohort's mix"),
    "npv": Metric("NPV", "Of those called negative, share that are; depends on the cohort's mix"),
    "positive_likelihood_ratio": Metric(
        "Likelihood ratio of a positive call",
        "Factor by which it multiplies the odds; 1 is uninformative",
    ),
    "negative_likelihood_ratio": Metric(
        "Likelihood ratio of a negative call",
        "Factor by which it multiplies the odds; 1 is uninformative",
    ),
    "brier": Metric(
        "Brier score", "Mean squared error of the score; 0 is perfect, 0.25 is guessing"
    ),
    "calibration_intercept": Metric(
        "Calibration intercept", "0 is right; below 0, the scores are too high on the whole"
    ),
    "calibration_slope": Metric(
        "Calibration slope", "1 is right; below 1, the scores are too extreme"
    ),
    "ici": Metric(
        "ICI", "Integrated calibration index: mean distance of the smooth curve from the diagonal"
    ),
    "e50": Metric("E50", "Median distance of the smooth curve from the diagonal"),
    "e90": Metric("E90", "Distance that 90 in 100 patients stay below"),
    "emax": Metric("Emax", "Largest distance of the smooth curve from the diagonal"),
    "ici_if_calibrated": Metric(
        "ICI by chance",
        "What the ICI would be were the scores right: mean and central range, no interval",
    ),
}


def label_of(key: str) -> str:
    """Return a key of a file as words: its metric's title, or the key's own words."""
    if key in METRICS:
        return METRICS[key].title
    key = key.removeprefix("n_")
    words = " ".join("AUC" if word == "auc" else word for word in key.split("_"))
    return words[:1].upper() + words[1:]


#: Columns that cohorts share, spelt out.
_COLUMNS = {
    "cdr": "Clinical Dementia Rating",
    "education": "years or level of education",
    "etiv_cm3": "estimated intracranial volume",
    "mmse": "Mini-Mental State Examination",
    "nwbv": "normalised whole-brain volume",
}


def spelt_names(name: str) -> str:
    """Return the columns that a baseline joins (`age + nwbv`), each spelt out."""
    return " + ".join(_COLUMNS.get(part, part) for part in name.split(" + "))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a true minus sign; None and NaN are 'not defined'."""
    if value is None or math.isnan(value):
        return "not defined"
    text = f"{value:.{digits}f}"
    if not float(text):
        text = text.removeprefix("-")
    return text.replace("-", _MINUS)


def count(value: float | None) -> str:
    """Return a count; patients are whole, and a mean of repeats is about so many."""
    if value is None or math.isnan(value):
        return "not defined"
    whole = abs(value - round(value)) < 0.05
    return f"{round(value)}" if whole else f"about {max(1, round(value))}"


class Shown(Protocol):
    """A figure that is shown with its interval, or with the reason why something is missing."""

    @property
    def value(self) -> float | None:
        """The figure; None where it is undefined."""

    @property
    def ci_low(self) -> float | None:
        """Lower limit of its interval."""

    @property
    def ci_high(self) -> float | None:
        """Upper limit of its interval."""

    @property
    def reason(self) -> str | None:
        """Why something is missing."""


def interval(entry: Shown, digits: int = 3) -> str:
    """Return '0.70 to 0.85', or why there is no interval."""
    if entry.ci_low is None or entry.ci_high is None:
        return f"not defined: {entry.reason or 'no interval was computed'}"
    return f"{number(entry.ci_low, digits)} to {number(entry.ci_high, digits)}"


def estimate(entry: Shown, *, confidence: float, digits: int = 2) -> str:
    """Return '0.78 (95 % CI 0.70 to 0.85)', or why there is no value."""
    if entry.value is None:
        return f"not defined: {entry.reason or 'no reason was given'}"
    percent = f"{100 * confidence:g}{_NO_BREAK}%"
    value = number(entry.value, digits)
    if entry.ci_low is None or entry.ci_high is None:
        return f"{value} (no interval: {entry.reason or 'none was computed'})"
    return f"{value} ({percent}{_NO_BREAK}CI {interval(entry, digits)})"


def verdict(entry: Shown, *, above: str, below: str, neither: str) -> str:
    """Return which words hold: by whether the interval lies above 0, below it, or around it."""
    if entry.ci_low is not None and entry.ci_low > 0:
        return above
    return below if entry.ci_high is not None and entry.ci_high < 0 else neither


def bare_p(value: float | None) -> str:
    """Return a p value for a table's cell: '0.03', '< 0.001'."""
    return p_value(value).removeprefix(f"={_NO_BREAK}")


def p_value(value: float | None) -> str:
    """Return a p value as text with its sign: '= 0.03', '< 0.001'."""
    if value is None or math.isnan(value):
        return "not defined"
    if value < 0.001:
        return f"<{_NO_BREAK}0.001"
    return f"={_NO_BREAK}{value:.2f}" if value >= 0.1 else f"={_NO_BREAK}{value:.3f}"


def plain_decimal(value: float) -> str:
    """Return two significant digits without an exponent, such as `0.000069`."""
    return f"{float(f'{value:.2g}'):.12f}".rstrip("0").rstrip(".")
