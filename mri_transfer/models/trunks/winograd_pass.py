"""A trunk's pass over slices in float32 on a processor: Winograd, and only where there is brain.

The early layers take one slice at a time and compute, in bands of rows, what can differ from an
all-black slice: a row's run of pixels that are not black, grown by each layer's reach. What is
left is copied from the all-black slice's own maps (near an edge they differ from place to place,
since padding is not black). The deep layers, whose reach covers everything and whose kernels are
large, take several slices together, always the same number.

Nothing here depends on the machine, on a timing or on other slices.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence

import torch

from mri_transfer.models.trunks.spans import Rectangle, Spans
from mri_transfer.models.trunks.winograd import TILE_PX, Block, Scratch, WinogradConv

__all__ = ["WinogradPass", "winograd_layers"]

#: Fewer channels in leave too little to be saved.
_MIN_CHANNELS = 16
#: The block from which on layers take several slices together.
_FIRST_DEEP_BLOCK = 4
#: Tiles that the first deep layer should have at once: with fewer, fetching its kernels from
#: memory takes as long as multiplying; with more, there are few parts to share among cores.
_DEEP_TILES = 98
_MOST_SLICES = 8
#: Tiles times channels of a block. In the early layers its products, 36 times as many numbers,
#: should stay in a core's own cache; in the deep ones the kernels are what is read most.
_EARLY_NUMBERS = 2**14
_DEEP_NUMBERS = 2**17


class _DirectConv:
    """A convolution, with ReLU, that is left direct.

    Parameters
    ----------
    convolution : Conv2d
    """

    #: Bands and widths of few sizes, since the library prepares itself for each anew.
    grain_px = (1, 16)
    pooled = False

    def __init__(self, convolution: torch.nn.Conv2d) -> None:
        self._kernels = convolution.weight.detach()
        self._bias = convolution.bias
        self.channels = (convolution.in_channels, convolution.out_channels)

    def block_rows(self, columns: int, numbers: int) -> int:
        """Return how many rows of the output make a block."""
        return 32

    def write(
        self, source: torch.Tensor, target: torch.Tensor, block: Block, scratch: Scratch
    ) -> None:
        """Compute a block of the output, as far as the source reaches; as `WinogradConv.write`."""
        bottom = min(block.top + block.rows + 2, source.shape[1])
        right = min(block.left + block.columns + 2, source.shape[2])
        seen = source[:, block.top : bottom, block.left : right].permute(0, 3, 1, 2)
        found = torch.nn.functional.conv2d(seen, self._kernels, self._bias).permute(0, 2, 3, 1)
        place = target[:, block.top + 1 : bottom - 1, block.left + 1 : right - 1]
        torch.clamp_min(found, 0, out=place)


_Convolution = _DirectConv | WinogradConv


def winograd_layers(modules: Sequence[torch.nn.Module]) -> list[_Convolution]:
    """Return a network's convolutions, each with the ReLU and the pooling that follow it.

    Parameters
    ----------
    modules : sequence of Module
        `Conv2d` of 3 x 3 pixels, padded, each followed by `ReLU` and perhaps by `MaxPool2d` of 2.
    """
    found: list[_Convolution] = []
    for i, module in enumerate(modules):
        if isinstance(module, torch.nn.Conv2d):
            pooled = any(isinstance(m, torch.nn.MaxPool2d) for m in modules[i + 2 : i + 3])
            if module.in_channels >= _MIN_CHANNELS:
                found.append(WinogradConv(module, pooled=pooled))
            else:
                found.append(_DirectConv(module))
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layer:
    """A convolution at one size of slices.

    Attributes
    ----------
    step : convolution
    rows, columns : int
        Of its input, and of its output before pooling.
    """

    step: _Convolution
    rows: int
    columns: int

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of the output after pooling."""
        step = 2 if self.step.pooled else 1
        return self.rows // step, self.columns // step

    @property
    def whole_tiles(self) -> tuple[int, int]:
        """Rows and columns before pooling, rounded up."""
        return _up(self.rows, TILE_PX), _up(self.columns, TILE_PX)

    def blocks(self, spans: Spans, *, n: int, numbers: int) -> list[Block]:
        """Cut spans of the output into blocks for `n` slices."""
        height = self.step.block_rows(spans.widest() * n, numbers)
        return [
            Block(top=top, left=left, rows=bottom - top, columns=right - left)
            for top, bottom, left, right in spans.bands(height, self.step.grain_px)
        ]

    def computed(self, blocks: Sequence[Block]) -> Spans:
        """Return what blocks compute, before pooling."""
        spans = Spans.empty(self.rows, self.columns)
        for block in blocks:
            rows = slice(block.top, block.top + block.rows)
            spans.begin[rows] = block.left
            spans.end[rows] = min(block.left + block.columns, self.columns)
        return spans


