"""Trunk throughput, against the machine's matrix-product rate, Keras and ONNX Runtime.

Every round measures each of them once, so that whatever else the machine does falls on all alike;
ratios are taken within a round, and their median over the rounds is reported. With --threads 1
processor time is measured instead of wall time, which a busy machine does not distort.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._common import Target, argument_parser, finish, median_ratio, show_table
from mri_transfer.models.trunks import TrunkSpec, load_trunk, native_precision
from mri_transfer.models.trunks.vgg16_weights import VGG16_BLOCKS, conv_names, random_weights
from mri_transfer.scans.slices import SliceSpec

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
SPEC = TrunkSpec(weights="random", layer="block5_pool")
MEAN_RGB = np.array([123.68, 116.779, 103.939], dtype=np.float32).reshape(1, 3, 1, 1)
LABELS = {
    "fp32": "trunk fp32",
    "bf16": "trunk bf16",
    "matrix fp32": "matrix product fp32",
    "matrix bf16": "matrix product bf16",
    "keras": "Keras predict fp32",
    "onnx": "ONNX Runtime fp32",
}
#: Edges of the square matrices; the rate of the fastest is the machine's.
MATRIX_SIZES = (1024, 2048, 3072)


def trunk_gflop(size_px: int) -> float:
    """Return the multiply-adds of one slice in GFLOP, two operations each."""
    total, incoming, edge = 0, 3, size_px
    for convolutions, channels in VGG16_BLOCKS:
        for _ in range(convolutions):
            total += 2 * 9 * incoming * channels * edge * edge
            incoming = channels
        edge //= 2
    return total / 1e9


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the machine's rate of square matrix products in GFLOP/s."""
    best = 0.0
    for size in MATRIX_SIZES:
        a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
        torch.mm(a, b)
        for _ in range(3):
            best = max(best, 2 * size**3 / _seconds(lambda a=a, b=b: torch.mm(a, b)) / 1e9)
    return best


def write_exchange(folder: Path, pixels: torch.Tensor) -> None:
    """Write the network and its input for the other engines."""
    tensors = random_weights(SPEC.seed).tensors
    network: dict[str, Any] = {}
    for number, name in enumerate(conv_names()):
        kernel = tensors[f"{name}.kernel"]
        # As released, the first kernels expect blue, green, red.
        network[f"kernel{number}"] = kernel[:, ::-1].copy() if number == 0 else kernel
        network[f"bias{number}"] = tensors[f"{name}.bias"]
    np.savez(folder / "network.npz", **network)
    np.save(folder / "input.npy", pixels.numpy()[:, None].astype(np.float32) - MEAN_RGB)


