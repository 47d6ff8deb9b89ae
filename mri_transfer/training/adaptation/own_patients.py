"""Before and after on patients of the site itself, whom adaptation had not seen."""

from __future__ import annotations

from typing import Any

from mri_transfer.metrics.calibration import brier
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel, patient_scores

__all__ = ["figures_on"]


def figures_on(
    before: FittedModel, after: FittedModel, others: LabelledFeatures | None
) -> dict[str, Any] | None:
    """Return the figures of both models on the site's other patients, as JSON values.

    Parameters
    ----------
    before, after : FittedModel
    others : LabelledFeatures, optional
        Patients with labels who were not drawn.

    Returns
    -------
    dict or None
        None where there are none, or of one label only.
    """
    if others is None or len(set(others.labels.values())) < 2:
        return None
    labels = others.is_positive
    scores = [patient_scores(model, others) for model in (before, after)]
    return {
        "n": len(labels),
        "n_positive": int(labels.sum()),
        "before": {
            "auc": delong_auc(labels, scores[0]).estimate.as_dict(),
            "brier": brier(labels, scores[0]).as_dict(),
        },
        "after": {
            "auc": delong_auc(labels, scores[1]).estimate.as_dict(),
            "brier": brier(labels, scores[1]).as_dict(),
        },
        "auc_difference": delong_difference(labels, scores[1], scores[0]).as_dict(),
    }
