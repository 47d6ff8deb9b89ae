"""The gated-attention head: what it consists of, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.models.heads.entry import HeadCode, HeadEntry, HeadPart
from mri_transfer.models.heads.settings import AttentionHeadSpec

__all__ = ["ATTENTION"]


def _code() -> HeadCode:
    from mri_transfer.models.heads.attention_fit import AttentionModule, fit_attention

    return HeadCode(fit=fit_attention, module=AttentionModule)


def _parts(spec: AttentionHeadSpec, n_features: int) -> tuple[HeadPart, ...]:
    gates = HeadPart(
        name="gated attention: how much a slice counts",
        inputs=n_features,
        outputs=1,
        parameters=2 * spec.hidden * (n_features + 1) + spec.hidden,
    )
    linear = HeadPart(
        name="linear: what a slice says", inputs=n_features, outputs=1, parameters=n_features + 1
    )
    return (gates, linear)


def _optimisation(head: Mapping[str, Any]) -> list[str]:
    return [
        f"Attention head (gated attention over a scan's slices, width {head.get('hidden')}; Ilse, "
        "Tomczak and Welling 2018) with a linear classifier; trained on the label of the patient.",
        f"Optimiser: AdamW, learning rate {head.get('learning_rate')}, weight decay "
        f"{head.get('weight_decay')}, full batches, {head.get('epochs')} epochs; loss: binary "
        "cross-entropy; no augmentation.",
        "Features are each centred and divided by their standard deviation among the training "
        "slices.",
    ]


ATTENTION = HeadEntry(
    spec=AttentionHeadSpec,
    code=_code,
    aggregation="attention",
    space={"heads.epochs": [5, 10, 40, 80]},
    parts=_parts,
    additive=True,
    title="an attention head over a patient's slices",
    trained="the head alone. Its attention starts from small uniform weights drawn from the run's "
    "seed, its classifier from zero",
    slices="weighted by an attention head and joined",
    optimisation=_optimisation,
)
