"""Trunk throughput, against direct convolutions, the matrix-product rate, Keras and ONNX Runtime.

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
from typing import Any, Literal

import numpy as np
import torch

from benchmarks._common import Target, argument_parser, finish, median_ratio, show_table
from benchmarks._slices import SLICES_TAR, made_up_slices, real_slices
from mri_transfer.core.threads import one_core_each
from mri_transfer.models.trunks import (
    FLOAT_PRECISIONS,
    Trunk,
    TrunkSpec,
    load_trunk,
    native_precision,
)
from mri_transfer.models.trunks.vgg16_weights import VGG16_BLOCKS, conv_names, random_weights
from mri_transfer.scans.slices import SliceSpec

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
MEAN_RGB = np.array([123.68, 116.779, 103.939], dtype=np.float32).reshape(1, 3, 1, 1)
LABELS = {
    "fp32": "trunk fp32",
    "direct": "direct convolutions fp32",
    "bf16": "trunk bf16",
    "matrix fp32": "matrix product fp32",
    "matrix bf16": "matrix product bf16",
    "keras": "Keras predict fp32",
    "onnx": "ONNX Runtime fp32",
}
#: Edges of the square matrices; the rate of the fastest is the machine's.
MATRIX_SIZES = (1024, 2048, 3072)
Precision = Literal["fp32", "bf16"]
#: Slices at once through direct convolutions.
DIRECT_SLICES = 2


def trunk_gflop(size_px: int, n_blocks: int) -> float:
    """Return the multiply-adds of a slice's direct convolutions in GFLOP, two operations each."""
    total, incoming, edge = 0, 3, size_px
    for convolutions, channels in VGG16_BLOCKS[:n_blocks]:
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


