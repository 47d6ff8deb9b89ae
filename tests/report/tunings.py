"""What is recorded of a made-up tail."""

from __future__ import annotations

from typing import Any

from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.training.fit_record import InnerCurve, TuningRecord

__all__ = ["tuning_record"]

_INNER = (
    InnerCurve(log_loss=(0.7, 0.6, 0.5, 0.4), auc=(0.6, 0.7, 0.8, 0.9)),
    InnerCurve(log_loss=(0.6, 0.6, 0.6), auc=(0.7, 0.7, None)),
)


def tuning_record(*, epochs: int, **changes: Any) -> TuningRecord:
    """Return a record of a tail that was trained for so many epochs."""
    facts: dict[str, Any] = {
        "cut": "block3_pool",
        "stages": ("block4_pool",),
        "settings": TuningSpec(strategy="some"),
        "parameters": 7,
        "loss": tuple(0.6 - 0.1 * epoch for epoch in range(epochs)),
        "moved": {"block4_pool": 0.01 * epochs},
        "inner": _INNER,
    }
    return TuningRecord(epochs=epochs, **{**facts, **changes})
