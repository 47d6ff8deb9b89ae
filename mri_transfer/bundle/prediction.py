"""Prediction: what a bundle says of one scan, or why it says nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mri_transfer.bundle.checks import Check
from mri_transfer.bundle.overlap import Overlap
from mri_transfer.core.notebook import html_table
from mri_transfer.evaluation.notices import Notice
from mri_transfer.metrics.intervals import normal_quantile

__all__ = ["UNDECIDED", "LabelSet", "Place", "Prediction", "Ventricles", "score_interval"]

#: The call unless the prediction set holds one label, the same as the threshold's.
UNDECIDED = "undecided"

_SCHEMA = "mri-transfer/prediction/1"
_USE = "research only; not a medical device"

#: Scores are clipped this far from 0 and 1 before their log-odds are taken.
_CLIP = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The labels that cannot be ruled out, at a stated coverage.

    Attributes
    ----------
    labels : tuple of str
        None, one or both.
    coverage : float
        How often such sets hold the true label, for patients like those trained on.
    p_positive, p_negative : float
        Conformal p values; a label whose value is above 1 - coverage is in the set.
    """

    labels: tuple[str, ...]
    coverage: float
    p_positive: float
    p_negative: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """The position of a scan among the training patients.

    Attributes
    ----------
    density_p : float
        Share of training patients whose features lie as far out or farther, the new one counted.
    below_positive, below_negative : float or None
        Share of the training patients of a label that score below it; None where the bundle does
        not hold their scores.
    """

    density_p: float
    below_positive: float | None = None
    below_negative: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ventricles:
    """How large the ventricles are beside those of people of the same age and sex.

    Attributes
    ----------
    share : float or None
        Of the intracranial volume between the lowest and the highest slice; None where there is no
        percentile, as it was not measured then.
    percentile : float or None
        Share of people of the same age and sex without the positive label whose ventricles are
        smaller, 0 to 1.
    n_people : int
        Training patients that the norm was learnt from.
    why_not : str
        Why there is no percentile; empty if there is one.
    """

    share: float | None
    percentile: float | None
    n_people: int
    why_not: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one scan, or why there is none. Research use only.

    Attributes
    ----------
    scan_id : str
    patient_id : str or None
    status : {"predicted", "abstained", "forced"}
        ``abstained``: the scan is outside of the input contract, and all that would be a
        prediction is None or empty; ``forced``: it is, and was scored because that was asked for.
    reasons : tuple of str
        Why the bundle abstains, or should.
    call : str or None
        What is said first: the label, or `UNDECIDED` where the set of labels holds both, none, or
        another one than the threshold gives. None where nothing is predicted.
    label : str or None
        The one that the score's side of the threshold gives.
    score : float or None
        Probability of `positive_label`, 0 to 1, recalibrated.
    score_low, score_high : float or None
        How far the score depends on who was in the training cohort: see `score_interval`.
    threshold : float
        Score from which the positive label is predicted.
    positive_label, negative_label : str
    positive_name, negative_name : str
        The labels with what they stand for, such as `Alzheimer's disease (AD)`.
    labels : LabelSet or None
        None as well where the bundle has nothing to make sets of.
    place : Place or None
        None if the scan could not be brought to features.
    slice_scores : tuple of float
        The head's own probability of each slice, from the lowest up.
    z_mm : tuple of float
        World height of each slice.
    checks : tuple of Check
        The input contract, condition by condition.
    quality : {"pass", "warn", "fail", "none"}
        Verdict on the scan; ``none`` if there was none.
    quality_reasons : tuple of str
    passed_through : bool or None
        Whether the scan was used as it came, being prepared already.
    turn : int or None
        How the content lies against the header; 0 if they agree.
    steps : tuple of str
        What preparation did.
    age_years : float or None
    sex : str or None
    ventricles : Ventricles or None
        None where nothing is predicted, and where the bundle holds no norm.
    overlap : Overlap
        Whether the patient or the scan was trained on: the score is then worth nothing as a test.
    warnings : tuple of Notice
        What must be read first, on whatever surface the prediction is shown.
    scan_sha256 : str
        Of the file.
    bundle_version, bundle_digest : str
        Of the bundle that was asked.
    """

    scan_id: str
    patient_id: str | None
    status: Literal["predicted", "abstained", "forced"]
    reasons: tuple[str, ...]
    call: str | None
    label: str | None
    score: float | None
    score_low: float | None
    score_high: float | None
    threshold: float
    positive_label: str
    negative_label: str
    positive_name: str
    negative_name: str
    labels: LabelSet | None
    place: Place | None
    slice_scores: tuple[float, ...]
    z_mm: tuple[float, ...]
    checks: tuple[Check, ...]
    quality: Literal["pass", "warn", "fail", "none"]
    quality_reasons: tuple[str, ...]
    passed_through: bool | None
    turn: int | None
    steps: tuple[str, ...]
    age_years: float | None
    sex: str | None
    ventricles: Ventricles | None
    overlap: Overlap
    warnings: tuple[Notice, ...]
    scan_sha256: str
    bundle_version: str
    bundle_digest: str

    @property
    def decided(self) -> bool:
        """Whether the set of labels, where there is one, names the label of the threshold alone."""
        return self.labels is None or self.labels.labels == (self.label,)

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """The conditions that the scan does not meet."""
        return tuple(check for check in self.checks if check.failed)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))
        return {"schema": _SCHEMA, "use": _USE, **content}

    def _repr_html_(self) -> str:
        """Show what must be read first, then the call, then the score, as everywhere."""
        rows: dict[str, object] = {f"warning {i}": one for i, one in enumerate(self.warnings, 1)}
        rows["status"] = self.status
        rows |= {f"reason {i}": one for i, one in enumerate(self.reasons, 1)}
        if self.score is not None:
            rows["call"] = self.call
            rows[f"probability of {self.positive_name}"] = (
                f"{self.score:.2f} ({self.score_low:.2f} to {self.score_high:.2f}), threshold "
                f"{self.threshold:.2f}"
            )
        if self.labels is not None:
            rows[f"labels at {self.labels.coverage:.0%} coverage"] = (
                ", ".join(self.labels.labels) or "none"
            )
        rows["use"] = _USE
        return html_table(rows, caption=f"Prediction for {self.scan_id}")


def score_interval(
    score: float, heads: npt.NDArray[np.float64], *, confidence: float
) -> tuple[float, float]:
    """Return an interval around a score from the scores of bootstrap heads.

    A normal interval on the log-odds, as wide as the bootstrap heads disagree: quantiles would
    need hundreds of heads (Efron and Tibshirani 1993, ch. 13). It says how the score would have
    varied with other training patients. It is no statement about this patient's diagnosis.

    Parameters
    ----------
    score : float
        Of the final head, 0 to 1.
    heads : ndarray of float64, shape (n_heads,)
        Two or more.
    confidence : float
    """
    from scipy.special import expit, logit

    odds = logit(np.clip(heads, _CLIP, 1 - _CLIP))
    centre = float(logit(np.clip(score, _CLIP, 1 - _CLIP)))
    half = normal_quantile(confidence) * float(odds.std(ddof=1))
    return min(float(expit(centre - half)), score), max(float(expit(centre + half)), score)
