"""Shortcuts: what else the features tell, and whether the score could have used it.

A model takes a shortcut where it reads something else than disease (the scanner, a patient's age)
that happens to go with the label. That needs two things: the features must show it, and it must
go with the label in the cohort. Both are measured here, the first within each label, so that a
covariate cannot be read by way of the disease. Neither proves that the score rests on it; how the
score itself goes with the covariate within each label is reported beside them.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers, find_column
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.associations import (
    age_association,
    judge,
    level_association,
    rank_correlation,
    score_by_level,
)
from mri_transfer.evaluation.audit.probes import Probe, probe_age, probe_levels
from mri_transfer.metrics.discrimination import patient_weights
from mri_transfer.metrics.intervals import patient_bootstrap, undefined

__all__ = ["find_shortcuts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TextArray = npt.NDArray[np.object_]

#: Covariates with levels; each is probed if the table has it.
_CATEGORICAL = ("sex", "site", "scanner", "manufacturer", "field_strength")

#: Patients that a level (or, for age, a label) needs to be probed.
_ENOUGH = 10

_METHOD = "patient bootstrap of held-out predictions, percentile"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """What every covariate is probed with."""

    features: FloatArray
    labels: TextArray
    score: FloatArray | None
    n_folds: int
    n_permutations: int
    n_samples: int
    confidence: float
    seed: int

    def rng(self, name: str) -> np.random.Generator:
        # By name: one covariate more must not move the draws of the others.
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def interval(self, name: str) -> dict[str, Any]:
        """Return how an interval is made."""
        return {
            "n_samples": self.n_samples,
            "rng": self.rng(name),
            "confidence": self.confidence,
        }


def find_shortcuts(
    features: npt.NDArray[Any],
    patients: pd.DataFrame,
    *,
    seed: int,
    n_permutations: int,
    scores: npt.ArrayLike | None = None,
    n_folds: int = 5,
    n_samples: int = 2000,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Probe the features for age, sex, site and scanner within each label.

    Parameters
    ----------
    features : ndarray, shape (n_patients, n_features)
        A patient's mean over slices.
    patients : DataFrame
        In the same order: label, and of age, sex, site, scanner, manufacturer and field_strength
        what is known. Patients without a covariate are left out of its probe only.
    seed : int
        Of folds, permutations and resamples.
    n_permutations : int
        Times the features are dealt anew between the patients of a label, for the p value
        ``(1 + as good) / (1 + n_permutations)`` (Phipson and Smyth 2010).
    scores : array_like, shape (n_patients,) or (n_repeats, n_patients), optional
        Cross-validated scores of the model.
    n_folds : int
        Folds of a probe; stratified by the level.
    n_samples : int
        Resamples of patients, inside label and level, behind each interval.
    confidence : float

    Returns
    -------
    dict
        n_folds, n_permutations, and `covariates`, one entry each: covariate, kind, n, `within`
        (by label: n and figures), `pooled` (figures over the labels), p (of the pooled AUC, or
        R² for age), `label_association` (statistic, value, p), `score` (by label: how the score
        goes with the covariate), verdict and sentence. The verdict is ``possible`` (the features
        tell it and it goes with the label), ``readable`` (they tell it, but it does not),
        ``confounded`` (each level has one label only), ``not shown`` or ``unknown``.

    Raises
    ------
    EvaluationError
        If features, scores and patients differ in number, or a feature is not finite.
    """
    from threadpoolctl import threadpool_limits

    values = np.asarray(features, dtype=np.float64)
    rows = None if scores is None else np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if values.ndim != 2 or len(values) != len(patients) or not np.isfinite(values).all():
        raise EvaluationError(
            "features do not fit the patients",
            found=f"shape {values.shape}",
            expected=f"({len(patients)}, n_features), all finite",
        )
    if rows is not None and rows.shape[1] != len(patients):
        raise EvaluationError("scores do not fit the patients", found=f"shape {rows.shape}")
    job = _Job(
        features=values,
        labels=covariate_levels(patients, "label"),
        score=None if rows is None else rows.mean(axis=0),
        n_folds=n_folds,
        n_permutations=n_permutations,
        n_samples=n_samples,
        confidence=confidence,
        seed=seed,
    )
    entries = []
    # Hundreds of tiny fits: threads cost more than they bring.
    with threadpool_limits(limits=1):
        if (column := find_column(patients, ["age"])) is not None:
            entries.append(_age_entry(job, covariate_numbers(patients, column)))
        for name in _CATEGORICAL:
            if (column := find_column(patients, [name])) is not None:
                entries.append(_level_entry(job, name, covariate_levels(patients, column)))
    return {"n_folds": n_folds, "n_permutations": n_permutations, "covariates": entries}


