"""FiLM sets of the training domains, each learned on that domain's patients alone.

As in FLUTE the convolutions are shared and frozen, and a domain has a set of FiLM parameters with
a cosine head of its own. A hundred patients cannot train a template of convolutions: the template
is ImageNet's. The heads learn what is known of the patients beside the diagnosis as well, age band
and sex, so that a set rests on more than one bit a patient. Heads are dropped afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import at_most_threads
from mri_transfer.errors import HeadError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.adaptation.blender import Blender, fit_blender, looks_of
from mri_transfer.models.adaptation.film import drawn_slices
from mri_transfer.models.adaptation.settings import DomainSpec
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.models.tails.trainer import rounded

__all__ = [
    "DomainPatients",
    "KnownDomains",
    "age_bands",
    "blended_set",
    "fit_domain_set",
    "learn_domains",
]

IntArray = npt.NDArray[np.int64]
Tensors = dict[str, npt.NDArray[Any]]

#: Where a patient has no value: that task does not count for the patient.
MISSING = -1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DomainPatients:
    """The scans of one training domain, and what its head learns.

    Attributes
    ----------
    activations : ActivationTable
    targets : ndarray of int64, shape (n_scans, n_tasks)
        Class of each scan in each task, -1 where it is not known. The first task is the label.
    n_slices : int
    """

    activations: ActivationTable
    targets: IntArray
    n_slices: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnownDomains:
    """FiLM sets of the training domains, and the blender that weighs them.

    Attributes
    ----------
    sets : mapping of str to mapping of str to ndarray
        By domain.
    blender : Blender
        Of the same domains.
    tuning : TuningSpec
        Of the sets.
    """

    sets: Mapping[str, Tensors]
    blender: Blender
    tuning: TuningSpec

    def blend(self, activations: ActivationTable) -> tuple[Tensors, dict[str, float]]:
        """Return the blended set for the scans of a site, and the blend's weights."""
        weights = self.blender.weights(looks_of(activations))
        return blended_set(self.sets, weights), weights


def learn_domains(
    source: TailSource,
    tuning: TuningSpec,
    domains: Mapping[str, DomainPatients],
    *,
    pooling: str,
    spec: DomainSpec,
    seed: int,
) -> KnownDomains:
    """Learn a FiLM set of each training domain, and the blender.

    Parameters
    ----------
    source : TailSource
    tuning : TuningSpec
        Of method `ssf`.
    domains : mapping of str to DomainPatients
        Two or more.
    pooling : str
    spec : DomainSpec
    seed : int

    Raises
    ------
    HeadError
        If there is one domain only, or a domain has patients of one label only.
    """
    looks = {name: looks_of(one.activations) for name, one in domains.items()}
    labels = {name: one.targets[:, 0] for name, one in domains.items()}
    blender = fit_blender(looks, labels, spec=spec, seed=seed)
    sets = {
        name: fit_domain_set(source, tuning, one, pooling=pooling, spec=spec, seed=seed)
        for name, one in sorted(domains.items())
    }
    return KnownDomains(sets=sets, blender=blender, tuning=tuning)


def age_bands(ages: Sequence[float | None], n_bands: int) -> IntArray:
    """Return the band of each age, from the youngest up; -1 where it is not known.

    Parameters
    ----------
    ages : sequence of float or None
        In years, of all domains, so that a band means the same in each.
    n_bands : int
        With about equally many patients in each.
    """
    years = np.array([np.nan if age is None else age for age in ages], dtype=np.float64)
    known = np.isfinite(years)
    bands = np.full(len(years), MISSING, dtype=np.int64)
    if known.any():
        edges = np.quantile(years[known], np.arange(1, n_bands) / n_bands)
        bands[known] = np.searchsorted(edges, years[known], side="right")
    return bands


