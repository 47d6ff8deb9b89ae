"""Refitting the evaluated procedure on every patient, and its heads on resampled patients.

Cross-validation says how good a *way of making heads* is. What leaves the study is the head that
this way makes of all patients. So nothing of the outer folds enters it, their best head least of
all: the search, the recalibration and the threshold are run once more, inside all patients, by
the very code that ran them inside the training patients of an outer fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.metrics.intervals import resample_patients
from mri_transfer.models.heads import Fit, fit_heads
from mri_transfer.models.recalibration import Recalibration, fit_recalibration
from mri_transfer.training.cross_validation import cross_validate, derive_seed
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel, Harmoniser
from mri_transfer.training.folds import Folds, OuterFold
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.search import Hyperparameters, SearchSpec

__all__ = [
    "BootstrapHeads",
    "BootstrapSpec",
    "Refit",
    "bootstrap_heads",
    "refit_on_all",
    "with_facts",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: What a head's description must not carry out of the hospital.
_PRIVATE = ("training_patients", "training_scans", "repeat", "fold")


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
        Its facts hold procedure, recalibration and thresholds, and name no patient.
    inner : ndarray of float64, shape (n_patients,) or (0,)
        Each patient's score before recalibration by an inner head that had not seen that patient,
        in the order of the cohort's `patient_ids`; empty where nothing was chosen.
    place : (int, int)
        What the seeds were derived from.
    """

    trained: FittedModel
    inner: FloatArray
    place: tuple[int, int]

    @property
    def procedure(self) -> Hyperparameters:
        """What the search found, or what was configured."""
        return Hyperparameters.from_dict(self.trained.head.facts["procedure"])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BootstrapHeads:
    """Heads of resampled patients, and why some could not be fitted."""

    heads: tuple[FittedModel, ...]
    faults: tuple[str, ...] = ()


class _Everybody(Folds):
    """All patients train, nobody is held out."""

    def __iter__(self) -> Iterator[OuterFold]:
        yield OuterFold(
            repeat=len(self.assignment) - 1,
            fold=self._fold,
            train=np.arange(len(self.patient_ids)),
            test=np.zeros(0, dtype=np.int64),
        )

    @classmethod
    def of(cls, cohort: LabelledFeatures, place: tuple[int, int]) -> _Everybody:
        """Return the one fold at a place; no patient's test fold is its number."""
        names = cohort.patient_ids
        return cls(
            patient_ids=names,
            labels=tuple(cohort.labels[name] for name in names),
            assignment=np.full((place[0] + 1, len(names)), -1 - place[1], dtype=np.int64),
        )

    @property
    def _fold(self) -> int:
        return int(-1 - self.assignment[-1, 0])


def refit_on_all(
    recipe: ModelConfig,
    cohort: LabelledFeatures,
    *,
    place: tuple[int, int] = (0, 0),
    progress: Callable[[int, int], None] | None = None,
) -> Refit:
    """Run the evaluated procedure on all patients of a cohort.

    Parameters
    ----------
    recipe : ModelConfig
    cohort : LabelledFeatures
        With the features of every pooling that the search may choose.
    place : (int, int)
        Repeat and fold that seeds are derived from. On the training patients of an outer fold,
        with that fold's place, the head is that fold's: a linear one byte by byte, others up to
        rounding, as matrix products round by the number of rows beside those that count.
    progress : callable, optional
        Called with the number of fits done and the number in all.

    Raises
    ------
    HeadError, FoldError
        If the cohort cannot support the procedure.
    ConfigurationError
        If the recipe harmonises and the cohort does not say how, or the other way round.
    """
    _demand_harmonised(recipe, cohort)
    trained, inner = _run(recipe, cohort, place=place, progress=progress)
    if len(inner) and trained.recalibration.method != "none":
        # The same inner folds and heads once more, for their scores before any recalibration.
        bare = dataclasses.replace(
            recipe,
            predictions=dataclasses.replace(
                recipe.predictions, recalibration=("none",), threshold="inner"
            ),
            search=SearchSpec(space="none"),
        )
        chosen = Hyperparameters.from_dict(trained.head.facts["procedure"])
        _, inner = _run(bare, cohort, place=place, procedure=chosen)
    head = trained.head
    facts = {name: value for name, value in head.facts.items() if name not in _PRIVATE}
    named = dataclasses.replace(trained, head=dataclasses.replace(head, facts=facts))
    return Refit(trained=named, inner=inner, place=place)