@contextlib.contextmanager
def reference_engine(
    name: str, folder: Path, *, python: Path, threads: int
) -> Iterator[Callable[[], float]]:
    """Start an engine; the function it yields makes one pass and returns the seconds."""
    script = Path(__file__).with_name("reference_engine.py")
    with (folder / f"{name}.log").open("w+") as log:
        process = subprocess.Popen(
            [str(python), str(script), name, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        to_engine, from_engine = process.stdin, process.stdout

        def answer() -> str:
            line = from_engine.readline()
            if not line:
                log.seek(0)
                raise RuntimeError(f"{name} has ended:\n{log.read()[-2000:]}")
            return line.strip()

        def run() -> float:
            print("run", file=to_engine, flush=True)
            return float(answer())

        try:
            while answer() != "ready":
                pass
            yield run
        finally:
            to_engine.close()
            process.wait()


def measure(
    pixels: torch.Tensor, *, rounds: int, python: Path | None
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Measure every engine once a round.

    Returns
    -------
    rates : dict
        Slices/s of each engine and GFLOP/s of the matrix products, round by round.
    differences : dict
        Largest difference of each engine's features from the fp32 trunk's, relative to the
        largest feature.
    """
    trunks = {p: load_trunk(SPEC, precision=p, device="cpu") for p in ("fp32", "bf16")}
    reference = trunks["fp32"].forward_slices(pixels)
    largest = float(reference.abs().max())
    difference = {"bf16": trunks["bf16"].forward_slices(pixels) - reference}
    runs: dict[str, Callable[[], float]] = {
        name: lambda trunk=trunk: len(pixels) / _seconds(lambda: trunk.forward_slices(pixels))
        for name, trunk in trunks.items()
    }
    runs["matrix fp32"] = lambda: matrix_rate(torch.float32)
    runs["matrix bf16"] = lambda: matrix_rate(torch.bfloat16)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_exchange(folder, pixels)
        for name in ("keras", "onnx") if python else ():
            run = stack.enter_context(
                reference_engine(name, folder, python=python, threads=torch.get_num_threads())
            )
            runs[name] = lambda run=run: len(pixels) / run()
            difference[name] = torch.from_numpy(np.load(folder / f"{name}.npy")) - reference
        rates: dict[str, list[float]] = {name: [] for name in runs}
        order = list(runs)
        for number in range(rounds):
            for name in [*order[number % len(order) :], *order[: number % len(order)]]:
                rates[name].append(runs[name]())
    return rates, {name: float(d.abs().max()) / largest for name, d in difference.items()}


def _seconds(work: Callable[[], object]) -> float:
    clock = time.perf_counter if torch.get_num_threads() > 1 else time.process_time
    begin = clock()
    work()
    return clock() - begin


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slices", type=int, default=32)
    parser.add_argument("--size", type=int, default=SliceSpec().size_px, help="edge in pixels")
    parser.add_argument(
        "--reference-python",
        type=Path,
        default=ROOT / ".venv-bench" / "bin" / "python",
        help="Python with Keras and ONNX Runtime",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    python = arguments.reference_python if arguments.reference_python.exists() else None
    rng = np.random.default_rng(0)
    shape = (arguments.slices, arguments.size, arguments.size)
    pixels = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    rates, differences = measure(pixels, rounds=arguments.rounds, python=python)
    gflop = trunk_gflop(arguments.size)
    rows = [_row(name, values, gflop, rates, differences) for name, values in rates.items()]
    show_table(
        f"Trunk: {arguments.slices} slices of {arguments.size} px, {gflop:.2f} GFLOP each, "
        f"{torch.get_num_threads()} threads, median of {arguments.rounds} rounds",
        ["", "slices/s", "GFLOP/s", "of matrix rate", "difference"],
        rows,
    )
    _finish(arguments.out, rates, differences, gflop)


def _row(
    name: str,
    values: list[float],
    gflop: float,
    rates: dict[str, list[float]],
    differences: dict[str, float],
) -> list[str]:
    middle = statistics.median(values)
    if name.startswith("matrix"):
        return [LABELS[name], "-", f"{middle:.0f}", "-", "-"]
    matrix = rates["matrix bf16" if name == "bf16" else "matrix fp32"]
    share = median_ratio([value * gflop for value in values], matrix)
    difference = f"{differences[name]:.1e}" if name in differences else "-"
    return [LABELS[name], f"{middle:.2f}", f"{middle * gflop:.0f}", f"{share:.2f}", difference]


def _finish(
    out: Path | None, rates: dict[str, list[float]], differences: dict[str, float], gflop: float
) -> None:
    native = native_precision("cpu")
    ratios = {
        f"{p}_of_matrix_rate": median_ratio([v * gflop for v in rates[p]], rates[f"matrix {p}"])
        for p in ("fp32", "bf16")
    }
    for name in ("keras", "onnx"):
        for p in ("fp32", "bf16"):
            if name in rates:
                ratios[f"{p}_to_{name}"] = median_ratio(rates[p], rates[name])
    finish(
        "trunk",
        out=out,
        figures={
            "gflop_per_slice": gflop,
            "threads": torch.get_num_threads(),
            "auto_precision": native,
            "rates": rates,
            "ratios": ratios,
            "relative_difference_from_fp32": differences,
        },
        targets=[
            Target(
                name="bf16 rate / bf16 matrix rate",
                value=ratios["bf16_of_matrix_rate"] if native == "bf16" else None,
                limit=0.75,
                at_least=True,
            ),
            Target(
                name=f"auto ({native}) / Keras predict",
                value=ratios.get(f"{native}_to_keras"),
                limit=1.5,
                at_least=True,
            ),
            Target(
                name="fp32 / ONNX Runtime fp32",
                value=ratios.get("fp32_to_onnx"),
                limit=0.9,
                at_least=True,
            ),
        ],
    )


if __name__ == "__main__":
    main()
