"""Training a bundle's tail further with new patients, and what guards it against forgetting.

A tail that is trained on new patients alone may lose what it knew of the old ones. Against that
stand the pull to its weights (L2-SP), the same weighed by what the old patients' loss depends on
(elastic weight consolidation), and training on some of the old patients again (rehearsal; Robins
1995, Connect Sci 7:123-146).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import derive_seed
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import Refit, refit_on_all
from mri_transfer.training.tuning import TailPlan

__all__ = ["TailUpdate", "demand_tunable"]

#: Settings that say which parameters are trained.
_SHAPING = ("strategy", "method", "start", "norm_moments", "rank")
#: Settings that need the patients whom the tail was trained on.
_OF_THE_OLD = ("ewc", "rehearsal")


def demand_tunable(config: ModelConfig, tuning: TuningSpec, *, old_at_hand: bool) -> None:
    """Refuse to train a tail further where that cannot be done.

    Parameters
    ----------
    config : ModelConfig
        Of the old bundle.
    tuning : TuningSpec
        Of the update.
    old_at_hand : bool
        Whether the patients whom the tail was trained on are there.

    Raises
    ------
    ConfigurationError
        If there is no tail, its other parameters would be trained, or patients are missing.
    """
    if not config.tuning.trains:
        raise ConfigurationError(
            "only a model with a trained tail can train it further",
            where="--mode",
            found="tune, and a frozen trunk",
            expected="warm, recalibrate or refit",
        )
    for name in _SHAPING:
        own, given = getattr(config.tuning, name), getattr(tuning, name)
        if own != given:
            raise ConfigurationError(
                "a tail is trained further as it was trained first",
                where=f"tuning.{name}",
                found=str(given),
                expected=str(own),
                remedy="Refit on both cohorts to train other parameters",
            )
    for name in _OF_THE_OLD:
        value = getattr(tuning, name)
        if value and not old_at_hand:
            raise ConfigurationError(
                "the patients that the tail was trained on are needed",
                where=f"tuning.{name}",
                found=f"{value:g}, and these patients are not at hand",
                remedy="Name the run that the bundle was made of with --run, or set it to 0",
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TunedFurther:
    """A model whose tail was trained further.

    Attributes
    ----------
    refit : Refit
        Its head was fitted to the same patients as its tail.
    patients : LabelledFeatures
        These: the new ones, and those who were rehearsed.
    n_rehearsed : int
    """

    refit: Refit
    patients: LabelledFeatures
    n_rehearsed: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TailUpdate:
    """How a tail is trained further.

    Attributes
    ----------
    config : ModelConfig
        Of the old bundle.
    tuning : TuningSpec
        Of the update: `ewc` and `rehearsal` among them.
    plan : TailPlan
        Of the old bundle.
    """

    config: ModelConfig
    tuning: TuningSpec
    plan: TailPlan

    @property
    def lasting(self) -> ModelConfig:
        """The settings of the model that comes of it: without those that need the old patients."""
        tuning = dataclasses.replace(self.tuning, ewc=0.0, rehearsal=0.0)
        return dataclasses.replace(self.config, tuning=tuning)

    def run(
        self,
        parent: FittedModel,
        new: LabelledFeatures,
        old: LabelledFeatures | None,
        *,
        place: tuple[int, int] = (0, 0),
    ) -> TunedFurther:
        """Train the tail of a model further, and fit a head to the features that it makes then.

        Parameters
        ----------
        parent : FittedModel
            With its tail.
        new : LabelledFeatures
        old : LabelledFeatures, optional
            The patients that the model was fitted to.
        place : (int, int)
            As in `refit_on_all`.

        Raises
        ------
        ConfigurationError
            As `demand_tunable`.
        """
        demand_tunable(self.config, self.tuning, old_at_hand=old is not None)
        assert parent.tail is not None  # the configuration trains one
        rehearsed = self._rehearsed(old)
        patients = new if rehearsed is None else new.joined(rehearsed)
        plan = self.plan.going_on(parent.tail, self.tuning, old=old, pooling=parent.pooling)
        config = dataclasses.replace(self.config, tuning=self.tuning)
        refit = refit_on_all(config, patients, tail=plan, place=place)
        tail = refit.trained.tail
        assert tail is not None
        lasting = dataclasses.replace(tail, spec=self.lasting.tuning)
        return TunedFurther(
            refit=dataclasses.replace(
                refit, trained=dataclasses.replace(refit.trained, tail=lasting)
            ),
            patients=patients,
            n_rehearsed=0 if rehearsed is None else len(rehearsed.labels),
        )

    def _rehearsed(self, old: LabelledFeatures | None) -> LabelledFeatures | None:
        """Draw the old patients who are trained on again, each label in its share."""
        share = self.tuning.rehearsal
        if not share or old is None:
            return None
        rng = np.random.default_rng(derive_seed(self.config.seed, 8))
        drawn: list[str] = []
        for label in sorted(set(old.labels.values())):
            own = [name for name in old.patient_ids if old.labels[name] == label]
            n = max(1, round(share * len(own)))
            drawn += [own[i] for i in rng.permutation(len(own))[:n]]
        return old.only(drawn)

    def guards(self, done: TunedFurther) -> dict[str, Any]:
        """Return what stood against forgetting, as JSON values."""
        return {
            "l2_sp": self.tuning.l2_sp,
            "ewc": self.tuning.ewc,
            "rehearsal": self.tuning.rehearsal,
            "n_rehearsed": done.n_rehearsed,
        }
