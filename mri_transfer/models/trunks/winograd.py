"""Convolutions of 3 x 3 pixels by Winograd's minimal filtering F(4x4, 3x3).

Lavin and Gray (2016, CVPR, "Fast algorithms for convolutional neural networks"): 4 x 4 outputs
come from 36 products a pair of channels instead of 144. Both transforms are separable and are done
by additions of whole rows of channels (maps are channels last), 12 for six rows on the way in and
10 for four on the way out. A block of tiles is taken through all steps while it is in the cache:
transform, 36 matrix products, transform back, bias, ReLU and, where one follows, 2 x 2 pooling, so
that the map before pooling is never written.
"""

from __future__ import annotations

import dataclasses
import math

import torch

__all__ = ["Block", "Scratch", "WinogradConv"]

#: Outputs a tile, along each axis.
TILE_PX = 4
_READ_PX = TILE_PX + 2
#: Where bias enters: this product counts once in each of a tile's 16 outputs.
_BIAS_PRODUCT = _READ_PX + 1

#: Kernel transform for the points 0, 1, -1, 2, -2 and infinity.
_KERNEL = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A rectangle of a convolution's output, before pooling.

    Attributes
    ----------
    top, left, rows, columns : int
        Pixels.
    """

    top: int
    left: int
    rows: int
    columns: int


class Scratch:
    """Memory of one thread that blocks use one after another."""

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """Return a float32 tensor with arbitrary content; it is the same memory for a name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = torch.empty(size)
        return buffer[:size].view(shape)


