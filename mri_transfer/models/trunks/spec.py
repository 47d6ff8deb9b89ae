"""TrunkSpec: which trunk, and what follows from it before any network is built.

A configuration is read and a key is made without torch, which takes longer to import than either.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, suggestion
from mri_transfer.models.trunks.device import DeviceName, FloatPrecision
from mri_transfer.models.trunks.registry import DEFAULT_TRUNK, TRUNKS

__all__ = ["TrunkSpec", "trunk_arithmetic", "trunk_digest"]

Arithmetic = Literal["direct", "winograd/1"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(**STRICT, validate_default=True))
class TrunkSpec:
    """Which trunk, with which weights, read out where."""

    name: str = DEFAULT_TRUNK
    """A name of the registry (`mri_transfer.models.trunks.registry`)."""
    weights: Literal["imagenet", "random"] = "imagenet"
    """`imagenet`: as released; `random`: untrained, the control."""
    layer: str = ""
    """The layer whose maps are the features."""
    input_scaling: str = ""
    """`imagenet_mean`: 0..255 minus ImageNet's mean, as the weights expect; `unit`: divided by
    255 without a mean, as Hon and Khan's code did."""
    seed: int = Field(default=0, ge=0)
    """Draws the `random` weights; without effect on `imagenet`."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return _demand(name, TRUNKS, "trunk")

    @field_validator("layer")
    @classmethod
    def _known_layer(cls, layer: str, info: ValidationInfo) -> str:
        """Return the layer, by default the trunk's own."""
        if "name" not in info.data:
            return layer
        entry = TRUNKS[info.data["name"]]
        return _demand(layer or entry.default_stage, entry.stages, f"layer of {entry.title}")

    @field_validator("input_scaling")
    @classmethod
    def _known_scaling(cls, scaling: str, info: ValidationInfo) -> str:
        """Return the scaling, by default the trunk's own."""
        if "name" not in info.data:
            return scaling
        entry = TRUNKS[info.data["name"]]
        known = tuple(entry.scalings)
        return _demand(scaling or known[0], known, f"scaling of the input of {entry.title}")


def _demand(name: str, known: Collection[str], what: str) -> str:
    """Return a name, if it is known."""
    if name not in known:
        near = suggestion(name, known).strip()
        refused = f"no such {what}; there is {', '.join(known)}"
        raise ValueError(f"{refused}. {near}" if near else refused)
    return name


def trunk_digest(spec: TrunkSpec) -> str:
    """Return the digest of the weights a spec names, without looking for a file."""
    entry = TRUNKS[spec.name]
    return entry.random_weights(spec.seed).digest if spec.weights == "random" else entry.digest


def trunk_arithmetic(
    spec: TrunkSpec, *, precision: FloatPrecision, device: DeviceName
) -> Arithmetic:
    """Return how convolutions are computed, by rule: results differ in rounding.

    `winograd/1`: `mri_transfer.models.trunks.winograd_pass`, in float32 on a processor, of trunks
    that are made for it (`TrunkEntry.winograd`). Elsewhere the library's own, since reduced
    precision would not bear the transforms. Part of a feature's key: a change of the method that
    changes bytes needs another name.
    """
    fits = TRUNKS[spec.name].winograd and (precision, device) == ("fp32", "cpu")
    return "winograd/1" if fits else "direct"
