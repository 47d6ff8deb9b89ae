"""The layers and stages of a trunk in numbers, read from the network itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import torch

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.trunks.registry import TRUNKS
from mri_transfer.models.trunks.spec import TrunkSpec

__all__ = ["TrunkLayer", "TrunkStage", "layer_table", "stage_table"]

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkStage:
    """One stage of a trunk.

    Attributes
    ----------
    name : str
    channels, rows, columns : int
        Shape of its output, which is not that of its last layer where branches are joined.
    parameters : int
        All of them, also those that belong to no layer of `layer_table`.
    """

    name: str
    channels: int
    rows: int
    columns: int
    parameters: int


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
    return _tables(spec.name, spec.layer, size_px)[0]


def stage_table(spec: TrunkSpec, size_px: int) -> tuple[TrunkStage, ...]:
    """Return every stage that a square slice passes through, to the one that is read out.

    Parameters
    ----------
    spec : TrunkSpec
        Its `layer` is the last stage.
    size_px : int
        Edge of the slice.

    Raises
    ------
    ConfigurationError
        If no pixel of the slice is left before the last stage.
    """
    return _tables(spec.name, spec.layer, size_px)[1]


@functools.lru_cache(maxsize=32)
def _tables(
    name: str, last: str, size_px: int
) -> tuple[tuple[TrunkLayer, ...], tuple[TrunkStage, ...]]:
    # Tensors on the meta device have shapes and no numbers: this costs next to nothing.
    maps = torch.zeros(1, 3, size_px, size_px, device="meta")
    layers: list[TrunkLayer] = []
    stages: list[TrunkStage] = []
    with torch.inference_mode():
        for block, (stage, module) in enumerate(TRUNKS[name].architecture().named_children(), 1):
            for path, layer in module.eval().named_modules():
                kind = _kind(layer)
                if kind is not None:
                    layer.register_forward_hook(
                        functools.partial(_note, layers, kind, stage, block, path)
                    )
            try:
                maps = module(maps)
            except RuntimeError as error:
                raise ConfigurationError(
                    f"slices are too small for the stage {stage} of {TRUNKS[name].title}",
                    where="slices.size_px",
                    found=f"{size_px} px",
                    remedy="Make slices larger, or read the trunk out earlier (trunk.layer)",
                ) from error
            stages.append(
                TrunkStage(
                    name=stage,
                    channels=maps.shape[1],
                    rows=maps.shape[2],
                    columns=maps.shape[3],
                    parameters=sum(p.numel() for p in module.parameters()),
                )
            )
            if stage == last:
                break
    return tuple(layers), tuple(stages)


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
    if maps.ndim == 4 and _channels_are_last(layer):
        maps = maps.permute(0, 3, 1, 2)
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


def _channels_are_last(layer: torch.nn.Module) -> bool:
    """Return whether a layer's maps are (n, rows, columns, channels), as ConvNeXt's blocks'."""
    # timm's norm of (n, channels, rows, columns) is a LayerNorm, too, of another name.
    return isinstance(layer, (torch.nn.Linear, torch.nn.LayerNorm)) and not type(
        layer
    ).__name__.endswith("2d")


def _kind(layer: torch.nn.Module) -> LayerKind | None:
    if isinstance(layer, _CONVOLUTIONS):
        return "convolution"
    if isinstance(layer, _NORMALISATIONS):
        return "normalisation"
    if isinstance(layer, tuple(_POOLINGS)):
        return "pooling"
    return "dense" if isinstance(layer, torch.nn.Linear) else None


def _rule(layer: torch.nn.Module) -> str:
    taken = next((words for kind, words in _POOLINGS.items() if isinstance(layer, kind)), "")
    if not taken:
        return ""
    size: Any = layer.kernel_size
    rows, columns = size if isinstance(size, tuple) else (size, size)
    return f"{taken} of {rows} \u00d7 {columns}"
