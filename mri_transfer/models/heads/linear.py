"""The regularised linear head: what it consists of, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.models.heads.entry import HeadCode, HeadEntry, HeadPart
from mri_transfer.models.heads.settings import LinearHeadSpec

__all__ = ["LINEAR"]


def _code() -> HeadCode:
    from mri_transfer.models.heads.linear_fit import LinearModule, fit_linear

    return HeadCode(fit=fit_linear, module=LinearModule)


def _parts(spec: LinearHeadSpec, n_features: int) -> tuple[HeadPart, ...]:
    """One set of weights a zone and one intercept.

    Penalties add nothing, since a mean of linear heads is one; the intercept is spread over the
    slices when the head is written.
    """
    zones = "one set of weights" if spec.zones == 1 else f"{spec.zones} zones with own weights"
    part = HeadPart(
        name=f"linear, {zones}",
        inputs=n_features,
        outputs=1,
        parameters=spec.zones * n_features + 1,
    )
    return (part,)


def _optimisation(head: Mapping[str, Any]) -> list[str]:
    strengths = ", ".join(f"{value:g}" for value in head.get("inverse_l2") or ())
    scaled = {
        "global": "centred and divided by one number, the root of their summed variances",
        "feature": "each centred and divided by its own standard deviation",
    }.get(str(head.get("scaling")), str(head.get("scaling")))
    zones = head.get("zones", 1)
    rows = (
        "mean over the slices" if zones == 1 else f"mean over the slices of each of {zones} zones"
    )
    return [
        f"Linear head: logistic regression with an L2 penalty on one row a patient, the {rows}. "
        "Trained by patient, not by slice.",
        f"Features are {scaled}; the moments are those of the training patients.",
        f"Penalty: C = {strengths}; of several, the head is the mean of the heads of all. The "
        "problem is convex and solved to convergence: no epochs, no early stopping, no chance.",
    ]


LINEAR = HeadEntry(
    spec=LinearHeadSpec,
    code=_code,
    aggregation="mean_logit",
    space={
        "features.pooling": ["average"],
        "heads.inverse_l2": [[1.0, 3.0, 10.0], [100.0, 300.0, 1000.0]],
        "heads.zones": [1, 4],
        "predictions.aggregation": ["mean_probability"],
    },
    parts=_parts,
    additive=True,
    title="a regularised linear head",
    trained="the head alone. It has no random start: its solution is the only one there is",
    slices="scored one by one and joined",
    optimisation=_optimisation,
)
