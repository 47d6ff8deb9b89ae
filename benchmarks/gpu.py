"""One GPU in one go: its features against the processor's, its heads, its rate, a whole run.

Every part prints its table as soon as it is done, so that a run that is cut short still says what
it has measured. Without a CUDA device it says so and stops; `--device cpu` walks through the same
steps on the processor, to see that the script works, and measures nothing of a GPU.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks._common import Target, argument_parser, finish, show_table
from benchmarks._slices import SLICES_TAR, made_up_slices, real_slices
from benchmarks.trunk import trunk_gflop
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import (
    AnyHeadSpec,
    AttentionHeadSpec,
    LinearHeadSpec,
    MlpHeadSpec,
    apply_head,
    fit_head,
)
from mri_transfer.models.trunks import FLOAT_PRECISIONS, Trunk, TrunkSpec, load_trunk

__all__ = ["main"]

Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]

#: Largest difference from the processor's fp32 features, as a share of the largest feature. bf16
#: has 8 bits of mantissa, and its error grows over ten layers.
TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "bf16": 3e-2}
#: Edge of the square matrices whose product gives the device's rate.
MATRIX_SIZES: dict[Device, int] = {"cuda": 8192, "cpu": 1024}
#: VGG16's blocks up to the default layer.
N_BLOCKS = 4
BATCHES = (32, 128, 512)
HEADS: tuple[AnyHeadSpec, ...] = (
    LinearHeadSpec(),
    MlpHeadSpec(epochs=20),
    AttentionHeadSpec(),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one GPU."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--patients", type=int, default=16, help="whose slices are compared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", type=Path, help="the trunk's released weights")
    parser.add_argument("--random", action="store_true", help="untrained weights will do")
    parser.add_argument("--manifest", type=Path, help="a cohort to run from end to end")
    parser.add_argument("--cache", type=Path, help="cache of that run; an empty one otherwise")
    arguments = parser.parse_args(argv)
    device: Device = arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("benchmarks.gpu: no CUDA device is visible; nothing was measured")
    print(_description(device))
    spec = TrunkSpec(weights="random" if arguments.random else "imagenet")
    slices = _slices(arguments.patients)
    figures: dict[str, Any] = {"device": _description(device)}
    figures["features"] = compare_features(spec, slices, device, weights=arguments.weights)
    figures["trunk"] = measure_trunk(
        spec, slices, device, rounds=arguments.rounds, weights=arguments.weights
    )
    figures["heads"] = compare_heads(device)
    if arguments.manifest is not None:
        figures["run"] = run_cohort(arguments.manifest, device, cache=arguments.cache)
    finish("gpu", out=arguments.out, figures=figures, targets=_targets(figures))


def _description(device: Device) -> str:
    if device == "cpu":
        return f"processor, {torch.get_num_threads()} threads (a rehearsal without a GPU)"
    properties = torch.cuda.get_device_properties(0)
    memory_gib = properties.total_memory / 2**30
    return f"{properties.name}, {memory_gib:.0f} GiB, CUDA {torch.version.cuda}"


def _slices(n_patients: int) -> list[torch.Tensor]:
    """Return the slices of each patient, (32, 224, 224); made up where there are no real ones."""
    if SLICES_TAR.exists():
        return [real_slices(patient, size_px=224) for patient in range(n_patients)]
    return list(made_up_slices(32 * n_patients, size_px=224).split(32))


def compare_features(
    spec: TrunkSpec, slices: Sequence[torch.Tensor], device: Device, *, weights: Path | None
) -> dict[str, float]:
    """Return the largest relative difference of max-pooled features from the processor's fp32."""
    some = slices[:2]
    reference = _features(
        load_trunk(spec, precision="fp32", device="cpu", weights_path=weights), some
    )
    differences = {}
    for precision in TOLERANCES:
        trunk = load_trunk(spec, precision=precision, device=device, weights_path=weights)
        features = _features(trunk, some)
        if not np.array_equal(features, _features(trunk, some)):
            sys.exit(f"benchmarks.gpu: two passes in {precision} differ")
        gap = np.abs(features - reference).max() / np.abs(reference).max()
        differences[precision] = float(gap)
    show_table(
        "Features against the processor's in fp32 (max-pooled, two patients)",
        ["precision", "largest relative difference", "tolerance"],
        [[name, f"{gap:.2e}", f"{TOLERANCES[name]:g}"] for name, gap in differences.items()],
    )
    return differences


def _features(trunk: Trunk, slices: Sequence[torch.Tensor]) -> np.ndarray:
    return np.stack([trunk.forward_slices(part).amax((2, 3)).cpu().numpy() for part in slices])


