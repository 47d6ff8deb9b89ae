"""What the registry of trunks knows of each one.

A module with an entry imports torch inside the functions that build its network: the registry is
read to check a configuration, before anything is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from mri_transfer.models.trunks.weights import TrunkWeights

if TYPE_CHECKING:
    import torch

__all__ = ["INPUT", "InputScaling", "TrainedOn", "TrunkEntry"]

#: What weights were trained on: photographs, or unlabelled scans of other cohorts.
TrainedOn = Literal["imagenet", "scans"]

#: The cut in front of the first stage.
INPUT = "input"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputScaling:
    """How grey values become what a network reads.

    Attributes
    ----------
    mean, deviation : tuple of float
        Red, green, blue, on grey values 0..255: the mean is subtracted, then the deviation divides.
    words : str
        The same for a report.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    words: str


class _FindWeights(Protocol):
    def __call__(
        self, *, path: Path | None, cache: Path | None, digest: str = ""
    ) -> TrunkWeights: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkEntry:
    """A trunk: its architecture, its weights, its input, and what is said of it.

    Attributes
    ----------
    title : str
        Its name in words.
    stages : tuple of str
        Names of its stages, in the network's order; `TrunkSpec.layer` and a cut name a stage.
    architecture : callable
        Makes the network: a `Sequential` of these stages, red, green and blue in, on the meta
        device (shapes without numbers).
    fill : callable
        Puts weights into such a network, in place.
    default_stage : str
        The stage whose maps are the features if nothing else is configured.
    input_px : int
        Edge of the pictures that the weights were trained on; 0 where weights differ in it.
    scalings : mapping of str to InputScaling
        By their names in `TrunkSpec.input_scaling`, the first being the default.
    activations_per_pixel : int
        Numbers of the largest activation, for each pixel of the input.
    winograd : bool
        Whether every stage is a row of padded convolutions of 3 x 3 pixels, each followed by a
        ReLU and, but for the first, perhaps by the largest of 2 x 2 pixels, as `winograd_pass`
        computes them.
    digest : str
        Of the released weights (`TrunkWeights.digest`); empty where none is known, so that any
        weights that fit are taken and their digest becomes a setting (`TrunkSpec.digest`).
    known_through : str
        The last stage that the released weights reach; empty: all stages.
    find_weights : callable
        Finds and verifies weights: (path=, cache=, digest=) to `TrunkWeights`, by default the
        released ones. It raises WeightsError, which says how to get them.
    random_weights : callable
        Draws untrained weights from a seed.
    origin : str
        What the released weights are, with their licence, for the report.
    sources : str
        Where they are read from, for the report.
    drawn : str
        How random weights are drawn.
    citation : str
        Licence and citation in one sentence, for cards.
    notice : str
        Lines on the licence, for the licence file of a bundle.
    trained_on : {"imagenet", "scans"}
        What `TrunkSpec.weights` calls weights that are not random.
    """

    title: str
    stages: tuple[str, ...]
    architecture: Callable[[], torch.nn.Sequential]
    fill: Callable[[torch.nn.Sequential, TrunkWeights], None]
    default_stage: str
    input_px: int
    scalings: Mapping[str, InputScaling]
    activations_per_pixel: int
    winograd: bool
    digest: str
    known_through: str
    find_weights: _FindWeights
    random_weights: Callable[[int], TrunkWeights]
    origin: str
    sources: str
    drawn: str
    citation: str
    notice: str
    trained_on: TrainedOn = "imagenet"
