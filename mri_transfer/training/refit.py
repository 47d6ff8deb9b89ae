"""Refitting the evaluated procedure on every patient, and its heads on resampled patients.

Cross-validation evaluates a procedure, and a bundle holds what that procedure fits to all
patients. Nothing of the outer folds enters, least of all their best head: search, recalibration
and threshold run once more, inside all patients, by the engine that ran them inside the training
patients of an outer fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.metrics.intervals import resample_patients
from mri_transfer.models.recalibration import fit_recalibration
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.engine import fit_folds
from mri_transfer.training.estimator import configured_estimator
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import OuterFold, derive_seed
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.one_fit import fit_model
from mri_transfer.training.tuning import TailPlan, tuned_features

__all__ = [
    "BootstrapHeads",
    "BootstrapSpec",
    "Refit",
    "bootstrap_heads",
    "refit_on_all",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BootstrapSpec:
    """Heads that say how far a score depends on who happened to be in the cohort."""

    n_heads: int = Field(default=20, ge=2)
    """Heads fitted on resamples of the patients."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Of the interval around a patient's score."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Refit:
    """The head of all patients.

    Attributes
    ----------
    trained : FittedModel
        Its record holds hyperparameters, recalibration and thresholds, and names no patient.
    inner : ndarray of float64, shape (n_patients,) or (0,)
        Each patient's score before recalibration by an inner head that had not seen that patient,
        in the order of the cohort's `patient_ids`; empty where nothing was chosen.
    place : (int, int)
        What the seeds were derived from.
    """

    trained: FittedModel
    inner: FloatArray
    place: tuple[int, int]

    def on_features(self, cohort: LabelledFeatures) -> tuple[Refit, LabelledFeatures]:
        """Return the refit without its tail, and the cohort with the features of that tail.

        Heads, contract and reference of a bundle rest on these. Both are as they were where no
        tail was trained.

        Parameters
        ----------
        cohort : LabelledFeatures
        """
        tail = self.trained.tail
        if tail is None:
            return self, cohort
        bare = dataclasses.replace(self, trained=self.trained.on_features)
        return bare, tuned_features(cohort, tail)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BootstrapHeads:
    """Heads of resampled patients, and why some could not be fitted."""

    heads: tuple[FittedModel, ...]
    faults: tuple[str, ...] = ()


def refit_on_all(
    config: ModelConfig,
    cohort: LabelledFeatures,
    *,
    tail: TailPlan | None = None,
    place: tuple[int, int] = (0, 0),
    progress: Callable[[int, int], None] | None = None,
) -> Refit:
    """Fit what was evaluated to all patients of a cohort.

    Parameters
    ----------
    config : ModelConfig
    cohort : LabelledFeatures
        With the features of every pooling that the search may choose.
    tail : TailPlan, optional
        What is trained behind the cut, and from where; needed if the configuration trains a tail.
    place : (int, int)
        Repeat and fold that seeds are derived from. On the training patients of an outer fold,
        with that fold's place, the head is that fold's byte by byte.
    progress : callable, optional
        Called with the number of heads fitted and the number in all.

    Raises
    ------
    HeadError, FoldError
        If the cohort cannot support what is asked for.
    ConfigurationError
        If the configuration harmonises and the cohort has no covariates, or it trains a tail and
        what that starts from or the activations at the cut are missing.
    """
    if config.tuning.trains and tail is None:
        raise ConfigurationError(
            "the model trains a tail, and what it starts from is not known",
            where="tuning.strategy",
            found=config.tuning.strategy,
        )
    everybody = OuterFold(
        repeat=place[0],
        fold=place[1],
        train=np.arange(len(cohort.patient_ids)),
        test=np.zeros(0, dtype=np.int64),
    )
    (result,) = fit_folds(
        configured_estimator(config, tail=tail),
        cohort,
        [everybody],
        seed=config.seed,
        progress=progress,
    )
    model = result.fit.model
    return Refit(
        trained=model.with_record(model.record.nameless),
        inner=result.fit.inner_scores,
        place=place,
    )


def bootstrap_heads(
    config: ModelConfig, cohort: LabelledFeatures, refit: Refit, *, spec: BootstrapSpec
) -> BootstrapHeads:
    """Fit the chosen procedure on resamples of the patients, drawn inside each label.

    Harmonisation and recalibration are learned anew on every resample, the latter from the inner
    scores of the patients drawn; procedure and threshold stay. How far the heads disagree about
    a patient tells how much the score depends on the sample (Efron and Tibshirani 1993, ch. 6).

    Parameters
    ----------
    config : ModelConfig
    cohort : LabelledFeatures
        That of `refit`; where a tail was trained both as `Refit.on_features` gives them, since a
        resample has a head of its own and no tail.
    refit : Refit
    spec : BootstrapSpec

    Returns
    -------
    BootstrapHeads
        A resample without a head, such as one with too few patients of a site, is among the
        faults.
    """
    record, labels = refit.trained.record, cohort.is_positive
    # Nothing is chosen again: what was chosen of all patients is fitted as it is.
    estimator = configured_estimator(config).with_hyperparameters(record.hyperparameters)
    bare = estimator.without_choices()
    rng = np.random.default_rng(derive_seed(config.seed, *refit.place, 3))
    draws = resample_patients(labels, n_samples=spec.n_heads, rng=rng)
    heads, faults = [], []
    for number, draw in enumerate(draws):
        drawn = cohort.resampled(draw)
        request = bare.request(seed=config.seed, place=(*refit.place, 4, number))
        try:
            fitted = fit_model(drawn.view(drawn.labels), request).model
        except HeadError as error:
            faults.append(f"resample {number}: {error}")
            continue
        recalibration = record.recalibration
        if len(refit.inner):
            recalibration = fit_recalibration(recalibration.method, labels[draw], refit.inner[draw])
        own = dataclasses.replace(record.essential, recalibration=recalibration)
        heads.append(dataclasses.replace(fitted, fold=number).with_record(own))
    return BootstrapHeads(heads=tuple(heads), faults=tuple(faults))
