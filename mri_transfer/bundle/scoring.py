"""The prediction of a scan from its features: score, interval, labels, place among patients."""

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

__all__ = ["score_prediction"]

FloatArray = npt.NDArray[np.float32]


def score_prediction(
    bundle: BundleParts,
    unscored: Prediction,
    features: FloatArray,
    covariates: Mapping[str, object] | None,
) -> Prediction:
    """Score a scan.

    Parameters
    ----------
    bundle : BundleParts
    unscored : Prediction
        With all that is known besides its score.
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
    labels, place = _among_calibration(bundle, unscored, features, table)
    return dataclasses.replace(
        unscored,
        label=unscored.positive_label if is_positive else unscored.negative_label,
        score=score,
        score_low=low,
        score_high=high,
        labels=labels,
        place=place,
        slice_scores=tuple(slices.tolist()),
    )


def _among_calibration(
    bundle: BundleParts, unscored: Prediction, features: FloatArray, table: pd.DataFrame | None
) -> tuple[LabelSet | None, Place | None]:
    """Return which labels cannot be ruled out, and where the score lies among patients'."""
    sets = bundle.conformal
    if sets is None or unscored.place is None:
        return None, unscored.place
    scores = score_by(sets.heads, features[None], table)
    p_negative, p_positive = (float(p) for p in sets.p_values(scores)[0])
    kept = [
        label
        for label, p in (
            (unscored.negative_label, p_negative),
            (unscored.positive_label, p_positive),
        )
        if p > 1 - sets.coverage
    ]
    below = {
        positive: float(sets.place(scores, positive=positive)[0]) for positive in (False, True)
    }
    place = dataclasses.replace(
        unscored.place, below_positive=below[True], below_negative=below[False]
    )
    label_set = LabelSet(
        labels=tuple(kept), coverage=sets.coverage, p_positive=p_positive, p_negative=p_negative
    )
    return label_set, place
