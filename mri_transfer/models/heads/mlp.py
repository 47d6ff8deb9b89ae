"""The multilayer perceptron of Hon and Khan (2017): its layers, and its words in a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.models.heads.entry import HeadCode, HeadEntry, HeadPart
from mri_transfer.models.heads.settings import MlpHeadSpec

__all__ = ["MLP"]


def _code() -> HeadCode:
    from mri_transfer.models.heads.mlp_fit import MlpModule, fit_mlp

    return HeadCode(fit=fit_mlp, module=MlpModule)


def _parts(spec: MlpHeadSpec, n_features: int) -> tuple[HeadPart, ...]:
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
        f"Multilayer perceptron (Hon and Khan 2017): dense layer of {head.get('hidden')} with "
        f"ReLU, dropout {head.get('dropout')}, one sigmoid. Trained slice by slice with the label "
        "of the patient.",
        f"Optimiser: RMSprop, learning rate {head.get('learning_rate')}, batches of "
        f"{head.get('batch_size')}, {head.get('epochs')} epochs, the last one kept; loss: binary "
        "cross-entropy; no augmentation.",
    ]


MLP = HeadEntry(
    spec=MlpHeadSpec,
    code=_code,
    aggregation="mean_probability",
    space={},
    parts=_parts,
    additive=False,
    title="a multilayer perceptron with one hidden layer",
    trained="the head alone. It starts from Glorot-uniform kernels and biases of zero, drawn from "
    "the run's seed",
    slices="scored one by one and joined",
    optimisation=_optimisation,
)