class _CosineHead(torch.nn.Module):
    """Cosines to a direction for each class, times a factor that is learned."""

    def __init__(self, n_features: int, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        drawn = torch.randn(n_classes, n_features, generator=generator) / n_features**0.5
        self.directions = torch.nn.Parameter(drawn)
        self.scale = torch.nn.Parameter(torch.tensor(10.0))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        directions = torch.nn.functional.normalize(self.directions, dim=1)
        return self.scale * torch.nn.functional.normalize(rows, dim=1) @ directions.T


def fit_domain_set(
    source: TailSource,
    tuning: TuningSpec,
    patients: DomainPatients,
    *,
    pooling: str,
    spec: DomainSpec,
    seed: int,
) -> Tensors:
    """Learn the FiLM set of one domain.

    Parameters
    ----------
    source : TailSource
    tuning : TuningSpec
        Of method `ssf`.
    patients : DomainPatients
        Of this domain alone.
    pooling : str
    spec : DomainSpec
    seed : int
        Draws batches, slices and the heads' first directions.

    Returns
    -------
    dict of str to ndarray
        By the parameter's name, in half precision.

    Raises
    ------
    HeadError
        If the domain has patients of one label only.
    """
    if len(set(patients.targets[:, 0].tolist())) < 2:
        raise HeadError("a FiLM set needs patients of both labels in its domain")
    rng = np.random.default_rng(seed)
    network = source.start(tuning)
    moved = {name: p for name, p in network.named_parameters() if p.requires_grad}
    identity = {name: p.detach().clone() for name, p in moved.items()}
    pool, scans = PoolMaps(pooling), np.arange(len(patients.targets))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    heads: list[_CosineHead] = []
    optimiser = torch.optim.Adam(moved.values(), lr=spec.learning_rate)
    with at_most_threads(1):
        for _ in range(spec.epochs):
            order = rng.permutation(scans)
            for part in np.array_split(order, -(-len(order) // spec.batch_scans)):
                rows = _features(source, network, pool, patients, part, spec, rng)
                if not heads:
                    heads = _heads(rows.shape[1], patients.targets, generator)
                    own = [p for head in heads for p in head.parameters()]
                    optimiser.add_param_group({"params": own, "lr": spec.head_learning_rate})
                loss = _loss(heads, rows, patients.targets[part])
                away = [(p - identity[name]).square().sum() for name, p in moved.items()]
                loss = loss + 0.5 * spec.towards_identity * torch.stack(away).sum()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    return {name: rounded(p.detach()) for name, p in moved.items()}


def _features(
    source: TailSource,
    network: torch.nn.Module,
    pool: PoolMaps,
    patients: DomainPatients,
    scans: IntArray,
    spec: DomainSpec,
    rng: np.random.Generator,
) -> torch.Tensor:
    per_scan = min(spec.slices_per_scan, patients.n_slices)
    drawn = drawn_slices(rng, len(scans), per_scan, patients.n_slices)
    kept = torch.cat(
        [
            patients.activations.read(int(scan), slices)
            for scan, slices in zip(scans, drawn, strict=True)
        ]
    )
    with source.autocast():
        maps = network.resume(kept.to(source.device))  # type: ignore[operator]
    features: torch.Tensor = pool(maps.float()).view(len(scans), per_scan, -1).mean(1)
    return features


def _heads(n_features: int, targets: IntArray, generator: torch.Generator) -> list[_CosineHead]:
    return [
        _CosineHead(n_features, max(int(column.max()) + 1, 2), generator) for column in targets.T
    ]


def _loss(heads: list[_CosineHead], rows: torch.Tensor, targets: IntArray) -> torch.Tensor:
    losses = [
        torch.nn.functional.cross_entropy(
            head(rows), torch.from_numpy(column), ignore_index=MISSING, reduction="sum"
        )
        / max(int((column != MISSING).sum()), 1)
        for head, column in zip(heads, targets.T, strict=True)
    ]
    return torch.stack(losses).mean()


def blended_set(sets: Mapping[str, Tensors], weights: Mapping[str, float]) -> Tensors:
    """Return the weighted mean of sets.

    Parameters
    ----------
    sets : mapping of str to mapping of str to ndarray
        By domain, all with the same names.
    weights : mapping of str to float
        By domain; they sum to 1.
    """
    if set(weights) != set(sets) or abs(sum(weights.values()) - 1.0) > 1e-6:
        raise ValueError("a weight for each set is needed, and they must sum to 1")
    names = sorted(next(iter(sets.values())))
    return {
        name: np.sum(
            [weights[d] * np.asarray(sets[d][name], dtype=np.float64) for d in sorted(sets)], axis=0
        ).astype(np.float32)
        for name in names
    }
