"""The layers of a trunk in numbers: what goes through it, read from the network itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import torch

from mri_transfer.models.trunks.registry import TRUNKS
from mri_transfer.models.trunks.spec import TrunkSpec

__all__ = ["TrunkLayer", "layer_table"]

LayerKind = Literal["convolution", "normalisation", "pooling", "dense"]

_CONVOLUTIONS = (torch.nn.Conv2d,)
_NORMALISATIONS = (torch.nn.BatchNorm2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
#: What is taken of each window.
_POOLINGS = {torch.nn.MaxPool2d: "largest", torch.nn.AvgPool2d: "mean"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkLayer:
    """One layer of a trunk.

    Attributes
    ----------
    name : str
        As the network calls it within its stage, such as ``block1_conv2``.
    kind : str
        Activations and dropout are not listed.
    stage : str
        The stage that it is in.
    block : int
        Number of the stage, from 1 up.
    channels, rows, columns : int
        Shape of its output.
    parameters : int
        Weights and biases; moments of a normalisation are not counted.
    rule : str
        What a pooling takes, such as "largest of 2 × 2"; empty for other layers.
    """

    name: str
    kind: LayerKind
    stage: str
    block: int
    channels: int
    rows: int
    columns: int
    parameters: int
    rule: str


def layer_table(spec: TrunkSpec, size_px: int) -> tuple[TrunkLayer, ...]:
    """Return every layer that a square slice passes through, to the stage that is read out.

    Parameters
    ----------
    spec : TrunkSpec
        Its `layer` is the last stage.
    size_px : int
        Edge of the slice.

    Returns
    -------
    tuple of TrunkLayer
        In the order in which a slice passes them.
    """
    return _layer_table(spec.name, spec.layer, size_px)


@functools.lru_cache(maxsize=32)
def _layer_table(name: str, last: str, size_px: int) -> tuple[TrunkLayer, ...]:
    # Tensors on the meta device have shapes and no numbers: this costs next to nothing.
    maps = torch.zeros(1, 3, size_px, size_px, device="meta")
    layers: list[TrunkLayer] = []
    with torch.inference_mode():
        for block, (stage, module) in enumerate(TRUNKS[name].architecture().named_children(), 1):
            for path, layer in module.eval().named_modules():
                kind = _kind(layer)
                if kind is not None:
                    layer.register_forward_hook(
                        functools.partial(_note, layers, kind, stage, block, path)
                    )
            maps = module(maps)
            if stage == last:
                break
    return tuple(layers)


def _note(
    layers: list[TrunkLayer],
    kind: LayerKind,
    stage: str,
    block: int,
    path: str,
    layer: torch.nn.Module,
    given: Any,
    maps: torch.Tensor,
) -> None:
    """Write down a layer as something passes it."""
    del given
    rows, columns = maps.shape[2:] if maps.ndim == 4 else (1, 1)
    layers.append(
        TrunkLayer(
            name=path.replace(".", "_") or stage,
            kind=kind,
            stage=stage,
            block=block,
            channels=maps.shape[1],
            rows=rows,
            columns=columns,
            parameters=sum(p.numel() for p in layer.parameters(recurse=False)),
            rule=_rule(layer),
        )
    )


def _kind(layer: torch.nn.Module) -> LayerKind | None:
    if isinstance(layer, _CONVOLUTIONS):
        return "convolution"
    if isinstance(layer, _NORMALISATIONS):
        return "normalisation"
    if type(layer) in _POOLINGS:
        return "pooling"
    return "dense" if isinstance(layer, torch.nn.Linear) else None


def _rule(layer: torch.nn.Module) -> str:
    taken = _POOLINGS.get(type(layer))
    if taken is None:
        return ""
    size: Any = layer.kernel_size
    rows, columns = size if isinstance(size, tuple) else (size, size)
    return f"{taken} of {rows} \u00d7 {columns}"
