"""The blender: which training domains the unlabelled scans of a site look like.

A set encoder (Zaheer et al. 2017, NeurIPS): each patient passes a layer, the mean over patients
another one that ends in a weight for each domain. The set is one of patients, not of slices: the
slices of one head say one thing about the scanner. FLUTE's encoder begins with five convolutions of
its own. Here mean and deviation of each channel behind the frozen prefix stand for them, since a
hundred patients cannot train convolutions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import at_most_threads
from mri_transfer.errors import HeadError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.adaptation.settings import DomainSpec

__all__ = ["Blender", "fit_blender", "looks_of"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: Sizes of the sets that the blender learns from.
_FEWEST, _MOST = 2, 16


def looks_of(activations: ActivationTable) -> FloatArray:
    """Return mean and deviation of each channel at the cut, shape (n_scans, 2 n_channels).

    Parameters
    ----------
    activations : ActivationTable
        Maps, not slices: some stage must be frozen.

    Raises
    ------
    HeadError
        If the cut lies in front of the first stage.
    """
    found = []
    for scan in range(len(activations.files)):
        maps = activations.read(scan)
        if maps.ndim != 4:
            raise HeadError("the blender needs maps of frozen stages", found="slices")
        flat = maps.float().transpose(0, 1).flatten(1)
        found.append(torch.cat([flat.mean(1), flat.std(1)]).numpy())
    return np.stack(found)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Blender:
    """A fitted blender.

    Attributes
    ----------
    domains : tuple of str
    network : Module
    centre, deviation : Tensor, shape (2 n_channels,)
        Of the training patients' looks.
    """

    domains: tuple[str, ...]
    network: torch.nn.Module
    centre: torch.Tensor
    deviation: torch.Tensor

    def weights(self, looks: FloatArray) -> dict[str, float]:
        """Return a weight for each domain, which sum to 1. No label is read.

        Parameters
        ----------
        looks : ndarray of float32, shape (n_patients, 2 n_channels)
            Of the patients of one site.
        """
        given = (torch.from_numpy(looks) - self.centre) / self.deviation
        with torch.inference_mode():
            found = torch.softmax(self.network(given[None])[0].double(), 0).tolist()
        return dict(zip(self.domains, found, strict=True))


class _SetEncoder(torch.nn.Module):
    def __init__(
        self, n_inputs: int, width: int, n_domains: int, generator: torch.Generator
    ) -> None:
        super().__init__()

        def layer(given: int, made: int) -> torch.nn.Module:
            linear = torch.nn.Linear(given, made, device="meta").to_empty(device="cpu")
            with torch.no_grad():
                linear.weight.normal_(std=given**-0.5, generator=generator)
                linear.bias.zero_()
            return linear

        self.each = torch.nn.Sequential(layer(n_inputs, width), torch.nn.ReLU())
        self.joined = torch.nn.Sequential(
            layer(width, width), torch.nn.ReLU(), layer(width, n_domains)
        )

    def forward(self, sets: torch.Tensor) -> torch.Tensor:
        """Return log-odds (n_sets, n_domains) of sets (n_sets, n_patients, n_inputs)."""
        joined: torch.Tensor = self.joined(self.each(sets).mean(1))
        return joined


def fit_blender(
    looks: Mapping[str, FloatArray], labels: Mapping[str, IntArray], *, spec: DomainSpec, seed: int
) -> Blender:
    """Learn to name the domain of sets of its patients.

    Each set holds as many patients of one label as of the other, so that a domain cannot be told
    by its prevalence.

    Parameters
    ----------
    looks : mapping of str to ndarray, shape (n_patients, 2 n_channels)
        By domain; of `looks_of`.
    labels : mapping of str to ndarray of {0, 1}, shape (n_patients,)
        By domain; for balancing alone.
    spec : DomainSpec
    seed : int
        Draws first weights and sets.

    Raises
    ------
    HeadError
        If there is one domain only, or a domain lacks a label.
    """
    domains = tuple(sorted(looks))
    lacking = [d for d in domains if set(labels[d].tolist()) != {0, 1}]
    if len(domains) < 2 or lacking:
        raise HeadError(
            "a blender needs two domains or more, with patients of both labels in each",
            found=f"{len(domains)} domains; one label in {', '.join(lacking) or 'none'}",
        )
    rng = np.random.default_rng(seed)
    stacked = torch.from_numpy(np.concatenate([looks[d] for d in domains]))
    centre, deviation = stacked.mean(0), stacked.std(0).clamp(min=1e-6)
    scaled = {d: (torch.from_numpy(looks[d]) - centre) / deviation for d in domains}
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    network = _SetEncoder(stacked.shape[1], spec.blender_width, len(domains), generator)
    optimiser = torch.optim.Adam(network.parameters(), lr=spec.blender_learning_rate)
    targets = torch.arange(len(domains))
    with at_most_threads(1):
        for _ in range(spec.blender_steps):
            half = int(rng.integers(_FEWEST, _MOST + 1)) // 2
            sets = [scaled[d][_balanced(rng, labels[d], half)] for d in domains]
            loss = torch.nn.functional.cross_entropy(network(torch.stack(sets)), targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.requires_grad_(False)
    return Blender(domains=domains, network=network, centre=centre, deviation=deviation)


def _balanced(rng: np.random.Generator, labels: IntArray, half: int) -> IntArray:
    """Draw as many patients of each label, with replacement."""
    return np.concatenate(
        [rng.choice(np.flatnonzero(labels == label), size=half) for label in (0, 1)]
    )
