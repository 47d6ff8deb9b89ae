"""Tails inside one fit: tuned on the patients that a view shows, and on no others.

The number of epochs is chosen on inner folds, each with a tail of its own. The patients that an
inner fold holds out are scored with the features of its tail, so that recalibration and threshold
rest on scores by models that had not seen them, as those of a frozen trunk do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mri_transfer.core.threads import algebra_on_one_core, one_core_each
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.tails.fisher import empirical_fisher
from mri_transfer.models.tails.fitting import TailFit, choose_epochs, fit_tail
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.trainer import Epoch, LabelledActivations, TailStart
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.fit_record import InnerCurve, TuningRecord

__all__ = [
    "InnerTail",
    "TailPlan",
    "chosen_epochs",
    "fit_inner_tail",
    "fit_outer_tail",
    "tuned_features",
    "tuning_record",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TailPlan:
    """What tails start from, and how they are trained.

    Attributes
    ----------
    spec : TuningSpec
    source : TailSource
    start : TailStart, optional
        A tail to go on from; the source's own weights where nothing is given.
    """

    spec: TuningSpec
    source: TailSource
    start: TailStart | None = None

    def going_on(
        self, tail: Tail, spec: TuningSpec, *, old: LabelledFeatures | None, pooling: str
    ) -> TailPlan:
        """Return the plan of training a fitted tail further.

        Parameters
        ----------
        tail : Tail
        spec : TuningSpec
        old : LabelledFeatures, optional
            The patients that the tail was trained on; `spec.ewc` needs them.
        pooling : str
            Of the features that the tail's head reads.
        """
        importance = None
        if spec.ewc:
            assert old is not None  # update_tail.demand_tunable
            # One thread, as tails are trained by one: its bytes then owe nothing to their number.
            with one_core_each(1) as pool, algebra_on_one_core():
                importance = pool.submit(
                    empirical_fisher, self.source, tail, _labelled(old), spec=spec, pooling=pooling
                ).result()
        return dataclasses.replace(
            self, spec=spec, start=TailStart(tail=tail, importance=importance)
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InnerTail:
    """A tail that has not seen the patients of one inner fold.

    Attributes
    ----------
    fit : TailFit
    train : TrainingView
    held_out : LabelledFeatures
    """

    fit: TailFit
    train: TrainingView
    held_out: LabelledFeatures

    def tuned(self, n_epochs: int) -> tuple[TrainingView, LabelledFeatures]:
        """Return both with the features that the tail makes after so many epochs.

        Parameters
        ----------
        n_epochs : int
            At most those that were fitted.
        """
        tail = self.fit.tails[min(n_epochs, len(self.fit.tails) - 1)]
        return _tuned_view(self.train, tail), tuned_features(self.held_out, tail)


def fit_inner_tail(
    view: TrainingView,
    held_out: npt.NDArray[np.object_],
    plan: TailPlan,
    *,
    pooling: str,
    seed: int,
) -> InnerTail:
    """Train a tail on some of a view's patients and watch the others.

    Parameters
    ----------
    view : TrainingView
    held_out : ndarray of str
        The patients that are watched.
    plan : TailPlan
    pooling : str
    seed : int
    """
    watched = view.only(held_out)
    train = view.view(set(view.patient_ids) - set(held_out))
    fit = fit_tail(
        plan.source,
        plan.spec,
        _labelled(train),
        pooling=pooling,
        seed=seed,
        n_epochs=plan.spec.epochs,
        held_out=_labelled(watched),
        start=plan.start,
    )
    return InnerTail(fit=fit, train=train, held_out=watched)


def fit_outer_tail(
    view: TrainingView, plan: TailPlan, *, pooling: str, seed: int, n_epochs: int
) -> tuple[TailFit, TrainingView]:
    """Train the tail of a fit; return it and the view with the features that it makes."""
    fit = fit_tail(
        plan.source,
        plan.spec,
        _labelled(view),
        pooling=pooling,
        seed=seed,
        n_epochs=n_epochs,
        start=plan.start,
    )
    return fit, _tuned_view(view, fit.tails[-1])


def chosen_epochs(inner: Sequence[InnerTail], spec: TuningSpec) -> int:
    """Return the number of epochs that inner folds chose; all where nothing is chosen."""
    return choose_epochs([one.fit.epochs for one in inner], spec) if inner else spec.epochs


def tuning_record(plan: TailPlan, fit: TailFit, inner: Sequence[InnerTail]) -> TuningRecord:
    """Return what is written beside the head about its tail."""
    return TuningRecord(
        cut=plan.source.cut,
        stages=plan.source.stages,
        settings=plan.spec,
        parameters=fit.n_parameters,
        epochs=len(fit.epochs) - 1,
        loss=tuple(_loss(epoch) for epoch in fit.epochs[1:]),
        moved=dict(fit.distances),
        inner=tuple(_curve(one.fit.epochs) for one in inner),
    )


def _loss(epoch: Epoch) -> float:
    assert epoch.loss is not None  # only the first, before any training, has none
    return epoch.loss


def _curve(epochs: Sequence[Epoch]) -> InnerCurve:
    return InnerCurve(
        log_loss=tuple(epoch.log_loss for epoch in epochs),
        auc=tuple(epoch.auc for epoch in epochs),
    )


def _labelled(data: LabelledFeatures) -> LabelledActivations:
    if data.activations is None:
        raise _no_activations()
    return LabelledActivations(
        activations=data.activations,
        patient_ids=data.scans.patient_ids,
        labels=data.scan_is_positive,
        n_slices=data.scans.features.shape[1],
    )


def tuned_features(data: LabelledFeatures, tail: Tail) -> LabelledFeatures:
    """Return the same scans with the features that a tail makes of them.

    Parameters
    ----------
    data : LabelledFeatures
    tail : Tail
        With its source.

    Raises
    ------
    ConfigurationError
        If what lies at the cut is not known.
    """
    if data.activations is None:
        raise _no_activations()
    features = tail.features(data.activations, data.tables)
    tables = {
        name: dataclasses.replace(table, features=features[name])
        for name, table in data.tables.items()
    }
    # What the head is fitted to are features: it has no use for what lies at the cut.
    return dataclasses.replace(data, tables=tables, activations=None)


def _no_activations() -> ConfigurationError:
    return ConfigurationError(
        "a tail is to be trained or applied, and the activations at the cut are not known",
        where="tuning.strategy",
        expected="features with activations, or `frozen`",
    )


def _tuned_view(view: TrainingView, tail: Tail) -> TrainingView:
    tuned = tuned_features(view, tail)
    assert isinstance(tuned, TrainingView)
    return tuned