class _Memory:
    """One thread's maps: the input's and one after each layer, with a border of zeros.

    Parameters
    ----------
    layers : sequence of _Layer
    n_early : int
        How many layers take one slice at a time.
    n_slices : int
        How many the others take.
    """

    def __init__(self, layers: Sequence[_Layer], n_early: int, n_slices: int) -> None:
        self.maps = [torch.zeros(1, *_room(None, layers[0]), layers[0].step.channels[0])]
        for number, layer in enumerate(layers):
            n = n_slices if number >= n_early - 1 else 1
            after = layers[number + 1] if number + 1 < len(layers) else None
            self.maps.append(torch.zeros(n, *_room(layer, after), layer.step.channels[1]))
        self.scratch = Scratch()


def _room(before: _Layer | None, after: _Layer | None) -> tuple[int, int]:
    """Return rows and columns of a map, border and what tiles reach beyond the edge included."""
    sizes = []
    if before is not None:
        rows, columns = before.whole_tiles
        sizes.append((rows // 2, columns // 2) if before.step.pooled else (rows, columns))
    if after is not None:
        sizes.append(after.whole_tiles)
    return max(rows for rows, _ in sizes) + 2, max(columns for _, columns in sizes) + 2


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


class WinogradPass:
    """The pass for slices of one size.

    Parameters
    ----------
    steps : sequence of convolutions
        Of `winograd_layers`.
    size_px : (int, int)
        Height and width of the slices.
    to_input : callable
        Grey slices (n, height, width) to what the network reads, (n, channels, height, width).

    Attributes
    ----------
    n_slices : int
        How many slices pass at once. It depends on their size alone, so that a slice's maps cannot
        depend on what else is in a batch.

    Raises
    ------
    ValueError
        If slices are so small that a pooling leaves nothing.
    """

    def __init__(
        self,
        steps: Sequence[_Convolution],
        size_px: tuple[int, int],
        to_input: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self.size_px = size_px
        self.steps = steps
        self._to_input = to_input
        self._layers: list[_Layer] = []
        out, n_pooled, n_early = size_px, 0, 0
        for step in steps:
            self._layers.append(_Layer(step=step, rows=out[0], columns=out[1]))
            out = self._layers[-1].out
            n_early += n_pooled + 1 < _FIRST_DEEP_BLOCK
            n_pooled += step.pooled
        if 0 in out:
            raise ValueError(f"slices of {size_px[0]} x {size_px[1]} px are too small")
        self._n_early = n_early
        self.n_slices = _slices_together(self._layers[n_early:])
        self._idle: collections.deque[_Memory] = collections.deque()
        self._black = self._maps_of_black()

    @torch.inference_mode()
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pass slices; several threads may do so at once.

        Parameters
        ----------
        pixels : Tensor of uint8, shape (n, height, width)
            At most `n_slices`.

        Returns
        -------
        Tensor of float32, shape (n, channels, rows, columns)
        """
        memory = self._take_memory()
        for i, grey in enumerate(pixels):
            self._early(memory, i, grey, Spans.of(grey.numpy() > 0))
        for number in range(self._n_early, len(self._layers)):
            layer = self._layers[number]
            whole = Spans.full(layer.rows, layer.columns)
            blocks = layer.blocks(whole, n=self.n_slices, numbers=_DEEP_NUMBERS)
            self._compute(memory, number, blocks, memory.maps[number + 1])
        rows, columns = self._layers[-1].out
        found = memory.maps[-1][: len(pixels), 1 : rows + 1, 1 : columns + 1].clone()
        self._idle.append(memory)
        return found.permute(0, 3, 1, 2)

    def _take_memory(self) -> _Memory:
        try:
            return self._idle.pop()
        except IndexError:
            return _Memory(self._layers, self._n_early, self.n_slices)

    @torch.inference_mode()
    def _maps_of_black(self) -> list[torch.Tensor]:
        """Return what the early layers answer to an all-black slice, layer by layer."""
        memory = self._take_memory()
        whole = Spans.full(*self.size_px)
        self._early(memory, 0, torch.zeros(self.size_px, dtype=torch.uint8), whole)
        self._idle.append(memory)
        # Nothing is ever copied into the maps of a layer that computes whatever the next one reads.
        return [
            m[:1].clone() if isinstance(layer.step, WinogradConv) else m.new_empty(0)
            for m, layer in zip(memory.maps[1 : self._n_early + 1], self._layers, strict=False)
        ]

    def _early(self, memory: _Memory, i: int, grey: torch.Tensor, spans: Spans) -> None:
        """Compute the early layers' maps of slice `i` where they can differ from black's."""
        height, width = self.size_px
        memory.maps[0][0, 1 : height + 1, 1 : width + 1] = self._to_input(grey[None])[0].permute(
            1, 2, 0
        )
        for number, (blocks, black) in enumerate(self._plan(spans)):
            at = i if number == self._n_early - 1 else 0
            target = memory.maps[number + 1][at : at + 1]
            self._compute(memory, number, blocks, target)
            for top, bottom, left, right in black:
                place = (0, slice(top + 1, bottom + 1), slice(left + 1, right + 1))
                target[place] = self._black[number][place]

    def _plan(self, spans: Spans) -> list[tuple[list[Block], list[Rectangle]]]:
        """Return for each early layer the blocks to compute and the rectangles to copy.

        Parameters
        ----------
        spans : Spans
            Pixels of the slice that are not black.
        """
        early = self._layers[: self._n_early]
        differing = []
        for layer in early:
            differing.append(spans.grown())
            spans = differing[-1].halved() if layer.step.pooled else differing[-1]
        plan: list[tuple[list[Block], list[Rectangle]]] = []
        read = Spans.full(*early[-1].out)
        for layer, wanted in zip(early[::-1], differing[::-1], strict=True):
            # A direct layer is cheap: it computes all that the next one reads.
            wanted = wanted if isinstance(layer.step, WinogradConv) else read
            blocks = layer.blocks(wanted, n=1, numbers=_EARLY_NUMBERS)
            done = layer.computed(blocks)
            plan.append((blocks, list(read.missing(done.halved() if layer.step.pooled else done))))
            read = done.grown()
        return plan[::-1]

    def _compute(
        self, memory: _Memory, number: int, blocks: Sequence[Block], target: torch.Tensor
    ) -> None:
        layer = self._layers[number]
        for block in blocks:
            layer.step.write(memory.maps[number], target, block, memory.scratch)
        # What tiles wrote beyond the edge is padding to the next layer.
        rows, columns = layer.out
        target[:, rows + 1 :].zero_()
        target[:, :, columns + 1 :].zero_()


def _slices_together(deep: Sequence[_Layer]) -> int:
    if not deep:
        return 1
    rows, columns = deep[0].whole_tiles
    n_tiles = rows * columns // TILE_PX**2
    return min(_MOST_SLICES, -(-_DEEP_TILES // n_tiles))