def measure_trunk(
    spec: TrunkSpec,
    slices: Sequence[torch.Tensor],
    device: Device,
    *,
    rounds: int,
    weights: Path | None,
) -> dict[str, Any]:
    """Time the trunk from the host's memory, copies included, and without copies.

    Returns
    -------
    dict
        By precision: the matrix rate and, by batch, the rates in TFLOP/s and their share of it.
    """
    size_px = slices[0].shape[-1]
    flop = trunk_gflop(size_px, N_BLOCKS) * 1e9
    pixels = torch.cat(list(slices))
    result: dict[str, Any] = {}
    rows = []
    for precision in TOLERANCES:
        trunk = load_trunk(spec, precision=precision, device=device, weights_path=weights)
        matrix = _matrix_rate(precision, device)
        by_batch = {}
        for batch in (size for size in BATCHES if size <= len(pixels)):
            part = pixels[:batch]
            resident = part.to(device)
            seconds = {
                "from host": _seconds(
                    functools.partial(trunk.forward_slices, part), device, rounds
                ),
                "resident": _seconds(functools.partial(_resident, trunk, resident), device, rounds),
            }
            rates = {name: batch * flop / value for name, value in seconds.items()}
            by_batch[batch] = {
                "slices_per_s": batch / seconds["from host"],
                "tflop_per_s": rates["from host"] / 1e12,
                "share_of_matrix_rate": rates["from host"] / matrix,
                "share_without_copies": rates["resident"] / matrix,
            }
            rows.append(
                [
                    precision,
                    str(batch),
                    f"{by_batch[batch]['slices_per_s']:.0f}",
                    f"{rates['from host'] / 1e12:.1f}",
                    f"{matrix / 1e12:.1f}",
                    f"{by_batch[batch]['share_of_matrix_rate']:.2f}",
                    f"{by_batch[batch]['share_without_copies']:.2f}",
                ]
            )
        result[precision] = {"matrix_tflop_per_s": matrix / 1e12, "batches": by_batch}
    show_table(
        f"Trunk to block {N_BLOCKS}, {size_px} px",
        ["precision", "slices", "slices/s", "TFLOP/s", "matrix", "share", "without copies"],
        rows,
    )
    return result


def _resident(trunk: Trunk, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([trunk.network(part) for part in pixels.split(32)])


def _matrix_rate(precision: Precision, device: Device) -> float:
    """Return the rate of a square matrix product, in operations a second."""
    size = MATRIX_SIZES[device]
    a, b = (torch.randn(size, size, device=device).to(FLOAT_PRECISIONS[precision]) for _ in "ab")
    return 2 * size**3 / _seconds(lambda: torch.mm(a, b), device, 10)


def _seconds(work: Callable[[], object], device: Device, rounds: int) -> float:
    """Return the median seconds of a piece of work, after one round that does not count."""
    times = []
    for _ in range(rounds + 1):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def compare_heads(device: Device) -> dict[str, Any]:
    """Fit every head on the device and on the processor, on made-up features of 140 patients."""
    table, labels = _made_up_features(n_patients=140, n_slices=32, n_features=512)
    result, rows = {}, []
    for spec in HEADS:
        scores, seconds = {}, {}
        for place in ("cpu", device):
            start = time.perf_counter()
            head = fit_head(spec, table, labels, seed=0, device=place)
            seconds[place] = time.perf_counter() - start
            output = apply_head(head, table.features)
            scores[place] = (output.logits * output.weights).sum(axis=1)
        correlation = float(np.corrcoef(scores["cpu"], scores[device])[0, 1])
        result[spec.kind] = {"seconds": seconds, "correlation": correlation}
        rows.append(
            [spec.kind, f"{seconds['cpu']:.2f}", f"{seconds[device]:.2f}", f"{correlation:.5f}"]
        )
    show_table(
        "Heads: fitted on the processor and on the device",
        ["head", "processor, s", "device, s", "correlation of the patients' log-odds"],
        rows,
    )
    return result


def _made_up_features(
    *, n_patients: int, n_slices: int, n_features: int
) -> tuple[FeatureTable, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n_patients) % 2
    features = rng.gamma(2.0, 10.0, (n_patients, n_slices, n_features)).astype(np.float32)
    features[labels == 1, :, :20] += 2.0
    names = tuple(f"patient{i:03d}" for i in range(n_patients))
    return (
        FeatureTable(
            scan_ids=names,
            patient_ids=names,
            scan_sha256=("",) * n_patients,
            features=features,
            z_mm=np.zeros((n_patients, n_slices), dtype=np.float32),
        ),
        labels,
    )


def run_cohort(manifest: Path, device: Device, *, cache: Path | None) -> dict[str, Any]:
    """Run a cohort from scans to the audit with features on the device."""
    from pipelines.api import run

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = run(
            manifest,
            Path(folder) / "run",
            settings=[f"features.device={device}", "profile=quick"],
            cache=cache or Path(folder) / "cache",
        )
        seconds = time.perf_counter() - start
        stages = {
            record.stem: float(json.loads(record.read_text())["seconds"])
            for record in sorted((Path(folder) / "run" / "records").glob("*.json"))
        }
        auc = done.evaluation.patient["auc"].model_dump()
    show_table(
        f"A run of {manifest.name}",
        ["stage", "seconds"],
        [*([name, f"{value:.1f}"] for name, value in stages.items()), ["all", f"{seconds:.1f}"]],
    )
    print(f"  patient AUC {auc['value']:.3f} ({auc['ci_low']:.3f} to {auc['ci_high']:.3f})")
    return {"seconds": seconds, "stages": stages, "auc": auc}


def _targets(figures: dict[str, Any]) -> list[Target]:
    bf16 = figures["trunk"]["bf16"]["batches"]
    best = max(batch["share_of_matrix_rate"] for batch in bf16.values())
    limits = [
        Target(
            name=f"{precision} features, relative difference",
            value=gap,
            limit=TOLERANCES[precision],
            at_least=False,
        )
        for precision, gap in figures["features"].items()
    ]
    share = Target(
        name="bf16 trunk, share of the bf16 matrix rate", value=best, limit=0.4, at_least=True
    )
    return [*limits, share]


if __name__ == "__main__":
    main()
