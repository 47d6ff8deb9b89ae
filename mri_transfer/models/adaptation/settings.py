"""Settings of adaptation. They need no torch."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT

__all__ = ["AdaptationSpec", "DomainSpec", "StepsSpec"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StepsSpec:
    """A few gradient steps on all labelled patients of a site at once (Adam)."""

    steps: int = Field(default=6, ge=1)
    learning_rate: float = Field(default=0.005, gt=0)
    slices_per_scan: int = Field(default=4, ge=1)
    """Drawn anew in each step, one from each of so many parts of equal height."""
    towards_start: float = Field(default=0.01, ge=0)
    """Weight of half the squared distance from the starting values in the loss."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DomainSpec:
    """How FiLM sets of training domains, and the blender of sets, are learned."""

    epochs: int = Field(default=8, ge=1)
    batch_scans: int = Field(default=8, ge=2)
    slices_per_scan: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=0.001, gt=0)
    head_learning_rate: float = Field(default=0.01, gt=0)
    towards_identity: float = Field(default=1e-4, ge=0)
    """Decay of scales towards 1 and of shifts towards 0."""
    age_bands: int = Field(default=3, ge=2)
    """Bands of age with equally many patients, that a domain's head learns besides the label."""
    blender_steps: int = Field(default=400, ge=1)
    blender_learning_rate: float = Field(default=1e-3, gt=0)
    blender_width: int = Field(default=64, ge=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaptationSpec:
    """How a bundle is adapted to a site."""

    film: StepsSpec = Field(default_factory=StepsSpec)
    """Of FiLM parameters and of adapters beside convolutions."""
    domains: DomainSpec = Field(default_factory=DomainSpec)
    projection_rank: int = Field(default=8, ge=1)
    """Of what the projection of features adds to the identity."""
    projection_steps: int = Field(default=40, ge=1)
    projection_learning_rate: float = Field(default=0.01, gt=0)
    adapter_rank: int = Field(default=3, ge=1)
    """Of adapters beside convolutions."""
    cosine_scale: float = Field(default=10.0, gt=0)
    """What differences of cosines to classes' centroids are multiplied by."""
    slope_deviation: float = Field(default=0.5, gt=0)
    intercept_deviation: float = Field(default=1.0, gt=0)
    """Standard deviations of the normal priors around slope 1 and intercept 0, in log-odds: few
    patients may not turn a score round."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Level at which a way must be better than the unchanged bundle, all ways together."""
