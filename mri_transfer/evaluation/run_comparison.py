"""Several runs side by side: each on the patients that all of them scored, and pair by pair."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.comparison import fold_difference
from mri_transfer.evaluation.comparison_document import (
    CommonFigures,
    ComparedFigures,
    ComparisonDocument,
    PairDifference,
)
from mri_transfer.evaluation.notices import Notice
from mri_transfer.evaluation.patient_level import patient_metrics
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.calibration import patient_losses
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.estimates import FoldDifference, untested_fold_difference
from mri_transfer.metrics.intervals import Estimate, bootstrap_mean
from mri_transfer.metrics.named_rng import named_rng
from mri_transfer.metrics.paired import bootstrap_difference, mcnemar

__all__ = ["ComparedRun", "compare_runs"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ComparedRun:
    """The held-out scores of one run.

    Attributes
    ----------
    name : str
        What the run is called; different for each.
    arrays : ScoreArrays
    notices : tuple of Notice
        What must be read before its figures.
    """

    name: str
    arrays: ScoreArrays
    notices: tuple[Notice, ...] = ()


def compare_runs(
    runs: Sequence[ComparedRun], *, n_samples: int, seed: int, confidence: float = 0.95
) -> ComparisonDocument:
    """Compare runs on the patients that all of them scored.

    Every figure resamples patients; the difference of a pair is taken patient by patient. With
    three runs or more the p values of the pairs' AUC are adjusted together by Holm's method
    (1979, Scand J Stat 6:65-70).

    Parameters
    ----------
    runs : sequence of ComparedRun
        Two or more.
    n_samples : int
        Resamples of patients.
    seed : int
    confidence : float

    Returns
    -------
    ComparisonDocument

    Raises
    ------
    EvaluationError
        If there are fewer than two runs, names or labels clash, or no patient of both labels is
        common to all.
    """
    common = _common_patients(runs)
    shared = [_restricted(run.arrays, common) for run in runs]
    pairs = [
        _pair(runs[i].name, shared[i], runs[j].name, shared[j], n_samples, seed, confidence)
        for i, j in itertools.combinations(range(len(runs)), 2)
    ]
    return ComparisonDocument(
        confidence=confidence,
        positive_label=runs[0].arrays.task.positive,
        negative_label=runs[0].arrays.task.negative,
        warnings=_joint_notices(runs),
        n_common=len(common),
        n_positive=int(shared[0].positive.sum()),
        runs=tuple(
            _one_run(run, arrays, n_samples, seed, confidence)
            for run, arrays in zip(runs, shared, strict=True)
        ),
        pairs=_adjusted(pairs),
    )


def _joint_notices(runs: Sequence[ComparedRun]) -> tuple[Notice, ...]:
    """Return each warning once; one that does not hold for every run names those it holds for."""
    by_code = {notice.code: notice for run in runs for notice in run.notices}
    joint = []
    for code, notice in by_code.items():
        names = [run.name for run in runs if code in {own.code for own in run.notices}]
        whom = "" if len(names) == len(runs) else f"Of {', '.join(names)}: "
        joint.append(dataclasses.replace(notice, text=whom + notice.text))
    return tuple(joint)


def _common_patients(runs: Sequence[ComparedRun]) -> list[str]:
    names = [run.name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise EvaluationError(
            "a comparison needs two runs or more, each with its own name", found=", ".join(names)
        )
    tasks = {run.arrays.task for run in runs}
    if len(tasks) > 1:
        raise EvaluationError(
            "the runs tell different labels apart",
            found="; ".join(f"{run.name}: {run.arrays.task.positive}" for run in runs),
            remedy="Compare runs that were made with the same labels",
        )
    common = sorted(set.intersection(*(set(run.arrays.patient_ids) for run in runs)))
    label_of = _labels(runs[0].arrays)
    for run in runs[1:]:
        label_here = _labels(run.arrays)
        clash = [name for name in common if label_of[name] != label_here[name]]
        if clash:
            raise EvaluationError(
                "runs give a patient different labels",
                where=f"{runs[0].name} and {run.name}",
                found=", ".join(clash[:5]),
                remedy="Compare runs of manifests that agree on the diagnoses",
            )
    if len({label_of[name] for name in common}) < 2:
        raise EvaluationError(
            "the runs have no patients of both labels in common",
            where=", ".join(names),
            found=f"{len(common)} common patients",
            remedy="Compare runs of cohorts that overlap",
        )
    return common


def _labels(arrays: ScoreArrays) -> dict[str, bool]:
    return dict(zip(arrays.patient_ids, arrays.positive.tolist(), strict=True))


def _restricted(arrays: ScoreArrays, patients: Sequence[str]) -> ScoreArrays:
    position = {name: i for i, name in enumerate(arrays.patient_ids)}
    kept = [position[name] for name in patients]
    return dataclasses.replace(
        arrays,
        patient_ids=tuple(patients),
        positive=arrays.positive[kept],
        scores=arrays.scores[:, kept],
        predicted=arrays.predicted[:, kept],
        fold=arrays.fold[:, kept],
    )


def _one_run(
    run: ComparedRun, shared: ScoreArrays, n_samples: int, seed: int, confidence: float
) -> ComparedFigures:
    figures = patient_metrics(
        shared,
        n_samples=n_samples,
        rng=lambda name: named_rng(seed, f"{run.name} {name}"),
        confidence=confidence,
    )
    whole = delong_auc(run.arrays.scored, confidence=confidence)
    return ComparedFigures(
        name=run.name,
        n_patients=run.arrays.n,
        n_repeats=len(run.arrays.repeats),
        auc_all_patients=whole.estimate,
        common=CommonFigures(**{name: figures[name] for name in CommonFigures.model_fields}),
    )


def _pair(
    name: str,
    first: ScoreArrays,
    other_name: str,
    second: ScoreArrays,
    n_samples: int,
    seed: int,
    confidence: float,
) -> PairDifference:
    same_folds = _same_folds(first, second)
    as_often = len(first.repeats) == len(second.repeats)
    return PairDifference(
        first=name,
        second=other_name,
        same_folds=same_folds,
        auc_difference=delong_difference(first.scored, second.scores, confidence=confidence),
        auc_difference_bootstrap=bootstrap_difference(
            first.scored,
            second.scores,
            n_samples=n_samples,
            rng=named_rng(seed, f"auc {name} {other_name}"),
            confidence=confidence,
        ),
        auc_difference_folds=_by_fold(first, second, same_folds, confidence),
        brier_difference=_brier_difference(
            first,
            second,
            n_samples=n_samples,
            rng=named_rng(seed, f"brier {name} {other_name}"),
            confidence=confidence,
        ),
        mcnemar=mcnemar(first.called, second.predicted) if as_often else None,
    )


def _same_folds(first: ScoreArrays, second: ScoreArrays) -> bool:
    """Whether both runs cut the common patients into the same folds, whatever their numbers."""
    if first.repeats != second.repeats:
        return False
    return all(
        len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b))
        for a, b in zip(first.fold, second.fold, strict=True)
    )


def _by_fold(
    first: ScoreArrays, second: ScoreArrays, same_folds: bool, confidence: float
) -> FoldDifference:
    if same_folds:
        return fold_difference(first, second.scores, confidence=confidence)
    return untested_fold_difference("the runs cut the common patients into different folds", n=0)


def _brier_difference(
    first: ScoreArrays,
    second: ScoreArrays,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float,
) -> Estimate:
    """Brier score of `first` minus that of `second`; below 0, the first is better."""
    loss = patient_losses(first.scored) - patient_losses(second.scored)
    return bootstrap_mean(loss, first.positive, n_samples=n_samples, rng=rng, confidence=confidence)


def _adjusted(pairs: Sequence[PairDifference]) -> tuple[PairDifference, ...]:
    from statsmodels.stats.multitest import multipletests

    known = [pair.auc_difference.p for pair in pairs if pair.auc_difference.p is not None]
    adjusted = iter(multipletests(known, method="holm")[1].tolist() if known else [])
    return tuple(
        pair
        if pair.auc_difference.p is None
        else pair.model_copy(update={"p_holm": next(adjusted)})
        for pair in pairs
    )
