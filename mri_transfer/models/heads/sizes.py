"""What is trained in a head: its parts and how many parameters each has, by arithmetic alone."""

from __future__ import annotations

import dataclasses

from mri_transfer.models.heads import AnyHeadSpec
from mri_transfer.models.heads.linear import LinearHeadSpec
from mri_transfer.models.heads.published import PublishedHeadSpec

__all__ = ["HeadPart", "head_parts"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadPart:
    """One part of a head.

    Attributes
    ----------
    name : str
        In words.
    inputs, outputs : int
        Numbers that go in and come out, for each slice.
    parameters : int
        Weights and biases that are trained.
    """

    name: str
    inputs: int
    outputs: int
    parameters: int


def head_parts(spec: AnyHeadSpec, n_features: int) -> tuple[HeadPart, ...]:
    """Return the parts of a head in the order in which a slice's features pass them.

    Parameters
    ----------
    spec : HeadSpec
    n_features : int
        Features of a slice.

    Returns
    -------
    tuple of HeadPart
        The linear head has one set of weights a zone and one intercept; its zones and penalties
        add nothing else, since a mean of linear heads is one.
    """
    if isinstance(spec, LinearHeadSpec):
        zones = "one set of weights" if spec.zones == 1 else f"{spec.zones} zones with own weights"
        return (
            HeadPart(
                name=f"linear, {zones}",
                inputs=n_features,
                outputs=1,
                parameters=spec.zones * n_features + 1,
            ),
        )
    if isinstance(spec, PublishedHeadSpec):
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