def _demand_harmonised(recipe: ModelConfig, cohort: LabelledFeatures) -> None:
    found = None if cohort.harmonise is None else cohort.harmonise.spec
    wanted = None if recipe.harmonisation.kind == "none" else recipe.harmonisation
    if found != wanted:
        raise ConfigurationError(
            "recipe and cohort do not harmonise alike", found=str(found), expected=str(wanted)
        )


def _run(
    recipe: ModelConfig,
    cohort: LabelledFeatures,
    *,
    place: tuple[int, int],
    procedure: Hyperparameters | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[FittedModel, FloatArray]:
    others = next(label for label in cohort.labels.values() if label != cohort.positive)
    result = cross_validate(
        procedure or recipe.procedure,
        cohort.tables,
        _Everybody.of(cohort, place),
        fold_spec=recipe.folds,
        prediction_spec=recipe.predictions,
        search_spec=recipe.search,
        positive_label=cohort.positive,
        negative_label=others,
        seed=recipe.seed,
        harmonise=cohort.harmonise,
        progress=progress,
    )
    rows = result.inner.table
    if rows.empty:
        return result.trained[0], np.zeros(0)
    scores = rows.set_index("patient_id")["score"].loc[list(cohort.patient_ids)]
    return result.trained[0], scores.to_numpy(dtype=np.float64)


def bootstrap_heads(
    recipe: ModelConfig, cohort: LabelledFeatures, refit: Refit, *, spec: BootstrapSpec
) -> BootstrapHeads:
    """Fit the chosen procedure on resamples of the patients, drawn inside each label.

    Harmonisation and recalibration are learned anew on every resample, the latter from the inner
    scores of the patients drawn; procedure and threshold stay. How far the heads disagree about
    a patient tells how much the score depends on the sample (Efron and Tibshirani 1993, ch. 6).

    Parameters
    ----------
    recipe : ModelConfig
    cohort : LabelledFeatures
        That of `refit`.
    refit : Refit
    spec : BootstrapSpec

    Returns
    -------
    BootstrapHeads
        A resample without a head, such as one with too few patients of a site, is among the
        faults.
    """
    procedure, labels = refit.procedure, cohort.is_positive
    rng = np.random.default_rng(derive_seed(recipe.seed, *refit.place, 3))
    draws = resample_patients(labels, n_samples=spec.n_heads, rng=rng)
    heads, faults = [], []
    for number, draw in enumerate(draws):
        seed = derive_seed(recipe.seed, *refit.place, 4, number)
        try:
            trained = _fit_once(procedure, cohort.resampled(draw), seed=seed, number=number)
        except HeadError as error:
            faults.append(f"resample {number}: {error}")
            continue
        recalibration = refit.trained.recalibration
        if len(refit.inner):
            recalibration = fit_recalibration(recalibration.method, labels[draw], refit.inner[draw])
        heads.append(with_facts(trained, _facts(refit, recalibration)))
    return BootstrapHeads(heads=tuple(heads), faults=tuple(faults))


def with_facts(trained: FittedModel, facts: dict[str, Any]) -> FittedModel:
    """Return a head with other facts beside it."""
    return dataclasses.replace(trained, head=dataclasses.replace(trained.head, facts=facts))


def _facts(refit: Refit, recalibration: Recalibration) -> dict[str, Any]:
    facts = refit.trained.head.facts
    return {
        "procedure": facts["procedure"],
        "recalibration": recalibration.as_dict(),
        "threshold": facts["threshold"],
    }


def _fit_once(
    procedure: Hyperparameters, cohort: LabelledFeatures, *, seed: int, number: int
) -> FittedModel:
    """Fit one head, without any choice, on all scans of a cohort."""
    table = cohort.tables[procedure.pooling]
    labels = np.array([int(cohort.labels[name] == cohort.positive) for name in table.patient_ids])
    harmoniser = None
    if cohort.harmonise is not None:
        harmoniser = Harmoniser.fit(cohort.harmonise, table, np.arange(len(labels)))
        features = harmoniser.apply(table.features, table.patient_ids)
        table = dataclasses.replace(table, features=features)
    train = np.ones(table.features.shape[:2], dtype=np.bool_)
    _, head = next(fit_heads(procedure.head, table, labels, [Fit(train=train, seed=seed)]))
    return FittedModel(repeat=0, fold=number, head=head, harmoniser=harmoniser)
