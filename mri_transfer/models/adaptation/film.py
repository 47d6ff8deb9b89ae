"""A few gradient steps on few parameters of the last stages: FiLM, or adapters beside kernels.

FiLM (Perez et al. 2018, AAAI) gives each channel a factor and an offset. Convolutions stay as they
are. FLUTE (Triantafillou et al. 2021, ICML) starts a new domain from a weighted mean of the sets
of known domains, and moves it by six steps. With normalisation absent from VGG16, FiLM sits behind
each convolution, where it is the same as `scale and shift` of a tail; the set that changes nothing
is that of ImageNet, on which the trunk was trained.

Arithmetic is that of a tail, by one thread, so that an adapted set has the same bytes on any
number of cores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import at_most_threads
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.adaptation.objectives import Objective
from mri_transfer.models.adaptation.settings import StepsSpec
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.trainer import rounded

__all__ = ["StepsFit", "drawn_slices", "fit_steps", "random_set"]

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StepsFit:
    """A tail after a few steps.

    Attributes
    ----------
    tail : Tail
        In half precision, as it is stored.
    losses : tuple of float
        Before each step.
    n_parameters : int
        That moved.
    distances : mapping of str to float
        How far each stage's parameters went, over the norm of their start; the distance itself
        where the start is zero.
    """

    tail: Tail
    losses: tuple[float, ...]
    n_parameters: int
    distances: Mapping[str, float]


def fit_steps(
    source: TailSource,
    tuning: TuningSpec,
    activations: ActivationTable,
    objective: Objective,
    *,
    pooling: str,
    n_slices: int,
    spec: StepsSpec,
    seed: int,
    start: Tensors | None = None,
) -> StepsFit:
    """Move the parameters that `tuning.method` adds, from a start, down an objective.

    Parameters
    ----------
    source : TailSource
    tuning : TuningSpec
        Its method, `ssf` or `parallel`.
    activations : ActivationTable
        Of the labelled patients' scans.
    objective : callable
        Of all these scans.
    pooling : str
    n_slices : int
        Of every scan.
    spec : StepsSpec
    seed : int
        Draws slices, and first factors of `parallel`.
    start : mapping of str to ndarray, optional
        A set to start from; by default the one that changes nothing.
    """
    rng = np.random.default_rng(seed)
    network = source.start(tuning, seed=int(rng.integers(2**31)))
    moved = {name: p for name, p in network.named_parameters() if p.requires_grad}
    for name, values in (start or {}).items():
        moved[name].data.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
    begin = {name: p.detach().clone() for name, p in moved.items()}
    optimiser = torch.optim.Adam(moved.values(), lr=spec.learning_rate)
    pool, losses = PoolMaps(pooling), []
    n_scans, per_scan = len(activations.files), min(spec.slices_per_scan, n_slices)
    with at_most_threads(1):
        for _ in range(spec.steps):
            drawn = drawn_slices(rng, n_scans, per_scan, n_slices)
            kept = torch.cat([activations.read(i, drawn[i]) for i in range(n_scans)])
            with source.autocast():
                maps = network.resume(kept.to(source.device))
            features = pool(maps.float()).view(n_scans, per_scan, -1)
            loss = objective(features, torch.from_numpy(drawn))
            losses.append(float(loss.detach()))
            away = [(p - begin[name]).square().sum() for name, p in moved.items()]
            whole = loss + 0.5 * spec.towards_start * torch.stack(away).sum()
            optimiser.zero_grad(set_to_none=True)
            whole.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    tensors = {name: rounded(p.detach()) for name, p in moved.items()}
    return StepsFit(
        tail=Tail(
            tensors=tensors,
            spec=tuning,
            cut=source.cut,
            weights_digest=source.weights_digest,
            source=source,
        ),
        losses=tuple(losses),
        n_parameters=sum(p.numel() for p in moved.values()),
        distances={stage: _distance(begin, moved, f"tail.{stage}.") for stage in source.stages},
    )


def _distance(
    begin: Mapping[str, torch.Tensor], moved: Mapping[str, torch.Tensor], stage: str
) -> float:
    names = [name for name in begin if name.startswith(stage)]
    gone = sum(float((moved[n].detach() - begin[n]).double().square().sum()) for n in names)
    size = sum(float(begin[n].double().square().sum()) for n in names)
    return float(gone**0.5 / (size**0.5 or 1.0))


def drawn_slices(
    rng: np.random.Generator, n_scans: int, per_scan: int, n_slices: int
) -> npt.NDArray[np.int64]:
    """Draw slices of scans, one from each part of equal height, shape (n_scans, per_scan)."""
    edges = np.arange(per_scan + 1, dtype=np.int64) * n_slices // per_scan
    drawn: npt.NDArray[np.int64] = rng.integers(edges[:-1], edges[1:], size=(n_scans, per_scan))
    return drawn


def random_set(known: Mapping[str, Tensors], *, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Draw a set that is as far from the one that changes nothing as known sets are: a control.

    Every known set's deviations are shuffled over the channels of a layer.

    Parameters
    ----------
    known : mapping of str to mapping of str to ndarray
        Sets by domain, all with the same names.
    seed : int
    """
    rng = np.random.default_rng(seed)
    domains = sorted(known)
    one = known[domains[int(rng.integers(len(domains)))]]
    return {name: rng.permutation(np.asarray(one[name])) for name in sorted(one)}
