"""Learning curve: how well heads rank new patients, by the number of patients they learned from.

Patients are counted, never images: 32 slices of one brain are one case. Every outer fold keeps its
test patients; of its training patients a stratified draw of the wanted size is used. The draws of
a fold are nested, each size adding patients to the one before, and the same for every table of
features, so that a trunk and its untrained control learn from the same people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.core.results import ResultStore
from mri_transfer.core.specs import STRICT, digest, spec_dict
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.arms import harmonisation_key
from mri_transfer.evaluation.audit.learning_figures import CurveFigures
from mri_transfer.evaluation.audit.learning_results import LearningCurve, SizeLeftOut
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.engine import fit_folds
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds, OuterFold, derive_seed

__all__ = ["LearningCurveSpec", "learning_curve"]

Progress = Callable[[int, int], None]

_VERSION = "learning-curve/1"
#: Fewer training patients of a label teach a head nothing that is worth a figure.
_MIN_OF_A_LABEL = 4


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LearningCurveSpec:
    """Which sizes of training set are tried, and how often each."""

    sizes: tuple[int, ...] = Field(default=(16, 24, 32, 48, 64, 80), min_length=1)
    """Training patients of a fold; all of them are always tried as well."""
    n_draws: int = Field(default=5, ge=1)
    """Draws of training patients, of each size in every outer fold."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of test patients behind each interval."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Confidence of every interval."""


def learning_curve(
    estimator: TransferClassifier,
    cohorts: Mapping[str, LabelledFeatures],
    folds: Folds,
    *,
    spec: LearningCurveSpec,
    seed: int,
    results: ResultStore | None = None,
    identities: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> LearningCurve:
    """Fit heads on growing numbers of training patients, and score the test patients.

    Parameters
    ----------
    estimator : TransferClassifier
        Neither its search nor its recalibration is run.
    cohorts : mapping of str to LabelledFeatures
        By name: the main features first, then those of controls, such as of a random trunk.
    folds : Folds
    spec : LearningCurveSpec
    seed : int
    results : ResultStore, optional
        Keeps the scores of every draw, so that what was computed is not computed again.
    identities : mapping of str to str, optional
        What identifies the features of each, such as a digest of their keys; needed with
        `results`.
    progress : callable, optional
        Called with cross-validations done and the number in all.

    Returns
    -------
    LearningCurve

    Raises
    ------
    EvaluationError
        If there is no table, or results are kept and a table has no identity.
    """
    if not cohorts or (results is not None and set(identities or {}) != set(cohorts)):
        raise EvaluationError(
            "a learning curve needs tables, and to keep results an identity for each",
            found=f"tables {', '.join(cohorts) or 'none'}",
            expected=f"identities of these, not {', '.join(identities or {}) or 'none'}",
        )
    plan = _Plan(folds, next(iter(cohorts.values())).is_positive, spec, seed)
    runner = _Runner(estimator.without_choices(), folds, plan, results)
    total = len(cohorts) * sum(plan.n_draws(size) for size in plan.sizes)
    scores: dict[str, dict[int | None, FloatArray]] = {name: {} for name in cohorts}
    done = 0
    for size in plan.sizes:
        for name, data in cohorts.items():
            rows = []
            for draw in range(plan.n_draws(size)):
                rows.append(runner.run(data, (identities or {}).get(name, ""), size, draw))
                done += 1
                if progress is not None:
                    progress(done, total)
            scores[name][size] = np.concatenate(rows)
    figures = CurveFigures(
        labels=plan.labels,
        assignment=folds.assignment,
        n_train=plan.n_train,
        n_samples=spec.bootstrap_samples,
        confidence=spec.confidence,
        seed=seed,
    )
    return LearningCurve(
        head=runner.hyperparameters.head.kind,
        n_patients=len(folds.patient_ids),
        n_draws=spec.n_draws,
        tables={name: figures.curve(name, scores[name]) for name in cohorts},
        transfer=figures.transfer(scores),
        sizes_left_out=tuple(plan.left_out),
    )


class _Plan:
    """Which sizes are possible, and whom each draw takes."""

    def __init__(self, folds: Folds, labels: IntArray, spec: LearningCurveSpec, seed: int) -> None:
        self.folds, self.spec, self.seed = folds, spec, seed
        self.labels = labels
        self.outer = list(folds)
        self.n_train = float(np.mean([len(fold.train) for fold in self.outer]))
        self.sizes: list[int | None] = []
        self.left_out: list[SizeLeftOut] = []
        for size in sorted(set(spec.sizes)):
            reason = self._reason_against(size)
            if reason is None:
                self.sizes.append(size)
            else:
                self.left_out.append(SizeLeftOut(size=size, reason=reason))
        self.sizes.append(None)

    def _reason_against(self, size: int) -> str | None:
        for fold in self.outer:
            if size >= len(fold.train):
                return f"a fold has {len(fold.train)} training patients"
            fewest = min(self._of_each_label(fold, size))
            if fewest < _MIN_OF_A_LABEL:
                return f"{fewest} training patients of a label; {_MIN_OF_A_LABEL} needed"
        return None

    def _of_each_label(self, fold: OuterFold, size: int) -> tuple[int, int]:
        positive = round(size * float(self.labels[fold.train].mean()))
        return size - positive, positive

    def n_draws(self, size: int | None) -> int:
        """One draw takes everybody."""
        return 1 if size is None else self.spec.n_draws

    def drawn(self, fold: OuterFold, size: int | None, draw: int) -> IntArray:
        """Return the training patients of a draw."""
        if size is None:
            return fold.train
        rng = np.random.default_rng(derive_seed(self.seed, 20, fold.repeat, fold.fold, draw))
        members = [
            rng.permutation(fold.train[self.labels[fold.train] == label])[:n]
            for label, n in enumerate(self._of_each_label(fold, size))
        ]
        return np.sort(np.concatenate(members))


class _Runner:
    """Runs one cross-validation after another, or recalls its scores."""

    def __init__(
        self,
        estimator: TransferClassifier,
        folds: Folds,
        plan: _Plan,
        results: ResultStore | None,
    ) -> None:
        self.estimator, self.folds, self.plan, self.results = estimator, folds, plan, results
        self.hyperparameters = estimator.request().hyperparameters
        self.position = {name: i for i, name in enumerate(folds.patient_ids)}

    def run(self, data: LabelledFeatures, identity: str, size: int | None, draw: int) -> FloatArray:
        """Return the scores of every patient, held out, shape (n_repeats, n_patients)."""
        if self.results is None:
            return self._computed(data, size, draw)
        key = self._key(data, identity, size, draw)
        known = self.results.get(key)
        if known is None:
            known = {"scores": self._computed(data, size, draw).tolist()}
            self.results.put(key, known)
        return np.array(known["scores"], dtype=np.float64)

    def _key(self, data: LabelledFeatures, identity: str, size: int | None, draw: int) -> str:
        named = {
            "kind": _VERSION,
            "features": identity,
            "head": spec_dict(self.hyperparameters.head),
            "aggregation": self.hyperparameters.joining,
            "patients": list(self.folds.patient_ids),
            "labels": self.plan.labels.tolist(),
            "folds": self.folds.assignment.tolist(),
            "seed": self.plan.seed,
            "size": size,
            "draw": draw,
        }
        return digest({**named, **harmonisation_key(self.estimator, data)})

    def _computed(self, data: LabelledFeatures, size: int | None, draw: int) -> FloatArray:
        drawn = [
            dataclasses.replace(fold, train=self.plan.drawn(fold, size, draw))
            for fold in self.plan.outer
        ]
        results = fit_folds(
            self.estimator,
            data,
            drawn,
            seed=self.plan.seed,
            place=lambda fold: (21, fold.repeat, fold.fold, draw),
        )
        scores = np.full(self.folds.assignment.shape, np.nan)
        for fitted in results:
            held_out = fitted.held_out
            by_patient = fitted.fit.model.patients(held_out.output, held_out.owners)
            columns = [self.position[name] for name in by_patient]
            scores[fitted.outer.repeat, columns] = list(by_patient.values())
        return scores
