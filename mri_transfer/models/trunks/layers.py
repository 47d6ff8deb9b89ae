"""The layers of a trunk in numbers: what goes through it, by arithmetic alone."""

from __future__ import annotations

import dataclasses
from typing import Literal

from mri_transfer.models.trunks.trunk import TrunkSpec
from mri_transfer.models.trunks.weights import VGG16_BLOCKS

__all__ = ["TrunkLayer", "layer_table"]

_KERNEL_PX = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkLayer:
    """One layer of a trunk.

    Attributes
    ----------
    name : str
        Such as ``block1_conv2``.
    kind : str
        ``convolution`` (3 x 3 pixels, stride 1, padded, then ReLU) or ``pooling`` (the largest of
        2 x 2 pixels).
    block : int
        From 1 up.
    channels, rows, columns : int
        Shape of its output.
    parameters : int
        Kernels and biases; 0 of a pooling.
    """

    name: str
    kind: Literal["convolution", "pooling"]
    block: int
    channels: int
    rows: int
    columns: int
    parameters: int


def layer_table(spec: TrunkSpec, size_px: int) -> tuple[TrunkLayer, ...]:
    """Return every layer that a square slice passes through, to the one whose maps are read out.

    Parameters
    ----------
    spec : TrunkSpec
        Its `layer` is the last one.
    size_px : int
        Edge of the slice.

    Returns
    -------
    tuple of TrunkLayer
        In the network's order. Poolings round down.
    """
    layers = []
    incoming, edge = 3, size_px
    for block, (n_convolutions, channels) in enumerate(VGG16_BLOCKS, start=1):
        for i in range(n_convolutions):
            layers.append(
                TrunkLayer(
                    name=f"block{block}_conv{i + 1}",
                    kind="convolution",
                    block=block,
                    channels=channels,
                    rows=edge,
                    columns=edge,
                    parameters=channels * (incoming * _KERNEL_PX**2 + 1),
                )
            )
            incoming = channels
        edge //= 2
        name = f"block{block}_pool"
        layers.append(
            TrunkLayer(
                name=name,
                kind="pooling",
                block=block,
                channels=channels,
                rows=edge,
                columns=edge,
                parameters=0,
            )
        )
        if name == spec.layer:
            break
    return tuple(layers)
