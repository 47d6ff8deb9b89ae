"""What the registry of heads knows of each kind.

A module with an entry imports nothing heavy: what fits and computes is imported when it is called
for. The registry is read to check a configuration, before anything is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mri_transfer.models.heads.module import HeadModule

__all__ = ["Aggregation", "HeadCode", "HeadEntry", "HeadPart"]

#: Ways to join a patient's slices; `mri_transfer.models.aggregation` computes them.
Aggregation = Literal["mean_probability", "mean_logit", "majority", "attention"]


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadCode:
    """What computes a kind of head.

    Attributes
    ----------
    fit : callable
        (spec, table, labels, slices, weights=..., seed=..., device=...) to a `Head`, as
        `fit_head`.
    module : type of HeadModule
    """

    fit: Callable[..., Any]
    module: type[HeadModule]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadEntry:
    """A kind of head.

    Attributes
    ----------
    spec : type
        Its settings; the kind's name is the default of `kind`.
    code : callable
        Imports what fits and computes it.
    aggregation : str
        What `auto` means: how its slices are joined.
    space : mapping of str to list
        Settings that the search tries by default.
    parts : callable
        (spec, n_features) to its parts, in the order in which features pass them.
    additive : bool
        Whether a slice's log-odds are a sum with one term a feature, so that a map can add up to
        them.
    title : str
        The head in a sentence's object.
    trained : str
        What of the model is trained, and from which start.
    slices : str
        What happens to slices, as the end of a sentence.
    optimisation : callable
        Settings as a mapping to sentences on how the head is fitted.
    """

    spec: type[Any]
    code: Callable[[], HeadCode]
    aggregation: Aggregation
    space: Mapping[str, list[Any]]
    parts: Callable[[Any, int], tuple[HeadPart, ...]]
    additive: bool
    title: str
    trained: str
    slices: str
    optimisation: Callable[[Mapping[str, Any]], list[str]]
