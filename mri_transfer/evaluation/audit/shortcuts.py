"""Shortcuts: what else the features tell, and whether the score could have used it.

A model takes a shortcut where it reads something else than disease (the scanner, a patient's age)
that happens to go with the label. That needs two things: the features must show it, and it must
go with the label in the cohort. Both are measured here, the first within each label, so that a
covariate cannot be read by way of the disease. Neither proves that the score rests on it; how the
score itself goes with the covariate within each label is reported beside them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers, find_column
from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray, TextArray
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.associations import (
    age_association,
    judge,
    level_association,
    rank_correlation,
    score_by_level,
)
from mri_transfer.evaluation.audit.probes import Probe, probe_age, probe_levels
from mri_transfer.evaluation.audit.shortcut_results import (
    AgeAndLabel,
    AgeAndScore,
    LevelsAndLabel,
    LevelsAndScore,
    Probed,
    ProbedWithin,
    ShortcutProbe,
    Shortcuts,
)
from mri_transfer.metrics.discrimination import patient_weights
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap, undefined
from mri_transfer.metrics.named_rng import named_rng

__all__ = ["find_shortcuts"]


#: Covariates with levels; each is probed if the table has it.
_CATEGORICAL = ("sex", "site", "scanner", "manufacturer", "field_strength")

#: Patients that a level (or, for age, a label) needs to be probed.
_ENOUGH = 10

#: Patients of a label that are probed at most, drawn with the seed; `n` says how many were.
MAX_PROBED = 1000

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
        return named_rng(self.seed, name)

    def interval(self, name: str) -> dict[str, Any]:
        """Return how an interval is made."""
        return {
            "n_samples": self.n_samples,
            "rng": self.rng(name),
            "confidence": self.confidence,
        }

    @property
    def splits(self) -> dict[str, Any]:
        """How a probe splits patients; scikit-learn's seeds have 32 bits."""
        return {"n_folds": self.n_folds, "seed": self.seed % 2**32}


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
) -> Shortcuts:
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
        Times the features are permuted between the patients of a label, for the p value
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
    Shortcuts

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
    probes = []
    # Hundreds of tiny fits: threads cost more than they bring.
    with threadpool_limits(limits=1):
        if (column := find_column(patients, ["age"])) is not None:
            probes.append(_age_probe(job, covariate_numbers(patients, column)))
        for name in _CATEGORICAL:
            if (column := find_column(patients, [name])) is not None:
                probes.append(_level_probe(job, name, covariate_levels(patients, column)))
    return Shortcuts(n_folds=n_folds, n_permutations=n_permutations, covariates=tuple(probes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Covariate:
    """A covariate, who has it, and how it is probed.

    Attributes
    ----------
    name : str
    figures : tuple of str
        What its probe gives; the first one is tested.
    groups : dict of str to ndarray of int64
        By label, the patients of whom it is known.
    probed : dict of str to ndarray of int64
        By label, those of them who can be probed.
    probe : callable
        Takes groups of patients and, for a draw of no relation, a generator.
    """

    name: str
    figures: tuple[str, ...]
    groups: dict[str, IntArray]
    probed: dict[str, IntArray]
    probe: Callable[..., Probe]


def _known(job: _Job, known: BoolArray) -> dict[str, IntArray]:
    """Return the patients of whom a covariate is known, by label."""
    return {
        label: np.flatnonzero(known & (job.labels == label)) for label in sorted(set(job.labels))
    }


def _drawn(job: _Job, name: str, groups: dict[str, IntArray]) -> dict[str, IntArray]:
    """Return the patients to be probed: all of a label, or a sample of many."""
    return {
        label: group
        if len(group) <= MAX_PROBED
        else np.sort(job.rng(f"{name} {label} drawn").choice(group, MAX_PROBED, replace=False))
        for label, group in groups.items()
    }


def _age_probe(job: _Job, age: FloatArray) -> ShortcutProbe:
    groups = _known(job, np.isfinite(age))
    enough = max(_ENOUGH, job.n_folds)
    covariate = _Covariate(
        name="age",
        figures=("r2", "correlation", "mae_years"),
        groups=groups,
        probed={
            label: group
            for label, group in _drawn(job, "age", groups).items()
            if len(group) >= enough and float(np.ptp(age[group])) > 0
        },
        probe=functools.partial(probe_age, job.features, age, **job.splits),
    )
    score: dict[str, AgeAndScore | LevelsAndScore] = {}
    if job.score is not None:
        for label, group in groups.items():
            settings = job.interval(f"age {label} score")
            spearman = rank_correlation(job.score[group], age[group], **settings)
            score[label] = AgeAndScore(spearman=spearman)
    return _probed(job, covariate, age_association(age, groups), score)


def _level_probe(job: _Job, name: str, levels: TextArray) -> ShortcutProbe:
    groups = _known(job, levels != "")
    probed = {}
    for label, group in _drawn(job, name, groups).items():
        own, counts = np.unique(levels[group].astype(str), return_counts=True)
        large = own[counts >= max(_ENOUGH, job.n_folds)]
        if len(large) > 1:
            probed[label] = group[np.isin(levels[group].astype(str), large)]
    covariate = _Covariate(
        name=name,
        figures=("auc", "balanced_accuracy"),
        groups=groups,
        probed=probed,
        probe=functools.partial(probe_levels, job.features, levels, **job.splits),
    )
    score: dict[str, AgeAndScore | LevelsAndScore] = {}
    if job.score is not None:
        for label, group in groups.items():
            settings = job.interval(f"{name} {label} score")
            score[label] = score_by_level(job.score[group], levels[group], **settings)
    return _probed(job, covariate, level_association(levels, groups), score)


def _probed(
    job: _Job,
    covariate: _Covariate,
    association: AgeAndLabel | LevelsAndLabel,
    score: dict[str, AgeAndScore | LevelsAndScore],
) -> ShortcutProbe:
    """Run a covariate's probe within each label and over all of them, and judge."""
    name, is_age = covariate.name, covariate.name == "age"
    within = {}
    for label, group in covariate.groups.items():
        if label in covariate.probed:
            members = covariate.probed[label]
            figures = _estimates(job, f"{name} {label}", covariate, covariate.probe([members]))
            within[label] = ProbedWithin(n=len(members), **figures)
        else:
            what = "patients" if is_age else "patients of each of two levels"
            reason = f"{max(_ENOUGH, job.n_folds)} {what} are needed within a label"
            within[label] = ProbedWithin(n=len(group), **_nothing(reason, len(group), covariate))
    what = "enough patients" if is_age else "two levels with enough patients"
    p, pooled = None, _nothing(f"no label has {what}", 0, covariate)
    tested = covariate.figures[0]
    if covariate.probed:
        everybody = list(covariate.probed.values())
        actual = covariate.probe(everybody)
        pooled = _estimates(job, f"{name} pooled", covariate, actual)
        rng, observed = job.rng(f"{name} permutations"), actual.value(tested) - 1e-12
        permuted = (
            covariate.probe(everybody, rng=rng).value(tested) for _ in range(job.n_permutations)
        )
        p = (1 + sum(value >= observed for value in permuted)) / (1 + job.n_permutations)
    n = sum(len(group) for group in covariate.groups.values())
    verdict, sentence = judge(name, association, n=n, pooled=pooled[tested], p=p)
    return ShortcutProbe(
        covariate=name,
        kind="continuous" if is_age else "categorical",
        n=n,
        within=within,
        pooled=Probed(**pooled),
        p=p,
        label_association=association,
        score=score,
        verdict=verdict,
        sentence=sentence,
    )


def _nothing(reason: str, n: int, covariate: _Covariate) -> dict[str, Estimate]:
    return {name: undefined(reason, n=n) for name in covariate.figures}


def _estimates(job: _Job, probed: str, covariate: _Covariate, probe: Probe) -> dict[str, Estimate]:
    n = len(probe.members)
    estimates = {}
    for name in covariate.figures:
        figure = probe.figures[name]

        def statistic(
            indices: IntArray, figure: Callable[[FloatArray], FloatArray] = figure
        ) -> FloatArray:
            return figure(patient_weights(indices, n))

        estimate = patient_bootstrap(
            statistic, probe.strata, batched=True, **job.interval(f"{probed} {name}")
        )
        estimates[name] = dataclasses.replace(estimate, method=_METHOD)
    return estimates
