"""The published head of Hon and Khan (2017): its layers, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.models.heads.entry import HeadCode, HeadEntry, HeadPart
from mri_transfer.models.heads.settings import PublishedHeadSpec

__all__ = ["PUBLISHED"]


def _code() -> HeadCode:
    from mri_transfer.models.heads.published_fit import PublishedModule, fit_published

    return HeadCode(fit=fit_published, module=PublishedModule)


def _parts(spec: PublishedHeadSpec, n_features: int) -> tuple[HeadPart, ...]:
    first = HeadPart(
        name="dense, ReLU",
        inputs=n_features,
        outputs=spec.hidden,
        parameters=spec.hidden * (n_features + 1),
    )
    last = HeadPart(
        name="dense, sigmoid", inputs=spec.hidden, outputs=1, parameters=spec.hidden + 1
    )
    return (first, last)


def _optimisation(head: Mapping[str, Any]) -> list[str]:
    return [
        f"Published head (Hon and Khan 2017): dense layer of {head.get('hidden')} with ReLU, "
        f"dropout {head.get('dropout')}, one sigmoid. Trained slice by slice with the label of the "
        "patient.",
        f"Optimiser: RMSprop, learning rate {head.get('learning_rate')}, batches of "
        f"{head.get('batch_size')}, {head.get('epochs')} epochs, the last one kept; loss: binary "
        "cross-entropy; no augmentation.",
    ]


PUBLISHED = HeadEntry(
    spec=PublishedHeadSpec,
    code=_code,
    aggregation="mean_probability",
    space={},
    parts=_parts,
    additive=False,
    title="the published fully connected head",
    trained="the head alone. It starts from Glorot-uniform kernels and biases of zero, drawn from "
    "the run's seed",
    slices="scored one by one and joined",
    optimisation=_optimisation,
)
