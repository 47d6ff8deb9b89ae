"""TrunkSpec: which trunk, and what follows from it before any network is built.

A configuration is read and a key is made without torch, which takes longer to import than either.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Literal, get_args

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, suggestion
from mri_transfer.errors import WeightsError
from mri_transfer.models.trunks.device import DeviceName, FloatPrecision
from mri_transfer.models.trunks.entry import TrainedOn
from mri_transfer.models.trunks.registry import DEFAULT_TRUNK, TRUNKS
from mri_transfer.models.trunks.weights import TrunkWeights

__all__ = [
    "TrunkSpec",
    "trunk_arithmetic",
    "trunk_digest",
    "untrained",
    "weights_released",
    "weights_settled",
]

Arithmetic = Literal["direct", "winograd/1"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(**STRICT, validate_default=True))
class TrunkSpec:
    """Which trunk, with which weights, read out where."""

    name: str = DEFAULT_TRUNK
    """A name of the registry (`mri_transfer.models.trunks.registry`)."""
    weights: Literal["imagenet", "scans", "random"] = ""  # type: ignore[assignment]
    """`imagenet`: as released; `scans`: trained on unlabelled scans by `mri-transfer pretrain`, of
    the autoencoder alone, and its default; `random`: untrained, the control."""
    layer: str = ""
    """The layer whose maps are the features; by default the trunk's own."""
    input_scaling: str = ""
    """By default what the trunk's weights expect. Of VGG16, `imagenet_mean`: 0..255 minus
    ImageNet's mean; `unit`: divided by 255 without a mean, as Hon and Khan's code did."""
    seed: int = Field(default=0, ge=0)
    """Draws the `random` weights; without effect on others."""
    digest: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    """SHA-256 of the weights that are meant, where they are not those that the registry knows.
    A run fills it in when it first reads weights of which none is known beforehand."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return _demand(name, TRUNKS, "trunk")

    @field_validator("weights", mode="before")
    @classmethod
    def _known_weights(cls, weights: object, info: ValidationInfo) -> object:
        """Return the kind of weights, by default the trunk's own."""
        if "name" not in info.data:
            return weights
        entry = TRUNKS[info.data["name"]]
        kind = weights or entry.trained_on
        if kind in get_args(TrainedOn) and kind != entry.trained_on:
            raise ValueError(f"the weights of {entry.title} are '{entry.trained_on}' or 'random'")
        return kind

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

    @model_validator(mode="after")
    def _within_what_is_known(self) -> TrunkSpec:
        """Refuse a layer that the released weights do not reach."""
        entry = TRUNKS[self.name]
        if entry.known_through and weights_released(self):
            reached = entry.stages[: entry.stages.index(entry.known_through) + 1]
            if self.layer not in reached:
                raise ValueError(
                    f"the weights that are known of {entry.title} reach {entry.known_through} "
                    f"only, not {self.layer}: choose one of {', '.join(reached)}, or name other "
                    "weights by trunk.digest"
                )
        if self.weights == "random" and self.digest:
            raise ValueError("random weights follow from trunk.seed; trunk.digest must be empty")
        return self


def _demand(name: str, known: Collection[str], what: str) -> str:
    """Return a name, if it is known."""
    if name not in known:
        near = suggestion(name, known).strip()
        refused = f"no such {what}; there is {', '.join(known)}"
        raise ValueError(f"{refused}. {near}" if near else refused)
    return name


def trunk_digest(spec: TrunkSpec) -> str:
    """Return the digest of the weights a spec names, without looking for a file.

    Raises
    ------
    WeightsError
        If neither the spec nor the registry knows one: the weights have to be read first.
    """
    entry = TRUNKS[spec.name]
    if spec.weights == "random":
        return _random_digest(entry.random_weights, spec.seed)
    if not weights_settled(spec):
        raise WeightsError(
            f"which weights of {entry.title} are meant is not settled",
            where="trunk.digest",
            remedy="Read them first: `load_trunk(spec, weights_path=FILE).spec` has the digest",
        )
    return spec.digest or entry.digest


def weights_settled(spec: TrunkSpec) -> bool:
    """Return whether a spec says, with the registry, which numbers it means."""
    return spec.weights == "random" or bool(spec.digest or TRUNKS[spec.name].digest)


def weights_released(spec: TrunkSpec) -> bool:
    """Return whether a spec means the weights that the registry describes.

    Random ones are none of them, nor are those of which only the digest is known. Of those that
    were trained on scans the registry knows how they were made, whatever their digest.
    """
    if spec.weights == "scans":
        return True
    return spec.weights != "random" and spec.digest in ("", TRUNKS[spec.name].digest)


def untrained(spec: TrunkSpec, *, seed: int | None = None) -> TrunkSpec:
    """Return the same trunk with random weights.

    Parameters
    ----------
    spec : TrunkSpec
    seed : int, optional
        By default the spec's own.
    """
    drawn = spec.seed if seed is None else seed
    return dataclasses.replace(spec, weights="random", digest="", seed=drawn)


@functools.lru_cache(maxsize=16)
def _random_digest(draw: Callable[[int], TrunkWeights], seed: int) -> str:
    # Asked for once a scan; drawing millions of numbers takes a second.
    return draw(seed).digest


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
