"""What a trunk and the training of its stages cost: operations counted, rates measured.

Operations are counted on shapes alone. Rates are measured on this machine with a few slices, so
that an estimate holds for its processor or GPU and precision.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Mapping

import torch
from torch.utils.flop_counter import FlopCounterMode

from mri_transfer.models.tails.spec import TuningSpec, frozen_stages
from mri_transfer.models.trunks import TRUNKS, Trunk, TrunkSpec

__all__ = ["Rates", "estimated_seconds", "measure_rates", "stage_gflop"]

#: Slices that a rate is measured with.
_SLICES = 8
#: A pass forwards and backwards costs about three passes forwards.
_TRAINING_PASSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast this machine computes a trunk, in GFLOP/s.

    Attributes
    ----------
    forward : float
        Of features.
    training : float
        Of passes forwards and backwards.
    """

    forward: float
    training: float


def stage_gflop(spec: TrunkSpec, *, size_px: int) -> dict[str, float]:
    """Return the GFLOP of each stage up to the one that is read out, for one slice.

    A multiplication with its addition counts as two operations.
    """
    entry = TRUNKS[spec.name]
    x = torch.empty(1, 3, size_px, size_px, device="meta")
    cost = {}
    with torch.inference_mode():
        for name, stage in entry.architecture().eval().named_children():
            with FlopCounterMode(display=False) as counter:
                x = stage(x)
            cost[name] = counter.get_total_flops() / 1e9
            if name == spec.layer:
                break
    return cost


def measure_rates(trunk: Trunk, *, size_px: int) -> Rates:
    """Measure the rates of a trunk on slices of a size; it takes some seconds."""
    n_gflop = _SLICES * sum(stage_gflop(trunk.spec, size_px=size_px).values())
    pixels = torch.randint(0, 256, (_SLICES, size_px, size_px), dtype=torch.uint8)
    network = copy.deepcopy(trunk.network).requires_grad_(True)

    def train() -> None:
        maps: torch.Tensor = network(pixels.to(trunk.device))
        maps.sum().backward()  # type: ignore[no-untyped-call]

    return Rates(
        forward=n_gflop / _seconds(lambda: trunk.forward_slices(pixels), trunk),
        training=_TRAINING_PASSES * n_gflop / _seconds(train, trunk),
    )


def _seconds(work: Callable[[], object], trunk: Trunk) -> float:
    work()
    start = time.perf_counter()
    work()
    if trunk.device == "cuda":
        torch.cuda.synchronize()
    return max(time.perf_counter() - start, 1e-6)


def estimated_seconds(
    gflop: Mapping[str, float],
    tuning: TuningSpec,
    rates: Rates,
    *,
    n_scans: int,
    n_slices: int,
    n_folds: int,
    n_repeats: int,
) -> float:
    """Return about how long features and training take, caches being empty.

    Parameters
    ----------
    gflop : mapping of str to float
        Of `stage_gflop`.
    tuning : TuningSpec
    rates : Rates
    n_scans, n_slices : int
        Scans of the cohort, slices of each.
    n_folds, n_repeats : int
        Of the cross-validation.
    """
    stages = list(gflop)
    n_frozen = frozen_stages(tuning.strategy, stages)
    features = n_scans * n_slices * sum(gflop.values()) / rates.forward
    if not tuning.trains:
        return features
    tail = sum(gflop[name] for name in stages[n_frozen:])
    training_scans = n_scans * (n_folds - 1) / n_folds
    # An inner fit for each inner fold on the others, then one on all training patients.
    passes = (tuning.inner_folds - 1) + 1
    slices = min(tuning.slices_per_scan, n_slices)
    trained = passes * tuning.epochs * training_scans * slices * _TRAINING_PASSES * tail
    # Watched patients are scored after each epoch by as many slices; at last every scan passes
    # once with all of them.
    watched = tuning.epochs * training_scans * slices * tail + n_scans * n_slices * tail
    seconds = trained / rates.training + watched / rates.forward
    return float(features + n_folds * n_repeats * seconds)
