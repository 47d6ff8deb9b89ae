"""What testing on another cohort is told: the finished model, the cohort, and how to test."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.evaluation.external.results import CaseMix
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.task import Task

__all__ = ["ExternalSpec", "ModelFacts", "NewCohort"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExternalSpec:
    """How a model is tested on another cohort."""

    threshold: Literal["bundle", "rechosen"] = "bundle"
    """Which calls the figures are of: by the threshold the bundle brings, or by thresholds that
    parts of the cohort choose for the rest of it."""
    allow_overlap: bool = False
    """Whether patients who were trained on count; the figures are then no test."""
    seed: int = 0
    """Of resampling and of folds inside the cohort."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelFacts:
    """What a finished model says of itself, checked as it comes out of a bundle's JSON.

    Attributes
    ----------
    version, digest : str
    task : Task
    threshold : float
    choices : mapping
        The head's facts: procedure, recalibration, target_thresholds and others.
    performance : mapping of str to Estimate
        Figures of internal testing by name, as in `evaluation.json`.
    performance_from : str
        How they were measured.
    case_mix : CaseMix or None
        Of the development patients.
    n_patients : int
        Development patients.
    trunk_weights : {"imagenet", "scans", "random"}
    synthetic : bool
        Whether any of the development patients was made by software.
    """

    version: str
    digest: str
    task: Task
    threshold: float
    choices: Mapping[str, Any]
    performance: Mapping[str, Estimate]
    performance_from: str
    case_mix: CaseMix | None
    n_patients: int
    trunk_weights: Literal["imagenet", "scans", "random"]
    synthetic: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NewCohort:
    """The cohort that a model is tested on.

    Attributes
    ----------
    scores : DataFrame
        As `predictions/patients.csv`, one repeat and one fold.
    slice_scores : DataFrame
    patients : DataFrame
        Indexed by patient_id; `label` is the positive or the negative one.
    overlapping : collection of str
        Patients who were trained on.
    faults : mapping of str to sequence of str
        What keeps a patient outside the input contract, as short names of checks; patients
        without an entry are inside.
    contract_known : bool
        Whether inputs were judged at all.
    synthetic : bool
    moments_adapted : bool
        Whether unlabelled scans of this cohort gave the trunk its moments of normalisation.
    """

    scores: pd.DataFrame
    slice_scores: pd.DataFrame
    patients: pd.DataFrame
    overlapping: Collection[str] = ()
    faults: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    contract_known: bool = True
    synthetic: bool = False
    moments_adapted: bool = False

    def only(self, patient_ids: Collection[str]) -> NewCohort:
        """Return the cohort of some patients."""
        wanted = set(patient_ids)
        return dataclasses.replace(
            self,
            scores=self.scores[self.scores["patient_id"].isin(wanted)],
            slice_scores=self.slice_scores[self.slice_scores["patient_id"].isin(wanted)],
            patients=self.patients[self.patients.index.isin(wanted)],
        )
