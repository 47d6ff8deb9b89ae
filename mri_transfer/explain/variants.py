"""Maps of a slice's variants that differ from it in one rectangle each.

A covered patch changes the early layers' maps only around the patch, so that these are computed for
a window and put into the maps of the slice itself. The deep layers, which see everything, follow as
usual. Where the window ends, a layer's padding takes the place of pixels that it does not see: the
window is so much larger than the change that none of this reaches what is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import map_on_cores

if TYPE_CHECKING:
    from mri_transfer.models.tails.tuned_trunk import TunedTrunk
    from mri_transfer.models.trunks import Trunk

__all__ = ["Rectangle", "maps_of_variants"]

#: First and last pixel or cell along an axis, half open.
Interval = tuple[int, int]
#: Rows and columns.
Rectangle = tuple[Interval, Interval]

#: Windows of a larger part of the picture save nothing.
_MAX_WINDOW = 0.5
#: Variants that pass at once: with more their activations leave a core's cache.
_TOGETHER = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reach:
    """How far a layer sees along an axis: kernel, stride and padding."""

    kernel: int
    stride: int
    padding: int

    @classmethod
    def of(cls, layer: torch.nn.Module) -> Self | None:
        """Return a layer's reach, the same along both axes; None of a layer of another kind."""
        if isinstance(layer, torch.nn.ReLU):
            return cls(kernel=1, stride=1, padding=0)
        if not isinstance(layer, torch.nn.Conv2d | torch.nn.MaxPool2d):
            return None
        sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        pairs = [size if isinstance(size, tuple) else (size, size) for size in sizes]
        kernel, stride, padding, dilation = (pair[0] for pair in pairs)
        if any(a != b for a, b in pairs) or isinstance(padding, str) or dilation != 1:
            return None
        return cls(kernel=int(kernel), stride=int(stride), padding=int(padding))

    def size(self, extent: int) -> int:
        """Return the length of the output."""
        return (extent + 2 * self.padding - self.kernel) // self.stride + 1

    def affected(self, span: Interval) -> Interval:
        """Return which outputs a part of the input reaches."""
        first = -(-(span[0] + self.padding - self.kernel + 1) // self.stride)
        return first, (span[1] - 1 + self.padding) // self.stride + 1

    def read(self, span: Interval) -> Interval:
        """Return which inputs a part of the output reads."""
        first = span[0] * self.stride - self.padding
        return first, (span[1] - 1) * self.stride - self.padding + self.kernel


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axis:
    """The layers up to the cut, along one axis of a picture.

    Attributes
    ----------
    reaches : tuple of _Reach
    extent : int
        Of the picture.
    """

    reaches: tuple[_Reach, ...]
    extent: int

    @property
    def stride(self) -> int:
        """Pixels from one cell of the cut's maps to the next."""
        return int(np.prod([reach.stride for reach in self.reaches]))

    def changed(self, span: Interval) -> Interval:
        """Return the cells at the cut that change with a part of the picture."""
        extent = self.extent
        for reach in self.reaches:
            extent = reach.size(extent)
            first, last = reach.affected(span)
            span = max(first, 0), min(last, extent)
        return span

    def window(self, cells: Interval) -> Interval:
        """Return the pixels from which cells at the cut are computed, in whole strides."""
        for reach in reversed(self.reaches):
            cells = reach.read(cells)
        step = self.stride
        return max(cells[0] // step * step, 0), min(-(-cells[1] // step) * step, self.extent)


@torch.inference_mode()
def maps_of_variants(
    trunk: Trunk | TunedTrunk,
    pixels: npt.NDArray[np.uint8],
    variants: npt.NDArray[np.uint8],
    rectangles: Sequence[Rectangle],
) -> torch.Tensor:
    """Return the maps of a slice and of its variants, shape (1 + n, channels, rows, columns).

    Parameters
    ----------
    trunk : Trunk or TunedTrunk
    pixels : ndarray of uint8, shape (height, width)
    variants : ndarray of uint8, shape (n, height, width)
    rectangles : sequence of (rows, columns), length n
        Outside of which each variant is the slice.
    """
    stages = [*trunk.network.prefix, *trunk.network.tail]
    n_early = 0 if trunk.device == "cuda" else _early_stages(stages, pixels.shape, rectangles)
    if not n_early:
        together = torch.from_numpy(np.concatenate([pixels[None], variants]))
        return trunk.forward_slices(together).cpu()
    early = torch.nn.Sequential(*stages[:n_early])
    late = torch.nn.Sequential(*stages[n_early:])
    axes = _axes(stages[:n_early], pixels.shape)
    assert axes is not None
    own = early(trunk.network.to_input(torch.from_numpy(pixels)[None]))

    @torch.inference_mode()
    def passed(members: Sequence[int]) -> torch.Tensor:
        maps = own.repeat(len(members), 1, 1, 1).contiguous(memory_format=torch.channels_last)
        for k, i in enumerate(members):
            cells = [axis.changed(span) for axis, span in zip(axes, rectangles[i], strict=True)]
            window = [axis.window(span) for axis, span in zip(axes, cells, strict=True)]
            seen = torch.from_numpy(variants[i][_slices(window)])
            starts = [first // axis.stride for axis, (first, _) in zip(axes, window, strict=True)]
            inner = [(a - s, b - s) for (a, b), s in zip(cells, starts, strict=True)]
            part = early(trunk.network.to_input(seen[None]))
            maps[k][(slice(None), *_slices(cells))] = part[0][(slice(None), *_slices(inner))]
        passed_on: torch.Tensor = late(maps)
        return passed_on.float()

    parts = [
        range(i, min(i + _TOGETHER, len(variants))) for i in range(0, len(variants), _TOGETHER)
    ]
    return torch.cat([late(own).float(), *map_on_cores(passed, parts)])


def _slices(spans: Sequence[Interval]) -> tuple[slice, ...]:
    return tuple(slice(*span) for span in spans)


def _axes(stages: Sequence[torch.nn.Module], shape: tuple[int, ...]) -> tuple[_Axis, _Axis] | None:
    """Return both axes of stages that are plain rows of layers; None of others."""
    reaches = [_Reach.of(layer) for stage in stages for layer in stage.children()]
    known = tuple(reach for reach in reaches if reach is not None)
    if len(known) < len(reaches) or not known:
        return None
    return _Axis(reaches=known, extent=shape[0]), _Axis(reaches=known, extent=shape[1])


def _early_stages(
    stages: Sequence[torch.nn.Module], shape: tuple[int, ...], rectangles: Sequence[Rectangle]
) -> int:
    """Return after how many stages windows still are a small part of the picture."""
    n_early = 0
    for n in range(1, len(stages) if rectangles else 0):
        axes = _axes(stages[:n], shape)
        if axes is None:
            break
        areas = [
            np.prod([np.ptp(a.window(a.changed(s))) for a, s in zip(axes, spans, strict=True)])
            for spans in rectangles
        ]
        if np.mean(areas) <= _MAX_WINDOW * shape[0] * shape[1]:
            n_early = n
    return n_early
