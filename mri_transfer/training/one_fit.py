"""One fit: all that is chosen and fitted on the patients that a view shows.

The training patients are split again; their inner scores, made by heads that had not seen them,
choose the hyperparameters (`search`), the recalibration and the decision threshold; then the head
is fitted on all of them. Whoever the view does not show takes part in none of this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import ConfigurationError
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.harmonisation import HarmonisationSpec, fit_combat
from mri_transfer.models.heads import Head, fit_head
from mri_transfer.models.recalibration import Recalibration
from mri_transfer.training.dataset import TrainingView
from mri_transfer.training.decision import decide
from mri_transfer.training.fit_record import FitRecord
from mri_transfer.training.fitted_model import FittedModel, Harmoniser, patient_scores
from mri_transfer.training.folds import derive_seed, inner_folds
from mri_transfer.training.search import FoldSearch, Hyperparameters, SearchSpec, count_trials
from mri_transfer.training.settings import PredictionSpec

__all__ = ["FitRequest", "FitResult", "Run", "fit_model"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
T = TypeVar("T")
U = TypeVar("U")


class Run(Protocol):
    """`map`, or the same on several threads; results come in order."""

    def __call__(self, function: Callable[[T], U], items: Iterable[T], /) -> Iterable[U]:
        """Apply a function to every item."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitRequest:
    """How a model is fitted, and what may be chosen on the way.

    Attributes
    ----------
    hyperparameters : Hyperparameters
        The configured ones, which the search may replace.
    predictions : PredictionSpec
    search : SearchSpec
    harmonisation : HarmonisationSpec
    n_inner_folds : int
    seed : int
        Of the run.
    place : tuple of int
        What tells this fit's seeds from those of others, such as its repeat and fold.
    device : {"auto", "cpu", "cuda"}
        Where networks are trained.
    """

    hyperparameters: Hyperparameters
    predictions: PredictionSpec
    search: SearchSpec = dataclasses.field(default_factory=lambda: SearchSpec(space="none"))
    harmonisation: HarmonisationSpec = dataclasses.field(default_factory=HarmonisationSpec)
    n_inner_folds: int = 5
    seed: int = 0
    place: tuple[int, ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def searches(self) -> bool:
        """Whether other hyperparameters are tried."""
        return bool(self.search.for_head(self.hyperparameters.head.kind))

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen inside training patients."""
        return self.searches or self.predictions.needs_inner_scores

    def seed_of(self, *step: int) -> int:
        """Return the seed of a step of this fit."""
        return derive_seed(self.seed, *self.place, *step)

    def n_fits(self, labels: IntArray) -> int:
        """Return how many heads are fitted on training patients with these labels."""
        if not self.chooses:
            return 1
        n_inner = min(self.n_inner_folds, int(np.bincount(labels, minlength=2).min()))
        return 1 + n_inner * (
            count_trials(self.search, self.hyperparameters) if self.searches else 1
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FitResult:
    """A fitted model, and the inner scores that its choices rest on.

    Attributes
    ----------
    model : FittedModel
    patient_ids : tuple of str
        The training patients, sorted.
    inner_folds : ndarray of int64, shape (n_patients,) or (0,)
        Which inner fold held each of them out; empty where nothing was chosen.
    inner_scores : ndarray of float64, of the same shape
        By the heads that had not seen them; not recalibrated.
    """

    model: FittedModel
    patient_ids: tuple[str, ...]
    inner_folds: IntArray
    inner_scores: FloatArray


def fit_model(
    view: TrainingView,
    request: FitRequest,
    *,
    run: Run = map,
    fitted: Callable[[int], None] = lambda _: None,
) -> FitResult:
    """Choose and fit a model on the patients of a view.

    Parameters
    ----------
    view : TrainingView
    request : FitRequest
    run : Run
        Runs the fits of heads; `map` where nothing else is given.
    fitted : callable
        Told how many heads have been fitted since the last call.

    Returns
    -------
    FitResult

    Raises
    ------
    HeadError, FoldError
        If the patients cannot support what is asked for.
    ConfigurationError
        If sites are to be harmonised and the view has no covariates.
    """
    inner = _InnerFits(view, request, run, fitted) if request.chooses else None
    chosen = request.hyperparameters if inner is None else inner.choose()
    head, harmoniser = next(
        iter(run(lambda seed: _fit_head(view, chosen, request, seed), [request.seed_of()]))
    )
    fitted(1)
    scores = np.zeros(0) if inner is None else inner.scores[chosen]
    assignment = np.zeros(0, dtype=np.int64) if inner is None else inner.assignment
    decision = decide(
        request.predictions,
        view.is_positive,
        scores,
        assignment,
        whose="inner scores of the training patients",
    )
    record = FitRecord(
        hyperparameters=chosen,
        trials=[] if inner is None else inner.trials(chosen),
        training_patients=list(view.patient_ids),
        training_scans=dict(zip(view.scans.scan_ids, view.scans.scan_sha256, strict=True)),
        **vars(decision),
    )
    model = FittedModel(repeat=0, fold=0, head=head, harmoniser=harmoniser).with_record(record)
    return FitResult(
        model=model,
        patient_ids=view.patient_ids,
        inner_folds=assignment,
        inner_scores=scores,
    )


def _fit_head(
    view: TrainingView, chosen: Hyperparameters, request: FitRequest, seed: int
) -> tuple[Head, Harmoniser | None]:
    """Fit harmonisation and head on all that a view shows; nothing is chosen."""
    table, harmoniser = view.tables[chosen.pooling], None
    if request.harmonisation.kind != "none":
        harmoniser = _fit_harmoniser(view, table, request.harmonisation)
        features = harmoniser.apply(table.features, table.patient_ids)
        features[~view.slices] = 0.0
        table = dataclasses.replace(table, features=features)
    head = fit_head(
        chosen.head,
        table,
        view.scan_is_positive,
        slices=view.slices,
        seed=seed,
        device=request.device,
    )
    return head, harmoniser


def _fit_harmoniser(view: TrainingView, table: FeatureTable, spec: HarmonisationSpec) -> Harmoniser:
    if view.covariates is None:
        raise ConfigurationError(
            "sites are to be harmonised, and the covariates of the patients are not known",
            where="harmonisation.kind",
            found=spec.kind,
            expected="features with covariates, or `none`",
        )
    known = view.covariates.loc[list(table.patient_ids)]
    features: npt.NDArray[np.floating[Any]] = table.features
    if not view.slices.all():
        # ComBat is fitted on each scan's mean: that of the slices that may be seen.
        features = features.mean(axis=1, dtype=np.float64, where=view.slices[..., None])
    return Harmoniser(combat=fit_combat(features, known, spec=spec), covariates=view.covariates)


class _InnerFits:
    """Fits on folds inside a view, and the scores of the patients that each holds out."""

    def __init__(
        self, view: TrainingView, request: FitRequest, run: Run, fitted: Callable[[int], None]
    ) -> None:
        self.view, self.request, self.run, self.fitted = view, request, run, fitted
        self.names = np.array(view.patient_ids, dtype=object)
        self.labels = view.is_positive
        self.assignment = inner_folds(
            self.labels, n_folds=request.n_inner_folds, seed=request.seed_of(0) % 2**32
        )
        self.folds = np.unique(self.assignment).tolist()
        #: Of every training patient, by what was tried, in the order of trying.
        self.scores: dict[Hyperparameters, FloatArray] = {}

    def choose(self) -> Hyperparameters:
        """Return what the search finds, or what is configured; its scores are known then."""
        configured = self.request.hyperparameters
        if not self.request.searches:
            self._try(configured)
            return configured
        search = FoldSearch(self.request.search, configured, seed=self.request.seed_of(2))
        for _ in range(search.n_trials):
            asked = search.ask()
            self._try(asked)
            search.tell(asked, self._aucs(asked))
        n_test = len(self.names) // len(self.folds)
        return search.choose(n_train=len(self.names) - n_test, n_test=n_test)

    def _try(self, tried: Hyperparameters) -> None:
        if tried in self.scores:
            # It costs nothing again.
            self.fitted(len(self.folds))
            return
        scores = np.full(len(self.names), np.nan)
        for fold, found in zip(
            self.folds, self.run(lambda fold: self._held_out(tried, fold), self.folds), strict=True
        ):
            scores[self.assignment == fold] = found
            self.fitted(1)
        self.scores[tried] = scores

    def _held_out(self, tried: Hyperparameters, fold: int) -> FloatArray:
        """Fit without one inner fold and score its patients."""
        held = self.assignment == fold
        view = self.view.view(self.names[~held])
        head, harmoniser = _fit_head(view, tried, self.request, self.request.seed_of(1, fold))
        unchanged = FitRecord(
            hyperparameters=tried, recalibration=Recalibration("none", {}), threshold=0.5
        )
        model = FittedModel(repeat=0, fold=fold, head=head, harmoniser=harmoniser)
        return patient_scores(model.with_record(unchanged), self.view.only(self.names[held]))

    def _aucs(self, tried: Hyperparameters) -> list[float]:
        """AUC of each inner fold.

        Not the pooled AUC: strong penalties shift whole folds against each other, which the
        pooled figure would read as poor ranking.
        """
        held = [self.assignment == fold for fold in self.folds]
        return [float(auc(self.labels[own], self.scores[tried][own])) for own in held]

    def trials(self, chosen: Hyperparameters) -> list[dict[str, Any]]:
        """Return everything that was tried, in the order of trying."""
        return [
            {
                "procedure": tried.as_dict(),
                "inner_auc": self._aucs(tried),
                "configured": tried == self.request.hyperparameters,
                "chosen": tried == chosen,
            }
            for tried in self.scores
        ]
