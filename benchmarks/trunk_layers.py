"""Layers of the fp32 trunk by direct convolution and by Winograd's method, on one core.

Each layer is timed where it stands in a pass over slices without black surroundings, ReLU and
pooling included. Rates are effective: the operations of the direct convolution divided by the
processor time, so that less arithmetic shows as a higher rate. Every round measures each way once;
the best of the rounds counts. The last rows are the whole trunk to block4_pool over the slices of a
real patient.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks._common import Target, argument_parser, finish, show_table
from benchmarks._slices import SLICES_TAR, made_up_slices, real_slices
from benchmarks.trunk import DIRECT_SLICES, direct_forward, matrix_rate, trunk_gflop
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk
from mri_transfer.models.trunks.layers import layer_table
from mri_transfer.models.trunks.winograd import WinogradConv
from mri_transfer.models.trunks.winograd_pass import WinogradPass, winograd_layers
from mri_transfer.scans.slices import SliceSpec

__all__ = ["main"]

Seconds = collections.defaultdict[str, float]

_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def naive_winograd(x: torch.Tensor, layer: WinogradConv) -> torch.Tensor:
    """Return the layer's answer by whole maps of tiles and two large products for the transforms.

    Parameters
    ----------
    x : Tensor, shape (n, channels, rows, columns)
        Channels last.
    layer : WinogradConv
    """
    n, channels, rows, columns = x.shape
    to_factors, to_outputs = (
        torch.kron(*[torch.tensor(matrix, dtype=torch.float32)] * 2) for matrix in (_INPUT, _OUTPUT)
    )
    down, across = -(-rows // 4), -(-columns // 4)
    edges = (0, 0, 1, 4 * across + 1 - columns, 1, 4 * down + 1 - rows)
    padded = torch.nn.functional.pad(x.permute(0, 2, 3, 1), edges)
    tiles = padded.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3).reshape(36, -1)
    factors = (to_factors @ tiles).view(36, -1, channels)
    products = torch.bmm(factors, layer.kernels).view(36, -1)
    found = (to_outputs @ products).view(4, 4, n, down, across, -1)
    maps = found.permute(2, 3, 0, 4, 1, 5).reshape(n, 4 * down, 4 * across, -1)
    answer = (maps[:, :rows, :columns] + layer.bias).relu_().permute(0, 3, 1, 2)
    return torch.nn.functional.max_pool2d(answer, 2) if layer.pooled else answer


class _Pass:
    """A trunk's pass that books the processor time of each layer's steps."""

    def __init__(self, trunk: Trunk, size_px: int) -> None:
        self.names = [
            layer.name for layer in layer_table(trunk.spec, size_px) if layer.kind == "convolution"
        ]
        self.steps = winograd_layers(trunk.network.layers())
        self.winograd = WinogradPass(self.steps, (size_px, size_px), trunk.network.to_input)
        self.trunk = trunk
        self.booked: Seconds = collections.defaultdict(float)
        for name, step in zip(self.names, self.steps, strict=True):
            step.write = self._timed(step.write, name)  # type: ignore[method-assign]

    def _timed(self, work: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            begin = time.process_time()
            found = work(*arguments)
            self.booked[name] += time.process_time() - begin
            return found

        return timed

    def by_winograd(self, pixels: torch.Tensor) -> Seconds:
        self.booked = collections.defaultdict(float)
        for part in torch.split(pixels, self.winograd.n_slices):
            self.winograd.forward(part)
        return self.booked

    def directly(self, pixels: torch.Tensor, *, naive: bool) -> Seconds:
        self.booked = collections.defaultdict(float)
        layers = self._modules(naive=naive)
        for part in torch.split(pixels, DIRECT_SLICES):
            x = self.trunk.network.to_input(part)
            for name, work in zip(self.names, layers, strict=True):
                x = self._timed(work, name)(x)
        return self.booked

    def _modules(self, *, naive: bool) -> list[Callable[[torch.Tensor], torch.Tensor]]:
        found: list[Callable[[torch.Tensor], torch.Tensor]] = []
        modules = self.trunk.network.layers()
        for i, module in enumerate(modules):
            if isinstance(module, torch.nn.Conv2d):
                step = self.steps[len(found)]
                end = i + 3 if step.pooled else i + 2
                if naive and isinstance(step, WinogradConv):
                    found.append(lambda x, step=step: naive_winograd(x, step))  # type: ignore[misc]
                else:
                    found.append(torch.nn.Sequential(*modules[i:end]))
        return found


def measure_layers(
    size_px: int, n_slices: int, rounds: int
) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Return the layers' names and, by way, each one's effective rate in GFLOP/s."""
    spec = TrunkSpec(weights="random", layer="block5_pool")
    trunk = load_trunk(spec, precision="fp32", device="cpu")
    one = _Pass(trunk, size_px)
    pixels = made_up_slices(n_slices, size_px=size_px)
    ways: dict[str, Callable[[], Seconds]] = {
        "direct": lambda: one.directly(pixels, naive=False),
        "winograd": lambda: one.by_winograd(pixels),
        "naive": lambda: one.directly(pixels, naive=True),
    }
    best: dict[str, dict[str, float]] = {way: {} for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            with torch.inference_mode():
                for name, seconds in run().items():
                    best[way][name] = min(seconds, best[way].get(name, seconds))
    gflop = _layer_gflop(spec, size_px)
    rates = {
        way: {name: gflop[name] * n_slices / seconds for name, seconds in found.items()}
        for way, found in best.items()
    }
    return one.names, rates


def _layer_gflop(spec: TrunkSpec, size_px: int) -> dict[str, float]:
    # A kernel's numbers are used once a pixel, biases aside.
    return {
        layer.name: 2 * (layer.parameters - layer.channels) * layer.rows * layer.columns / 1e9
        for layer in layer_table(spec, size_px)
        if layer.kind == "convolution"
    }


def measure_trunk(pixels: torch.Tensor, rounds: int) -> dict[str, float]:
    """Return the best processor time of a pass to block4_pool, by way, in seconds."""
    spec = TrunkSpec(weights="random", layer="block4_pool")
    trunk = load_trunk(spec, precision="fp32", device="cpu")
    # The same slices with every black pixel raised by one grey level: all of it is computed.
    nowhere_black = pixels.clamp(min=1)
    ways: dict[str, Callable[[], object]] = {
        "direct": lambda: direct_forward(trunk, pixels),
        "winograd, whole slices": lambda: trunk.forward_slices(nowhere_black),
        "winograd, where not black": lambda: trunk.forward_slices(pixels),
    }
    best: dict[str, float] = {}
    for _ in range(rounds):
        for way, run in ways.items():
            begin = time.process_time()
            run()
            seconds = time.process_time() - begin
            best[way] = min(seconds, best.get(way, seconds))
    return best


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=4, help="of the table of layers")
    parser.add_argument("--patient", type=int, default=0, help="position of the real patient")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    size = SliceSpec().size_px
    names, rates = measure_layers(size, arguments.slices, arguments.rounds)
    matrix = matrix_rate(torch.float32)
    show_table(
        f"Layers at {size} px: effective GFLOP/s of one core; matrix product {matrix:.0f}",
        ["", *rates, "winograd / direct"],
        [
            [
                name,
                *(f"{rates[way][name]:.0f}" for way in rates),
                f"{rates['winograd'][name] / rates['direct'][name]:.2f}",
            ]
            for name in names
        ],
    )
    real = SLICES_TAR.is_file()
    pixels = (
        real_slices(arguments.patient, size_px=size) if real else made_up_slices(32, size_px=size)
    )
    seconds = measure_trunk(pixels, arguments.rounds)
    gflop = trunk_gflop(size, 4) * len(pixels)
    show_table(
        f"Trunk to block4_pool, {len(pixels)} {'real' if real else 'random'} slices",
        ["", "s", "GFLOP/s", "of matrix rate", "to direct"],
        [
            [
                way,
                f"{taken:.2f}",
                f"{gflop / taken:.0f}",
                f"{gflop / taken / matrix:.2f}",
                f"{seconds['direct'] / taken:.2f}",
            ]
            for way, taken in seconds.items()
        ],
    )
    whole = seconds["direct"] / seconds["winograd, whole slices"]
    _finish(arguments.out, rates, seconds, matrix, whole, real=real)


def _finish(
    out: Any,
    rates: dict[str, dict[str, float]],
    seconds: dict[str, float],
    matrix: float,
    whole: float,
    *,
    real: bool,
) -> None:
    finish(
        "trunk_layers",
        out=out,
        figures={"effective_gflop_s": rates, "trunk_s": seconds, "matrix_gflop_s": matrix},
        targets=[
            Target(name="fp32 trunk / direct, whole slices", value=whole, limit=1.6, at_least=True),
            Target(
                name="fp32 trunk / direct, real slices",
                value=seconds["direct"] / seconds["winograd, where not black"] if real else None,
                limit=1.6,
                at_least=True,
            ),
        ],
    )


if __name__ == "__main__":
    main()
