"""From features to what is said of a scan: score, interval, labels, place among patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.bundle.prediction import LabelSet, Place, Prediction, score_interval
from mri_transfer.training.score import score_by

if TYPE_CHECKING:
    from mri_transfer.bundle.parts import BundleParts

__all__ = [
    "say",
]

FloatArray = npt.NDArray[np.float32]


def say(
    bundle: BundleParts,
    known: Prediction,
    features: FloatArray,
    covariates: Mapping[str, object] | None,
) -> Prediction:
    """Score a scan.

    Parameters
    ----------
    bundle : BundleParts
    known : Prediction
        With all that is known beside its score.
    features : ndarray of float32, shape (n_slices, n_features)
    covariates : mapping, optional
        Site and what is kept, if the heads harmonise.
    """
    from scipy.special import expit

    table = None if covariates is None else pd.DataFrame([dict(covariates)], index=["scan"])
    scores = bundle.score(features[None], table)[:, 0]
    score, confidence = float(scores[0]), bundle.facts["bootstrap"]["confidence"]
    low, high = score_interval(score, scores[1:], confidence=confidence)
    head = bundle.trained.with_covariates(table)
    slices = expit(head.slices(features[None], ["scan"]).logits[0].astype(np.float64))
    is_positive = score >= bundle.trained.threshold
    labels, place = _among_calibration(bundle, known, features, table)
    return dataclasses.replace(
        known,
        label=known.positive_label if is_positive else known.negative_label,
        score=score,
        score_low=low,
        score_high=high,
        labels=labels,
        place=place,
        slice_scores=tuple(slices.tolist()),
    )


def _among_calibration(
    bundle: BundleParts, known: Prediction, features: FloatArray, table: pd.DataFrame | None
) -> tuple[LabelSet | None, Place | None]:
    """Return which labels cannot be ruled out, and where the score lies among patients'."""
    sets = bundle.conformal
    if sets is None or known.place is None:
        return None, known.place
    scores = score_by(sets.heads, features[None], table)
    p_negative, p_positive = (float(p) for p in sets.p_values(scores)[0])
    kept = [
        label
        for label, p in ((known.negative_label, p_negative), (known.positive_label, p_positive))
        if p > 1 - sets.coverage
    ]
    below = {
        positive: float(sets.place(scores, positive=positive)[0]) for positive in (False, True)
    }
    place = dataclasses.replace(
        known.place, below_positive=below[True], below_negative=below[False]
    )
    found = LabelSet(
        labels=tuple(kept), coverage=sets.coverage, p_positive=p_positive, p_negative=p_negative
    )
    return found, place
