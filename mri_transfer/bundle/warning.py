"""What must be read before a prediction is used: of the model, of the scan, of both together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mri_transfer.bundle.prediction import Prediction
from mri_transfer.evaluation.notices import Notice, study_notices

if TYPE_CHECKING:
    from mri_transfer.bundle.parts import BundleParts

__all__ = ["model_notices", "prediction_warnings"]


def model_notices(bundle: BundleParts) -> tuple[Notice, ...]:
    """Return what must be read before any prediction of a bundle."""
    return study_notices(
        synthetic=bundle.facts["cohort"]["synthetic"], trunk_weights=bundle.config.trunk.weights
    )


def prediction_warnings(prediction: Prediction, bundle: BundleParts) -> tuple[Notice, ...]:
    """Return the warnings of a prediction, those of the model first."""
    found = [*model_notices(bundle)]
    if prediction.status == "forced":
        found.append(
            Notice(
                code="forced",
                title="Forced.",
                text="The scan is outside of what the model was trained on, and a number was "
                "asked for all the same. Nothing is known of how good it is.",
            )
        )
    who = [
        words
        for words, is_there in (
            ("this patient", prediction.overlap.patient),
            ("this scan", prediction.overlap.scan),
        )
        if is_there
    ]
    if who:
        found.append(
            Notice(
                code="trained_on",
                title="Known to the model.",
                text=f"It was trained on {' and on '.join(who)}; the score is no test of "
                "the model.",
            )
        )
    if prediction.quality == "warn":
        found.append(
            Notice(
                code="quality",
                title="Quality of the scan.",
                text=f"It has warnings: {'; '.join(prediction.quality_reasons)}.",
            )
        )
    return tuple(found)
