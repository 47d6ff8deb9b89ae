"""Which strategy for a new cohort is best, by cross-validation over the joined patients.

Strategies from the least change to the most: leave the bundle `unchanged`; `recalibrate` it;
`warm`, move its head on the new patients; `tune`, train its tail further, where that is asked for;
`refit` on both cohorts. In every fold each is followed anew with the training patients alone, old
heads included, and scores the patients held out.

A later one replaces an earlier one only if its log loss is significantly lower: the interval of
the paired difference lies below 0. Small cohorts cannot tell them apart, and then the least change
is the safest (the reasoning of Vergouwe et al. 2017, Stat Med 36:4529-4539).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import FoldError
from mri_transfer.metrics.calibration import brier
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.intervals import Estimate, patient_bootstrap
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.folds import Folds, derive_seed, make_folds
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import Refit, refit_on_all
from mri_transfer.training.settings import FoldSpec
from mri_transfer.training.tuning import TailPlan, tuned_features
from mri_transfer.training.update import recalibrated, warmed
from mri_transfer.training.update_tail import TailUpdate

__all__ = ["StrategyComparison", "UpdateStrategy", "compare_strategies"]

UpdateStrategy = Literal["unchanged", "recalibrate", "warm", "tune", "refit"]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SCHEMA = "mri-transfer/update/3"
_SAMPLES = 2000
_CLIP = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StrategyComparison:
    """Held-out scores by every strategy, and which of them they speak for.

    Attributes
    ----------
    patient_ids : tuple of str
    labels : ndarray of int64, shape (n,)
        1 for the positive label.
    is_new : ndarray of bool, shape (n,)
        Whether a patient is of the new cohort.
    scores : mapping of str to ndarray of float64, shape (n,)
        By strategy, in the order of rising change.
    document : mapping
        JSON values: figures of every strategy on all patients, the new and the old ones; the paired
        differences; the steps of the choice.
    chosen : str
    """

    patient_ids: tuple[str, ...]
    labels: IntArray
    is_new: npt.NDArray[np.bool_]
    scores: Mapping[UpdateStrategy, FloatArray]
    document: Mapping[str, Any]
    chosen: UpdateStrategy

    def performance(self, strategy: UpdateStrategy) -> dict[str, Any]:
        """Return what a bundle made by one of them may promise."""
        figures = self.document["all"][strategy]
        return {
            "from": f"Cross-validation by patient over {figures['n']} joined patients, "
            f"{self.document['n_folds']} folds, of taking in a cohort by {strategy} "
            "(internal testing)",
            "figures": {name: figures[name] for name in ("auc", "brier")},
            "operating_points": [],
        }


def compare_strategies(
    config: ModelConfig,
    parent: FittedModel,
    new: LabelledFeatures,
    *,
    old: LabelledFeatures | None = None,
    tail: TailPlan | None = None,
    further: TailUpdate | None = None,
    n_folds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> StrategyComparison:
    """Compare the strategies for a new cohort.

    Parameters
    ----------
    config : ModelConfig
        Of the old bundle.
    parent : FittedModel
        The old model. With `old` it is made anew in every fold, without the patients held out.
    new : LabelledFeatures
        With activations if `parent` has its tail; else with the features that the head reads.
    old : LabelledFeatures, optional
        The patients of the old bundle. Without them refitting is impossible, and the others are
        compared on the new patients alone.
    tail : TailPlan, optional
        What tails start from, for refits of a model that trains one.
    further : TailUpdate, optional
        How the tail is trained further; not among the strategies if not given.
    n_folds : int
        Fewer if a label of a cohort has fewer patients.
    progress : callable, optional
        Called with the number of folds done and the number in all.

    Raises
    ------
    FoldError
        If a label has fewer than two new patients.
    """
    joined = new if old is None else old.joined(new)
    names = joined.patient_ids
    is_new = np.array([name in new.labels for name in names])
    folds = _folds(config, joined, is_new, n_folds)
    position = {name: i for i, name in enumerate(names)}
    scores: dict[UpdateStrategy, FloatArray] = {}
    for done, outer in enumerate(folds):
        train = {names[i] for i in outer.train}
        test = joined.only([names[i] for i in outer.test])
        place = (0, outer.fold)
        followed = _followed(config, parent, new, old, train, place, tail, further)
        for strategy, trained in followed:
            found = scores.setdefault(strategy, np.full(len(names), np.nan))
            found[[position[name] for name in test.patient_ids]] = patient_scores(trained, test)
        if progress is not None:
            progress(done + 1, int(folds.assignment.max()) + 1)
    labels = joined.is_positive
    rng = np.random.default_rng(derive_seed(config.seed, 7))
    chosen, steps = _choose(labels, scores, rng)
    document = {
        "schema": _SCHEMA,
        "n_folds": int(folds.assignment.max()) + 1,
        "n_old": int((~is_new).sum()),
        "n_new": int(is_new.sum()),
        "all": {name: _figures(labels, values) for name, values in scores.items()},
        "new": _of_cohort(labels, is_new, scores),
        **({} if old is None else {"old": _of_cohort(labels, ~is_new, scores)}),
        "steps": steps,
        "chosen": chosen,
    }
    return StrategyComparison(
        patient_ids=names,
        labels=labels,
        is_new=is_new,
        scores=scores,
        document=document,
        chosen=chosen,
    )


def _folds(
    config: ModelConfig, joined: LabelledFeatures, is_new: npt.NDArray[np.bool_], n_folds: int
) -> Folds:
    """Split the patients so that every fold has its share of each label of each cohort."""
    strata = [
        f"{joined.labels[name]} {'new' if new else 'old'}"
        for name, new in zip(joined.patient_ids, is_new, strict=True)
    ]
    fewest = min(strata.count(name) for name in set(strata))
    if fewest < 2 or len(set(joined.labels.values())) < 2:
        raise FoldError(
            "the new cohort is too small to say which strategy is better",
            found=", ".join(f"{name}: {strata.count(name)}" for name in sorted(set(strata))),
            expected="two patients or more of each label",
        )
    spec = FoldSpec(n_folds=min(n_folds, fewest), n_repeats=1)
    return make_folds(joined.patient_ids, strata, spec=spec, seed=config.seed)


def _followed(
    config: ModelConfig,
    parent: FittedModel,
    new: LabelledFeatures,
    old: LabelledFeatures | None,
    train: set[str],
    place: tuple[int, int],
    tail: TailPlan | None,
    further: TailUpdate | None,
) -> Iterator[tuple[UpdateStrategy, FittedModel]]:
    """Follow every strategy with training patients alone."""
    fresh, base = new.only(train), parent
    if old is not None:
        base = refit_on_all(config, old.only(train), tail=tail, place=place).trained
    yield "unchanged", base
    read = fresh if base.tail is None else tuned_features(fresh, base.tail)

    def with_tail(refit: Refit) -> FittedModel:
        return dataclasses.replace(refit.trained, tail=base.tail)

    yield "recalibrate", with_tail(recalibrated(config, base.on_features, read))
    if base.head.kind == "linear":
        yield "warm", with_tail(warmed(config, base.on_features, read))
    if further is not None:
        known = None if old is None else old.only(train)
        yield "tune", further.run(base, fresh, known, place=place).refit.trained
    if old is not None:
        both = old.only(train).joined(fresh)
        yield "refit", refit_on_all(config, both, tail=tail, place=place).trained


def _log_losses(labels: IntArray, scores: FloatArray) -> FloatArray:
    right = np.where(labels == 1, scores, 1.0 - scores)
    losses: FloatArray = -np.log(np.clip(right, _CLIP, 1.0))
    return losses


def _figures(labels: IntArray, scores: FloatArray) -> dict[str, Any]:
    return {
        "auc": delong_auc(labels, scores).estimate.as_dict(),
        "brier": brier(labels, scores).as_dict(),
        "log_loss": float(_log_losses(labels, scores).mean()),
        "mean_score": float(scores.mean()),
        "share_positive": float(labels.mean()),
        "n": len(labels),
    }


def _of_cohort(
    labels: IntArray, own: npt.NDArray[np.bool_], scores: Mapping[UpdateStrategy, FloatArray]
) -> dict[str, dict[str, Any]]:
    """Return the figures of every strategy on the patients of one cohort."""
    return {name: _figures(labels[own], values[own]) for name, values in scores.items()}


def _choose(
    labels: IntArray, scores: Mapping[UpdateStrategy, FloatArray], rng: np.random.Generator
) -> tuple[UpdateStrategy, list[dict[str, Any]]]:
    strategies = list(scores)
    chosen, steps = strategies[0], []
    for strategy in strategies[1:]:
        losses = _log_losses(labels, scores[strategy]) - _log_losses(labels, scores[chosen])
        difference = _mean_with_interval(losses, labels, rng)
        better = difference.ci_high is not None and difference.ci_high < 0
        steps.append(
            {
                "strategy": strategy,
                "against": chosen,
                "log_loss_difference": difference.as_dict(),
                "auc_difference": delong_difference(
                    labels, scores[strategy], scores[chosen]
                ).as_dict(),
                "significantly_better": better,
            }
        )
        chosen = strategy if better else chosen
    return chosen, steps


def _mean_with_interval(losses: FloatArray, labels: IntArray, rng: np.random.Generator) -> Estimate:
    def mean(rows: IntArray) -> FloatArray:
        means: FloatArray = losses[rows].mean(axis=1)
        return means

    return patient_bootstrap(mean, labels, n_samples=_SAMPLES, rng=rng, batched=True)