def _age_entry(job: _Job, age: FloatArray) -> dict[str, Any]:
    known = np.isfinite(age)
    groups = {
        label: np.flatnonzero(known & (job.labels == label)) for label in sorted(set(job.labels))
    }
    probed = {label: group for label, group in groups.items() if _varies(age[group], job.n_folds)}

    def probe(members: list[IntArray], rng: np.random.Generator | None) -> Probe:
        return probe_age(
            job.features, age, members, n_folds=job.n_folds, seed=job.seed % 2**32, rng=rng
        )

    score = {}
    if job.score is not None:
        for label, group in groups.items():
            found = rank_correlation(
                job.score[group], age[group], **job.interval(f"age {label} score")
            )
            score[label] = {"spearman": found.as_dict()}
    names = ("r2", "correlation", "mae_years")
    return _entry(job, "age", names, probe, groups, probed, age_association(age, groups), score)


def _varies(age: FloatArray, n_folds: int) -> bool:
    return len(age) >= max(_ENOUGH, n_folds) and float(np.ptp(age)) > 0


def _level_entry(job: _Job, name: str, levels: TextArray) -> dict[str, Any]:
    groups = {
        label: np.flatnonzero((levels != "") & (job.labels == label))
        for label in sorted(set(job.labels))
    }
    probed = {}
    for label, group in groups.items():
        found, counts = np.unique(levels[group].astype(str), return_counts=True)
        large = found[counts >= max(_ENOUGH, job.n_folds)]
        if len(large) > 1:
            probed[label] = group[np.isin(levels[group].astype(str), large)]

    def probe(members: list[IntArray], rng: np.random.Generator | None) -> Probe:
        return probe_levels(
            job.features, levels, members, n_folds=job.n_folds, seed=job.seed % 2**32, rng=rng
        )

    score = {}
    if job.score is not None:
        for label, group in groups.items():
            settings = job.interval(f"{name} {label} score")
            score[label] = score_by_level(job.score[group], levels[group], **settings)
    names = ("auc", "balanced_accuracy")
    association = level_association(levels, groups)
    return _entry(job, name, names, probe, groups, probed, association, score)


def _entry(
    job: _Job,
    name: str,
    names: tuple[str, ...],
    probe: Callable[[list[IntArray], np.random.Generator | None], Probe],
    groups: dict[str, IntArray],
    probed: dict[str, IntArray],
    association: dict[str, Any],
    score: dict[str, Any],
) -> dict[str, Any]:
    """Run a covariate's probe within each label and over all of them, and judge."""
    within: dict[str, Any] = {}
    for label, group in groups.items():
        if label in probed:
            members = probed[label]
            figures = _estimates(job, f"{name} {label}", names, probe([members], None))
            within[label] = {"n": len(members), **figures}
        else:
            what = "patients" if name == "age" else "patients of each of two levels"
            reason = f"{max(_ENOUGH, job.n_folds)} {what} are needed within a label"
            within[label] = {"n": len(group), **_nothing(reason, len(group), names)}
    what = "enough patients" if name == "age" else "two levels with enough patients"
    p, pooled = None, _nothing(f"no label has {what}", 0, names)
    if probed:
        everybody = list(probed.values())
        actual = probe(everybody, None)
        pooled = _estimates(job, f"{name} pooled", names, actual)
        rng = job.rng(f"{name} permutations")
        best = actual.value(names[0]) - 1e-12
        dealt = (probe(everybody, rng).value(names[0]) for _ in range(job.n_permutations))
        p = (1 + sum(value >= best for value in dealt)) / (1 + job.n_permutations)
    entry = {
        "covariate": name,
        "kind": "continuous" if name == "age" else "categorical",
        "n": sum(len(group) for group in groups.values()),
        "within": within,
        "pooled": pooled,
        "p": p,
        "label_association": association,
        "score": score,
    }
    return {**entry, **judge(entry)}


def _nothing(reason: str, n: int, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: undefined(reason, n=n, method="none").as_dict() for name in names}


def _estimates(job: _Job, place: str, names: tuple[str, ...], probe: Probe) -> dict[str, Any]:
    n = len(probe.members)
    found = {}
    for name in names:
        figure = probe.figures[name]

        def statistic(
            indices: IntArray, figure: Callable[[FloatArray], FloatArray] = figure
        ) -> FloatArray:
            return figure(patient_weights(indices, n))

        estimate = patient_bootstrap(
            statistic, probe.strata, batched=True, **job.interval(f"{place} {name}")
        )
        found[name] = dataclasses.replace(estimate, method=_METHOD).as_dict()
    return found