class WinogradConv(torch.nn.Module):
    """Convolution of 3 x 3 pixels, stride 1, padding 1, with bias and ReLU, in float32.

    Parameters
    ----------
    convolution : Conv2d
        Its kernels are transformed once, in double precision.
    pooled : bool
        Whether the largest of 2 x 2 outputs is taken at once.
    """

    grain_px = (TILE_PX, TILE_PX)
    """Height and width of what a block is made of."""

    kernels: torch.Tensor
    bias: torch.Tensor

    def __init__(self, convolution: torch.nn.Conv2d, *, pooled: bool) -> None:
        super().__init__()
        assert convolution.bias is not None
        self.register_buffer("kernels", _transformed(convolution.weight.detach()))
        self.register_buffer("bias", convolution.bias.detach().float().clone())
        self.pooled = pooled
        self.channels = (convolution.in_channels, convolution.out_channels)

    def block_rows(self, columns: int, numbers: int) -> int:
        """Return how many rows of the output make a block.

        Parameters
        ----------
        columns : int
            Of the output, all slices together.
        numbers : int
            Tiles times channels that a block should have.
        """
        across = -(-columns // TILE_PX) * max(self.kernels.shape[1:])
        return TILE_PX * max(1, round(numbers / max(across, 1)))

    def write(
        self, source: torch.Tensor, target: torch.Tensor, block: Block, scratch: Scratch
    ) -> None:
        """Compute a block of the output.

        Parameters
        ----------
        source : Tensor, shape (n, rows, columns, channels)
            One row and column of padding before the first pixel; behind the last, zeros for one
            more than the tiles reach.
        target : Tensor, shape (n, rows, columns, channels)
            Written at the block's place, one row and column on. It must have room for whole tiles.
        block : Block
            Whole tiles.
        scratch : Scratch
        """
        shape = (len(source), block.rows // TILE_PX, block.columns // TILE_PX)
        n_tiles = math.prod(shape)
        tiles = _tiles_to_products(source, block, shape, scratch)
        n_out = self.kernels.shape[2]
        products = scratch.take("products", _READ_PX**2, n_tiles, n_out)
        torch.bmm(tiles.view(_READ_PX**2, n_tiles, -1), self.kernels, out=products)
        products[_BIAS_PRODUCT].add_(self.bias)
        outputs = _products_to_outputs(products.view(_READ_PX, _READ_PX, -1), scratch)
        edge = TILE_PX
        if self.pooled:
            outputs, edge = _pool(outputs, scratch), TILE_PX // 2
        torch.clamp_min(
            outputs.view(edge, edge, *shape, n_out), 0, out=_places(target, block, shape, edge)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's answer to whole maps, shape (n, channels, rows, columns)."""
        n, channels, height, width = x.shape
        rows, columns = (-(-size // TILE_PX) * TILE_PX for size in (height, width))
        source = x.new_zeros(n, rows + 2, columns + 2, channels)
        source[:, 1 : height + 1, 1 : width + 1] = x.permute(0, 2, 3, 1)
        step = 2 if self.pooled else 1
        target = x.new_empty(n, rows // step + 2, columns // step + 2, self.kernels.shape[2])
        block = Block(top=0, left=0, rows=rows, columns=columns)
        self.write(source, target, block, Scratch())
        inside = target[:, 1 : height // step + 1, 1 : width // step + 1]
        return inside.permute(0, 3, 1, 2)


def _transformed(kernels: torch.Tensor) -> torch.Tensor:
    """Return kernels (out, in, 3, 3) as the factors of the 36 products, (36, in, out)."""
    numbers = kernels.double().permute(2, 3, 1, 0)
    for _ in range(2):
        # Plain sums: a matrix product could round differently with another number of threads.
        a, b, c = numbers
        numbers = torch.stack([x * a + y * b + z * c for x, y, z in _KERNEL]).transpose(0, 1)
    return numbers.flatten(0, 1).float().contiguous()


def _tiles_to_products(
    source: torch.Tensor, block: Block, shape: tuple[int, int, int], scratch: Scratch
) -> torch.Tensor:
    """Return the transformed tiles, shape (6, 6, n, rows, columns, channels)."""
    n, rows, columns = shape
    per_slice, per_row, per_pixel, _ = source.stride()
    begin = block.top * per_row + block.left * per_pixel
    channels, width = source.shape[3], TILE_PX * columns + 2
    # Neighbouring tiles share two rows and two columns, so rows are transformed before columns
    # are dealt to tiles.
    lines = source.as_strided(
        (_READ_PX, n, rows, width, channels),
        (per_row, per_slice, TILE_PX * per_row, per_pixel, 1),
        source.storage_offset() + begin,
    )
    halfway = scratch.take("halfway", *lines.shape)
    _forward(lines, halfway, scratch)
    per_line, per_slice, per_row, per_pixel, _ = halfway.stride()
    dealt = halfway.as_strided(
        (_READ_PX, _READ_PX, n, rows, columns, channels),
        (per_pixel, per_line, per_slice, per_row, TILE_PX * per_pixel, 1),
    )
    tiles = scratch.take("tiles", _READ_PX, _READ_PX, n, rows, columns, channels)
    _forward(dealt, tiles.transpose(0, 1), scratch)
    return tiles


def _products_to_outputs(products: torch.Tensor, scratch: Scratch) -> torch.Tensor:
    """Return outputs, shape (4 columns, 4 rows, tiles x channels), of products (6, 6, ...)."""
    halfway = scratch.take("halfway", TILE_PX, *products.shape[1:])
    _backward(products, halfway, scratch)
    outputs = scratch.take("tiles", TILE_PX, TILE_PX, products.shape[2])
    _backward(halfway.transpose(0, 1), outputs, scratch)
    return outputs


def _pool(outputs: torch.Tensor, scratch: Scratch) -> torch.Tensor:
    columns = scratch.take("first", 2, TILE_PX, outputs.shape[2])
    torch.maximum(outputs[0::2], outputs[1::2], out=columns)
    pooled = scratch.take("second", 2, 2, outputs.shape[2])
    torch.maximum(columns[:, 0::2], columns[:, 1::2], out=pooled)
    return pooled


def _places(
    target: torch.Tensor, block: Block, shape: tuple[int, int, int], edge: int
) -> torch.Tensor:
    """View the target as (columns in a tile, rows in a tile, n, rows, columns, channels)."""
    per_slice, per_row, per_pixel, _ = target.stride()
    top, left = (at * edge // TILE_PX + 1 for at in (block.top, block.left))
    return target.as_strided(
        (edge, edge, *shape, target.shape[3]),
        (per_pixel, per_row, per_slice, edge * per_row, edge * per_pixel, 1),
        target.storage_offset() + top * per_row + left * per_pixel,
    )


def _forward(d: torch.Tensor, out: torch.Tensor, scratch: Scratch) -> None:
    """Transform six inputs along the first axis into six factors."""
    fours = scratch.take("first", 4, *d.shape[1:])
    torch.sub(d[2:6], d[0:4], alpha=4, out=fours)
    ones = scratch.take("second", 2, *d.shape[1:])
    torch.sub(d[3:5], d[1:3], out=ones)
    torch.sub(fours[2:4], fours[0:2], out=out[0::5])
    torch.add(fours[2], fours[1], out=out[1])
    torch.sub(fours[2], fours[1], out=out[2])
    torch.add(ones[1], ones[0], alpha=2, out=out[3])
    torch.sub(ones[1], ones[0], alpha=2, out=out[4])


def _backward(m: torch.Tensor, out: torch.Tensor, scratch: Scratch) -> None:
    """Transform six products along the first axis into four outputs."""
    near, far, ends = scratch.take("first", 3, 2, *m.shape[1:])
    torch.add(m[1], m[2], out=near[0])
    torch.sub(m[1], m[2], out=near[1])
    torch.add(m[3], m[4], out=far[0])
    torch.sub(m[3], m[4], out=far[1])
    torch.add(m[0::5], near, out=ends)
    torch.add(ends[0], far[0], out=out[0])
    torch.add(near[1], far[1], alpha=2, out=out[1])
    torch.add(near[0], far[0], alpha=4, out=out[2])
    torch.add(ends[1], far[1], alpha=8, out=out[3])
