"""What a reader has to know before believing the figures, found by rules.

Each rule reads the finished evaluation and the patient table and returns at most one caveat. The
rules say what is visible in the numbers; they cannot see what the cohort's authors know.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.evaluation.document import EvaluationDocument
from mri_transfer.evaluation.notices import study_notices
from mri_transfer.evaluation.results import BaselineComparison, Caveat
from mri_transfer.metrics.intervals import Estimate

__all__ = ["find_caveats", "standardised_mean_difference"]

#: Fewer patients than this of either label make figures of a prediction model imprecise
#: (Collins, Ogundimu and Altman 2016, Stat Med 35:214-226).
ENOUGH_PER_LABEL = 100

#: With fewer of a label than this, one patient moves its share of right calls by over 3 points.
FEW_PER_LABEL = 30

#: Half-width of the AUC's interval from which it spans useless and good, such as .65 and .85.
WIDE_INTERVAL = 0.10

#: Standardised difference in age from which an image model may read age instead of disease.
AGE_DIFFERENCE = 0.5

#: AUC beyond what patient-level studies of early disease on structural MRI reach without a leak.
SUSPICIOUS_AUC = 0.88

#: AUC from which a covariate is likelier to encode the label than to predict it.
SUSPICIOUS_BASELINE_AUC = 0.95


def find_caveats(document: EvaluationDocument, patients: pd.DataFrame) -> tuple[Caveat, ...]:
    """Return the caveats of an evaluation, each with a stable code and a text.

    Parameters
    ----------
    document : EvaluationDocument
        All but its caveats.
    patients : DataFrame
        The evaluated patients: label and, where known, age and site.
    """
    standing = study_notices(synthetic=document.synthetic, trunk_weights=document.trunk_weights)
    caveats = [
        *((notice.code, str(notice)) for notice in standing),
        _suspicious(document),
        _guessing(document),
        _few(document),
        _wide(document),
        _small(document),
        _age(document, patients),
        _age_matched(document),
        _site(document, patients),
        _scanner(document, patients),
        _internal(document),
        _baseline(document),
        _image_baseline(document),
        _baseline_suspicious(document),
        _calibration(document),
    ]
    return tuple(Caveat(code=code, text=text) for code, text in filter(None, caveats))


def standardised_mean_difference(first: Any, second: Any) -> float | None:
    """Return the difference of two means in units of their pooled standard deviation.

    Missing values are left out. None if a group has fewer than two values, or neither varies.
    """
    a, b = (np.asarray(group, dtype=np.float64) for group in (first, second))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if min(len(a), len(b)) < 2:
        return None
    spread = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2.0)
    return float((a.mean() - b.mean()) / spread) if spread > 0 else None


def _suspicious(document: EvaluationDocument) -> tuple[str, str] | None:
    value = document.patient.auc.value
    if document.synthetic or value is None or value <= SUSPICIOUS_AUC:
        return None
    return "auc_suspicious", (
        f"An AUC of {value:.2f} is higher than patient-level studies reach on structural MRI. "
        "Look for a leak first: the same person under two names, labels that differ by scanner, "
        "site or file format, or healthy controls from another study."
    )


def _guessing(document: EvaluationDocument) -> tuple[str, str] | None:
    entry = document.patient.auc
    if entry.ci_low is None or entry.ci_low > 0.5:
        return None
    return "guessing_not_excluded", (
        f"The interval of the AUC, {entry.ci_low:.2f} to {entry.ci_high:.2f}, includes 0.5: the "
        "scores are not shown to be better than guessing."
    )


def _few(document: EvaluationDocument) -> tuple[str, str] | None:
    positive = document.n_positive
    counts = {
        document.positive_label: positive,
        document.negative_label: document.n_patients - positive,
    }
    label, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    if fewest >= FEW_PER_LABEL or not fewest:
        return None
    return "few_of_a_label", (
        f"Only {fewest} patients are labelled {label}: each of them changes the share classified "
        f"correctly by {100 / fewest:.1f} percentage points."
    )


def _wide(document: EvaluationDocument) -> tuple[str, str] | None:
    entry = document.patient.auc
    if entry.interval is None or np.ptp(entry.interval) / 2 <= WIDE_INTERVAL:
        return None
    return "wide_interval", (
        f"The interval of the AUC, {entry.ci_low:.2f} to {entry.ci_high:.2f}, is wide "
        "enough for a poor and for a good model."
    )


def _small(document: EvaluationDocument) -> tuple[str, str] | None:
    positive = document.n_positive
    negative = document.n_patients - positive
    if min(positive, negative) >= ENOUGH_PER_LABEL:
        return None
    entry = document.patient.auc
    width = ""
    if entry.ci_low is not None:
        width = f" The interval of the AUC runs from {entry.ci_low:.2f} to {entry.ci_high:.2f}."
    return "small_sample", (
        f"{positive} patients are labelled {document.positive_label} and {negative} "
        f"{document.negative_label}; with fewer than {ENOUGH_PER_LABEL} of each, every figure "
        f"is imprecise.{width}"
    )


def _age(document: EvaluationDocument, patients: pd.DataFrame) -> tuple[str, str] | None:
    if "age" not in patients:
        return None
    age = pd.to_numeric(patients["age"], errors="coerce")
    positive = patients["label"] == document.positive_label
    difference = standardised_mean_difference(age[positive], age[~positive])
    if difference is None or abs(difference) <= AGE_DIFFERENCE:
        return None
    return "age_difference", (
        f"Patients labelled {document.positive_label} are on average "
        f"{abs(age[positive].mean() - age[~positive].mean()):.1f} years "
        f"{'older' if difference > 0 else 'younger'} than those labelled "
        f"{document.negative_label} (standardised difference {abs(difference):.2f}): part of "
        "the score may be age."
    )


def _age_matched(document: EvaluationDocument) -> tuple[str, str] | None:
    """Say that the score may be age where, at equal age, its AUC may be that of guessing."""
    age_matched = document.age_matched
    texts = []
    for part, whom in (
        (age_matched.matched, "in pairs matched by age"),
        (age_matched.weighted, "weighted to one age"),
    ):
        entry = part.auc
        if entry.ci_low is not None and entry.ci_low <= 0.5:
            texts.append(
                f"{entry.value:.2f} {whom} (interval {entry.ci_low:.2f} to {entry.ci_high:.2f})"
            )
    if not texts:
        return None
    return "age_matched_not_shown", (
        f"At equal age the model's AUC is {' and '.join(texts)}: it is not shown to reflect more "
        "than age, or too few patients are left to show it."
    )


def _site(document: EvaluationDocument, patients: pd.DataFrame) -> tuple[str, str] | None:
    if document.synthetic:
        return None
    values = patients["site"].dropna().astype(str) if "site" in patients else pd.Series(dtype=str)
    sites = sorted(set(values) - {""})
    if not sites:
        return "site_unknown", (
            "The site of the scans is not recorded: whether the score depends on it cannot be "
            "checked."
        )
    if len(sites) == 1:
        return "single_site", (
            f"All patients come from one site ({sites[0]}): the figures are of internal testing "
            "and may not hold elsewhere."
        )
    return None


def _scanner(document: EvaluationDocument, patients: pd.DataFrame) -> tuple[str, str] | None:
    if document.synthetic or "scanner" not in patients:
        return None
    scanners = sorted(set(patients["scanner"].dropna().astype(str)) - {""})
    if len(scanners) != 1:
        return None
    return "single_scanner", (
        f"Every patient whose scanner is known was scanned on one ({scanners[0]}): what another "
        "scanner would do to the scores is not known."
    )


def _internal(document: EvaluationDocument) -> tuple[str, str] | None:
    """Say that nobody from elsewhere was scored, where patients were scored by folds."""
    if document.synthetic or document.n_folds < 2:
        return None
    return "internal_testing_only", (
        "Patients were held out from this same cohort (internal testing). No other cohort was "
        "tested: elsewhere the figures may be worse."
    )


def _signed(value: float | None) -> str:
    """Return a difference with its sign; a minus is a minus and no hyphen."""
    return "not defined" if value is None else f"{value:+.3f}".replace("-", "\u2212")


def _baseline(document: EvaluationDocument) -> tuple[str, str] | None:
    computed = _computed(document, kind="covariates")
    if not computed:
        return "no_baseline", (
            "No baseline from covariates was computed: whether the images add anything to them "
            "is not known."
        )
    name = max(sorted(computed), key=lambda key: computed[key].auc.value or 0.0)
    difference = computed[name].auc_difference
    # A baseline that ranks worse than guessing is not compared: it is no bar.
    if difference.value is None or (difference.ci_low or 0.0) > 0:
        return None
    interval = ""
    if difference.ci_low is not None:
        interval = f", interval {_signed(difference.ci_low)} to {_signed(difference.ci_high)}"
    return "baseline_not_beaten", (
        f"The images are not shown to add to the covariates: the best baseline of these, {name}, "
        f"has an AUC of {computed[name].auc.value:.2f} (model minus baseline "
        f"{_signed(difference.value)}{interval})."
    )


def _image_baseline(document: EvaluationDocument) -> tuple[str, str] | None:
    """Name the simpler readings of the image that the model is not shown to beat."""
    texts = []
    for name, entry in sorted(_computed(document, kind="image").items()):
        difference = entry.auc_difference
        low, high = difference.ci_low, difference.ci_high
        if difference.value is None or (low is not None and low > 0):
            continue
        interval = f", interval {_signed(low)} to {_signed(high)}" if low is not None else ""
        texts.append(
            f"{name} (AUC {entry.auc.value:.2f}; model minus it {_signed(difference.value)}"
            f"{interval})"
        )
    if not texts:
        return None
    return "image_baseline_not_beaten", (
        f"The model is not shown to beat simpler image features: {'; '.join(texts)}."
    )


def _computed(document: EvaluationDocument, *, kind: str) -> dict[str, BaselineComparison]:
    """Return the baselines of a kind that have an AUC."""
    return {
        name: entry
        for name, entry in document.baselines.items()
        if entry.kind == kind and entry.auc.value is not None
    }


def _baseline_suspicious(document: EvaluationDocument) -> tuple[str, str] | None:
    names = [
        name
        for name, entry in _computed(document, kind="covariates").items()
        if (entry.auc.value or 0.0) >= SUSPICIOUS_BASELINE_AUC
    ]
    if not names:
        return None
    return "baseline_suspicious", (
        f"Covariates alone reach an AUC of {SUSPICIOUS_BASELINE_AUC} or more "
        f"({'; '.join(sorted(names))}): they may encode the label itself."
    )


def _calibration(document: EvaluationDocument) -> tuple[str, str] | None:
    faults = []
    for name, right, low_means, high_means in (
        ("calibration_intercept", 0.0, "scores are too high", "scores are too low"),
        ("calibration_slope", 1.0, "scores are too extreme", "scores are too cautious"),
    ):
        entry: Estimate = getattr(document.patient, name)
        ends = entry.interval
        if entry.value is not None and ends is not None and not ends[0] <= right <= ends[1]:
            meaning = low_means if entry.value < right else high_means
            faults.append(
                f"{name.replace('_', ' ')} {entry.value:.2f} (interval {entry.ci_low:.2f} "
                f"to {entry.ci_high:.2f}, {right:g} is right): {meaning}"
            )
    if not faults:
        return None
    return "miscalibrated", f"Scores are not calibrated probabilities: {'; '.join(faults)}."
