"""Learning curve: how well heads rank new patients, by the number of patients they learned from.

Patients are counted, never images: 32 slices of one brain are one case. Every outer fold keeps its
test patients; of its training patients a stratified draw of the wanted size is used. The draws of
a fold are nested, each size adding patients to the one before, and the same for every table of
features, so that a trunk and its untrained control learn from the same people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.results import ResultStore
from mri_transfer.core.specs import STRICT, digest, spec_dict
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.learning_figures import CurveFigures
from mri_transfer.models.aggregation import Aggregation, join_slices
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import AnyHeadSpec, Fit, apply_head, fit_heads
from mri_transfer.training.cross_validation import derive_seed
from mri_transfer.training.folds import Folds, OuterFold

__all__ = ["LearningCurveSpec", "learning_curve"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
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
    head_spec: AnyHeadSpec,
    tables: Mapping[str, FeatureTable],
    folds: Folds,
    *,
    aggregation: Aggregation,
    positive_label: str,
    spec: LearningCurveSpec,
    seed: int,
    results: ResultStore | None = None,
    identities: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit heads on growing numbers of training patients, and score the test patients.

    Parameters
    ----------
    head_spec : HeadSpec
    tables : mapping of str to FeatureTable
        By name: the main features first, then those of controls, such as of a random trunk.
    folds : Folds
    aggregation : Aggregation
    positive_label : str
    spec : LearningCurveSpec
    seed : int
    results : ResultStore, optional
        Keeps the scores of every draw, so that what was computed is not computed again.
    identities : mapping of str to str, optional
        What identifies the content of each table, such as a digest of its keys; needed with
        `results`.
    progress : callable, optional
        Called with cross-validations done and the number in all.

    Returns
    -------
    dict
        `head`, `n_patients`, `tables` (name to `curve`, one row a size, and `extrapolation`),
        `transfer` (AUC of the main table minus that of each control, by size) and
        `sizes_left_out` with reasons. A row of a curve holds n_train (mean over folds), size
        (null: all), `auc` (an estimate: mean of the pooled AUC over repeats and draws),
        `auc_within_folds` (pairs of patients scored by one head; pooling asks more) and `draws`
        (n, sd, lowest and highest of the AUC over repeats and draws).

    Raises
    ------
    EvaluationError
        If there is no table, or results are kept and a table has no identity.
    """
    if not tables or (results is not None and set(identities or {}) != set(tables)):
        raise EvaluationError(
            "a learning curve needs tables, and to keep results an identity for each",
            found=f"tables {', '.join(tables) or 'none'}",
            expected=f"identities of these, not {', '.join(identities or {}) or 'none'}",
        )
    plan = _Plan(folds, positive_label, spec, seed)
    runner = _Runner(head_spec, folds, plan, aggregation, results)
    total = len(tables) * sum(plan.n_draws(size) for size in plan.sizes)
    scores: dict[str, dict[int | None, FloatArray]] = {name: {} for name in tables}
    done = 0
    for size in plan.sizes:
        for name, table in tables.items():
            rows = []
            for draw in range(plan.n_draws(size)):
                rows.append(runner.run(table, (identities or {}).get(name, ""), size, draw))
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
    return {
        "head": head_spec.kind,
        "n_patients": len(folds.patient_ids),
        "n_draws": spec.n_draws,
        "tables": {name: figures.curve(name, scores[name]) for name in tables},
        "transfer": figures.transfer(scores),
        "sizes_left_out": plan.left_out,
    }


class _Plan:
    """Which sizes are possible, and whom each draw takes."""

    def __init__(
        self, folds: Folds, positive_label: str, spec: LearningCurveSpec, seed: int
    ) -> None:
        self.folds, self.spec, self.seed = folds, spec, seed
        self.labels: IntArray = np.array([int(label == positive_label) for label in folds.labels])
        self.outer = list(folds)
        self.n_train = float(np.mean([len(fold.train) for fold in self.outer]))
        self.sizes: list[int | None] = []
        self.left_out: list[dict[str, Any]] = []
        for size in sorted(set(spec.sizes)):
            reason = self._reason_against(size)
            if reason is None:
                self.sizes.append(size)
            else:
                self.left_out.append({"size": size, "reason": reason})
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
        head_spec: AnyHeadSpec,
        folds: Folds,
        plan: _Plan,
        aggregation: Aggregation,
        results: ResultStore | None,
    ) -> None:
        self.head_spec, self.folds, self.plan = head_spec, folds, plan
        self.aggregation, self.results = aggregation, results
        self.position = {name: i for i, name in enumerate(folds.patient_ids)}

    def run(self, table: FeatureTable, identity: str, size: int | None, draw: int) -> FloatArray:
        """Return the scores of every patient, held out, shape (n_repeats, n_patients)."""
        if self.results is None:
            return self._computed(table, size, draw)
        key = self._key(identity, size, draw)
        known = self.results.get(key)
        if known is None:
            known = {"scores": self._computed(table, size, draw).tolist()}
            self.results.put(key, known)
        return np.array(known["scores"], dtype=np.float64)

    def _key(self, identity: str, size: int | None, draw: int) -> str:
        return digest(
            {
                "kind": _VERSION,
                "features": identity,
                "head": spec_dict(self.head_spec),
                "aggregation": self.aggregation,
                "patients": list(self.folds.patient_ids),
                "labels": self.plan.labels.tolist(),
                "folds": self.folds.assignment.tolist(),
                "seed": self.plan.seed,
                "size": size,
                "draw": draw,
            }
        )

    def _computed(self, table: FeatureTable, size: int | None, draw: int) -> FloatArray:
        owner = np.array([self.position[name] for name in table.patient_ids])
        n_slices = table.features.shape[1]
        fits = [
            Fit(
                train=np.repeat(
                    np.isin(owner, self.plan.drawn(fold, size, draw))[:, None], n_slices, axis=1
                ),
                seed=derive_seed(self.plan.seed, 21, fold.repeat, fold.fold, draw),
            )
            for fold in self.plan.outer
        ]
        scores = np.full(self.folds.assignment.shape, np.nan)
        for i, head in fit_heads(self.head_spec, table, self.plan.labels[owner], fits):
            fold = self.plan.outer[i]
            scans = np.flatnonzero(np.isin(owner, fold.test))
            names = [table.patient_ids[scan] for scan in scans]
            joined = join_slices(apply_head(head, table.features[scans]), names, self.aggregation)
            scores[fold.repeat, [self.position[name] for name in joined]] = list(joined.values())
        return scores
