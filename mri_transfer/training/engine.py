"""The engine: the same fit for every fold, whoever asks for it.

Cross-validation, the learning curve, refits on all patients and blinded refits pass through
`fit_folds`; the arms of the leakage stress test and heads of resamples through the one fit behind
it, `fit_model` (docs/decisions/0010).
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from mri_transfer.core.threads import algebra_on_one_core, one_core_each, torch_threads
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.fitted_model import Inference, infer
from mri_transfer.training.folds import OuterFold
from mri_transfer.training.one_fit import FitModel, FitResult, Run

__all__ = ["FoldResult", "fit_folds", "place_of", "training_view", "workers"]

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FoldResult:
    """One fold: its fit, and what the model says of the patients held out."""

    outer: OuterFold
    fit: FitResult
    held_out: Inference


class Estimator(Protocol):
    """What is fitted fold by fold: `TransferClassifier`, or whatever else fits to a view."""

    result_: FitResult

    def n_fits(self, labels: IntArray) -> int:
        """Return how many heads a fit on patients with these labels takes."""

    def fit_view(
        self,
        view: TrainingView,
        *,
        seed: int,
        place: tuple[int, ...],
        run: Run = map,
        fitted: Callable[[int], None] = ...,
        fit: FitModel | None = ...,
    ) -> Self:
        """Fit to a view and keep the result."""


def place_of(outer: OuterFold) -> tuple[int, ...]:
    """Return what the seeds of a fold are derived from, besides that of the run."""
    return outer.repeat, outer.fold


def training_view(data: LabelledFeatures, outer: OuterFold) -> TrainingView:
    """Return the training patients of a fold."""
    return data.view(np.array(data.patient_ids, dtype=object)[outer.train])


def fit_folds(
    estimator: Estimator,
    data: LabelledFeatures,
    folds: Iterable[OuterFold],
    *,
    seed: int,
    place: Callable[[OuterFold], tuple[int, ...]] = place_of,
    progress: Callable[[int, int], None] | None = None,
    fit: FitModel | None = None,
) -> Iterator[FoldResult]:
    """Fit an estimator on the training patients of every fold, and apply it to those held out.

    Parameters
    ----------
    estimator : Estimator
        Cloned for every fold.
    data : LabelledFeatures
    folds : iterable of OuterFold
        Positions in `data.patient_ids`; a fold may hold nobody out.
    seed : int
    place : callable
        What the seeds of a fold are derived from, besides `seed`.
    progress : callable, optional
        Called with the number of heads fitted and the number in all.
    fit : FitModel, optional
        What makes each fit, if not `one_fit.fit_model`.

    Yields
    ------
    FoldResult
        In the order of `folds`.
    """
    outer = list(folds)
    names, labels = np.array(data.patient_ids, dtype=object), data.is_positive
    counter = _Counter(sum(estimator.n_fits(labels[fold.train]) for fold in outer), progress)

    def fit_fold(fold: OuterFold) -> FoldResult:
        one = clone(estimator)
        one.fit_view(
            training_view(data, fold),
            seed=seed,
            place=place(fold),
            run=run,
            fitted=counter.add,
            fit=fit,
        )
        return _fold_result(fold, one.result_, data, names[fold.test])

    n_threads = torch_threads()
    with workers() as run, _side_by_side(run, n_threads) as over_folds:
        yield from over_folds(fit_fold, outer)


def _fold_result(
    outer: OuterFold, result: FitResult, data: LabelledFeatures, test: npt.NDArray[np.object_]
) -> FoldResult:
    record = dataclasses.replace(result.model.record, repeat=outer.repeat, fold=outer.fold)
    model = dataclasses.replace(
        result.model.with_record(record).with_covariates(data.covariates),
        repeat=outer.repeat,
        fold=outer.fold,
    )
    return FoldResult(
        outer=outer,
        fit=dataclasses.replace(result, model=model),
        held_out=infer(model, data.tables, test, activations=data.activations),
    )


class _Counter:
    """Counts fits over all threads."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def add(self, n: int) -> None:
        with self._lock:
            self._done += n
            if self._progress is not None:
                self._progress(self._done, self._total)


@contextlib.contextmanager
def workers() -> Iterator[Run]:
    """Give what runs the fits of heads: threads of one core each.

    A fit is too short to be shared between threads, so that every core makes one of its own. With
    one core nothing runs beside it.
    """
    # Read first: the limits below count for torch as well.
    n_threads = torch_threads()
    if n_threads == 1:
        with algebra_on_one_core():
            yield map
        return
    with one_core_each(n_threads) as pool, algebra_on_one_core():
        yield pool.map


@contextlib.contextmanager
def _side_by_side(run: Run, n_threads: int) -> Iterator[Run]:
    """Give what runs whole folds, each waiting for its fits; few, as each holds a view."""
    if run is map:
        yield map
        return
    with ThreadPoolExecutor(n_threads + 1) as pool:
        yield pool.map
