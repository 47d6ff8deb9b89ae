"""Updating a head with new patients, without the patients it was fitted on.

`recalibrated` leaves the head alone and learns anew what its score means, and where to cut it.
`warmed` also moves a linear head, starting from where it is: the update is a linear head of its
own, fitted on the new patients with the old head's log-odds as an offset and with the same
penalty, so that with few patients it stays near the old head (the idea of adaptive support vector
machines, Yang, Yan and Hauptmann 2007, ACM Multimedia 188-197, for logistic regression).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mri_transfer.core.grouping import positions_by_name
from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.metrics.intervals import resample_patients
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import Head, LinearHeadSpec, apply_head
from mri_transfer.models.heads.linear_fit import patient_rows, solve_rows, zone_of_slices
from mri_transfer.models.recalibration import fit_recalibration
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.decision import decide
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.folds import derive_seed, inner_folds
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import BootstrapHeads, Refit

__all__ = ["bootstrap_updates", "moved", "recalibrated", "warmed"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def recalibrated(config: ModelConfig, trained: FittedModel, cohort: LabelledFeatures) -> Refit:
    """Learn recalibration and threshold of a head anew, on patients it has not seen.

    Parameters
    ----------
    config : ModelConfig
        Where it recalibrates by nothing, Platt's method may replace that here.
    trained : FittedModel
    cohort : LabelledFeatures
        The new patients.
    """
    return _decided(config, trained, cohort, patient_scores(trained, cohort, recalibrated=False))


def warmed(config: ModelConfig, trained: FittedModel, cohort: LabelledFeatures) -> Refit:
    """Move a linear head to fit new patients, starting from where it is.

    Recalibration and threshold come from inner folds of the new patients: each is scored by an
    update that had not seen that patient.

    Parameters
    ----------
    config : ModelConfig
    trained : FittedModel
        With a linear head.
    cohort : LabelledFeatures
        The new patients.

    Raises
    ------
    ConfigurationError
        If the head is not linear.
    """
    assignment = _inner(config, cohort)
    names = np.array(cohort.patient_ids, dtype=object)
    scores = np.empty(len(names))
    for fold in np.unique(assignment):
        held = assignment == fold
        update = moved(trained, cohort.view(names[~held]))
        scores[held] = patient_scores(update, cohort.only(names[held]), recalibrated=False)
    return _decided(config, moved(trained, cohort.view(names)), cohort, scores)


def bootstrap_updates(
    config: ModelConfig,
    parents: tuple[FittedModel, ...],
    cohort: LabelledFeatures,
    refit: Refit,
    *,
    warm: bool,
) -> BootstrapHeads:
    """Update each bootstrap head of the old bundle on a resample of the new patients.

    Parameters
    ----------
    config : ModelConfig
    parents : tuple of FittedModel
        The old bundle's bootstrap heads.
    cohort : LabelledFeatures
        The new patients.
    refit : Refit
        What `recalibrated` or `warmed` made of the old bundle's final head.
    warm : bool
        Whether the heads are moved as well.
    """
    labels = cohort.is_positive
    rng = np.random.default_rng(derive_seed(config.seed, *refit.place, 5))
    draws = resample_patients(labels, n_samples=len(parents), rng=rng)
    record, heads, faults = refit.trained.record, [], []
    for number, (parent, draw) in enumerate(zip(parents, draws, strict=True)):
        drawn = cohort.resampled(draw)
        try:
            head = moved(parent, drawn.view(drawn.labels)) if warm else parent
            # A moved head knows the patients drawn; what held-out patients score stands for it.
            raw = refit.inner if warm else patient_scores(parent, cohort, recalibrated=False)
            learned = fit_recalibration(record.recalibration.method, labels[draw], raw[draw])
        except HeadError as error:
            faults.append(f"head {number}: {error}")
            continue
        own = dataclasses.replace(record.essential, recalibration=learned)
        heads.append(head.with_record(own))
    return BootstrapHeads(heads=tuple(heads), faults=tuple(faults))


def _inner(config: ModelConfig, cohort: LabelledFeatures) -> IntArray:
    return inner_folds(
        cohort.is_positive,
        n_folds=config.folds.n_inner_folds,
        seed=derive_seed(config.seed, 6) % 2**32,
    )


def _decided(
    config: ModelConfig, trained: FittedModel, cohort: LabelledFeatures, raw: FloatArray
) -> Refit:
    """Choose recalibration and thresholds on scores of patients that the head had not seen."""
    methods = config.predictions.recalibration
    decision = decide(
        config.predictions,
        cohort.is_positive,
        raw,
        _inner(config, cohort),
        whose="scores of new patients that the head had not seen",
        methods=methods if methods != ("none",) else ("none", "platt"),
    )
    record = dataclasses.replace(trained.record, trials=[], **vars(decision))
    return Refit(trained=trained.with_record(record), inner=raw, place=(0, 0))


def moved(trained: FittedModel, view: TrainingView) -> FittedModel:
    """Return the model, with a linear head of the patients of a view added to its own.

    Parameters
    ----------
    trained : FittedModel
        With a linear head.
    view : TrainingView

    Raises
    ------
    ConfigurationError
        If the head is not linear.
    """
    spec = trained.record.hyperparameters.head
    if not isinstance(spec, LinearHeadSpec):
        raise ConfigurationError(
            "a warm start is defined for the linear head alone",
            found=f"a head of kind {spec.kind}",
            remedy="Choose --mode recalibrate, or refit with --run",
        )
    table = _harmonised(trained, view)
    old = trained.head.tensors
    zones = len(old["weight"])
    rows, values = patient_rows(table, view.scan_is_positive, view.slices, zones=zones)
    offsets = _offsets(trained.head, table)
    n_slices = table.features.shape[1]
    raw, intercept = solve_rows(rows, values, spec, n_slices=n_slices, offsets=offsets)
    zone = zone_of_slices(n_slices, zones)
    heights = _slice_means(table)
    tensors = {
        "weight": (old["weight"] + raw).astype(np.float32),
        # An average slice of each height says the same: its height must not show in its score.
        "bias": (old["bias"] + intercept - (raw[zone] * heights).sum(axis=1)).astype(np.float32),
    }
    head = Head(kind="linear", tensors=tensors, facts=trained.head.facts)
    return dataclasses.replace(trained, head=head)


def _harmonised(trained: FittedModel, view: TrainingView) -> FeatureTable:
    """Return the features that the head reads."""
    table, known = view.tables[trained.pooling], trained.with_covariates(view.covariates)
    if trained.harmoniser is None:
        return table
    if known.harmoniser is None:
        raise HeadError("the head harmonises sites, and those of the cohort are not known")
    features = known.harmoniser.apply(table.features, table.patient_ids)
    return dataclasses.replace(table, features=features)


def _offsets(head: Head, table: FeatureTable) -> FloatArray:
    """Return the old head's log-odds of each patient, in the order of `patient_rows`."""
    scans = apply_head(head, table.features).logits.astype(np.float64).mean(axis=1)
    members = positions_by_name(table.patient_ids).values()
    return np.array([scans[own].mean() for own in members])


def _slice_means(table: FeatureTable) -> FloatArray:
    """Average the patients' features at each slice position, (n_slices, n_features)."""
    members = positions_by_name(table.patient_ids).values()
    sums: FloatArray = np.zeros(table.features.shape[1:])
    for own in members:
        sums += table.features[own].mean(axis=0, dtype=np.float64)
    return sums / len(members)