def direct_forward(trunk: Trunk, pixels: torch.Tensor) -> torch.Tensor:
    """Pass slices through the library's own convolutions (oneDNN), channels last, a core each."""

    def forward(part: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            maps: torch.Tensor = trunk.network(part)
            return maps

    with one_core_each(torch.get_num_threads()) as pool:
        return torch.cat(list(pool.map(forward, torch.split(pixels, DIRECT_SLICES))))


def write_exchange(folder: Path, pixels: torch.Tensor, spec: TrunkSpec) -> None:
    """Write the network and its input for the other engines."""
    tensors = random_weights(spec.seed).tensors
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
    name: str, folder: Path, *, python: Path, threads: int, n_blocks: int
) -> Iterator[Callable[[], float]]:
    """Start an engine; the function it yields makes one pass and returns the seconds."""
    script = Path(__file__).with_name("reference_engine.py")
    with (folder / f"{name}.log").open("w+") as log:
        process = subprocess.Popen(
            [str(python), str(script), name, str(folder), str(threads), str(n_blocks)],
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
    pixels: torch.Tensor,
    spec: TrunkSpec,
    precisions: Sequence[Precision],
    *,
    rounds: int,
    python: Path | None,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Measure every engine once a round.

    Returns
    -------
    rates : dict
        Slices/s of each engine and GFLOP/s of the matrix products, round by round.
    differences : dict
        Largest difference of each engine's features from those of direct convolutions in fp32,
        relative to the largest feature.
    """
    trunks = {p: load_trunk(spec, precision=p, device="cpu") for p in precisions}
    reference = direct_forward(trunks["fp32"], pixels)
    largest = float(reference.abs().max())
    difference = {p: trunk.forward_slices(pixels) - reference for p, trunk in trunks.items()}
    runs: dict[str, Callable[[], float]] = {
        name: lambda trunk=trunk: len(pixels) / _seconds(lambda: trunk.forward_slices(pixels))
        for name, trunk in trunks.items()
    }
    runs["direct"] = lambda: len(pixels) / _seconds(lambda: direct_forward(trunks["fp32"], pixels))
    for p in precisions:
        runs[f"matrix {p}"] = lambda p=p: matrix_rate(FLOAT_PRECISIONS[p])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_exchange(folder, pixels, spec)
        n_blocks = _n_blocks(spec)
        for name in ("keras", "onnx") if python else ():
            run = stack.enter_context(
                reference_engine(
                    name,
                    folder,
                    python=python,
                    threads=torch.get_num_threads(),
                    n_blocks=n_blocks,
                )
            )
            runs[name] = lambda run=run: len(pixels) / run()
            difference[name] = torch.from_numpy(np.load(folder / f"{name}.npy")) - reference
        rates: dict[str, list[float]] = {name: [] for name in runs}
        order = list(runs)
        for number in range(rounds):
            for name in [*order[number % len(order) :], *order[: number % len(order)]]:
                rates[name].append(runs[name]())
    return rates, {name: float(d.abs().max()) / largest for name, d in difference.items()}


def _n_blocks(spec: TrunkSpec) -> int:
    return int(spec.layer.removeprefix("block").removesuffix("_pool"))


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
    parser.add_argument(
        "--patient",
        type=int,
        default=0 if SLICES_TAR.is_file() else None,
        help="position of a real patient; without the real scans, slices are random noise",
    )
    parser.add_argument("--layer", default="block4_pool", help="last layer")
    parser.add_argument("--size", type=int, default=SliceSpec().size_px, help="edge in pixels")
    parser.add_argument(
        "--reference-python",
        type=Path,
        default=ROOT / ".venv-bench" / "bin" / "python",
        help="Python with Keras and ONNX Runtime",
    )
    parser.add_argument(
        "--fp32",
        action="store_true",
        help="as on a processor without bf16, which is measured only where it is native",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    python = arguments.reference_python if arguments.reference_python.exists() else None
    spec = TrunkSpec(weights="random", layer=arguments.layer)
    if arguments.patient is None:
        pixels, kind = made_up_slices(arguments.slices, size_px=arguments.size), "random"
    else:
        pixels, kind = (
            real_slices(arguments.patient, size_px=arguments.size, n_slices=arguments.slices),
            "real",
        )
    native = "fp32" if arguments.fp32 else native_precision("cpu")
    precisions: list[Precision] = ["fp32"] if native == "fp32" else ["fp32", "bf16"]
    rates, differences = measure(pixels, spec, precisions, rounds=arguments.rounds, python=python)
    gflop = trunk_gflop(arguments.size, _n_blocks(spec))
    rows = [_row(name, values, gflop, rates, differences) for name, values in rates.items()]
    show_table(
        f"Trunk to {spec.layer}: {len(pixels)} {kind} slices of {arguments.size} px, "
        f"{gflop:.2f} GFLOP each, "
        f"{torch.get_num_threads()} threads, median of {arguments.rounds} rounds",
        ["", "slices/s", "GFLOP/s", "of matrix rate", "difference"],
        rows,
    )
    _finish(arguments.out, rates, differences, gflop, precisions)


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
    out: Path | None,
    rates: dict[str, list[float]],
    differences: dict[str, float],
    gflop: float,
    precisions: Sequence[Precision],
) -> None:
    native = precisions[-1]
    ratios = {
        f"{p}_of_matrix_rate": median_ratio([v * gflop for v in rates[p]], rates[f"matrix {p}"])
        for p in precisions
    }
    for name in ("direct", "keras", "onnx"):
        for p in precisions:
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
            "relative_difference_from_direct_fp32": differences,
        },
        targets=[
            Target(
                name="bf16 rate / bf16 matrix rate",
                value=ratios.get("bf16_of_matrix_rate"),
                limit=0.75,
                at_least=True,
            ),
            Target(
                name=f"auto ({native}) / Keras predict",
                value=ratios.get(f"{native}_to_keras"),
                limit=1.5,
                at_least=True,
            ),
            *(
                Target(
                    name=name,
                    # These are about processors on which fp32 is what `auto` picks.
                    value=ratios.get(ratio) if native == "fp32" else None,
                    limit=limit,
                    at_least=True,
                )
                for name, ratio, limit in (
                    ("fp32 / direct convolutions", "fp32_to_direct", 1.6),
                    ("fp32 rate / fp32 matrix rate", "fp32_of_matrix_rate", 1.0),
                    ("fp32 / Keras predict", "fp32_to_keras", 1.7),
                    ("fp32 / ONNX Runtime fp32", "fp32_to_onnx", 0.9),
                )
            ),
            Target(
                name="fp32 features, difference from direct",
                value=differences["fp32"],
                limit=1e-4,
                at_least=False,
            ),
        ],
    )


if __name__ == "__main__":
    main()
