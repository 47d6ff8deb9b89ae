"""What is written beside a fitted head: what was chosen, from whom, and what it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from pydantic import TypeAdapter

from mri_transfer.models.recalibration import Recalibration
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.training.instances import InstancesRecord
from mri_transfer.training.search import Hyperparameters

__all__ = ["FitRecord", "InnerCurve", "TuningRecord"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InnerCurve:
    """Patients held out inside training, by epoch of the inner fit; the first is the untuned trunk.

    Attributes
    ----------
    log_loss, auc : tuple of float or None, length n_epochs + 1
        By the linear head that stages learn from; None where it is not defined.
    """

    log_loss: tuple[float | None, ...]
    auc: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningRecord:
    """How a fit's tail was trained, and what became of it.

    Attributes
    ----------
    cut : str
        The last frozen stage, or `INPUT`.
    stages : tuple of str
        Those that were trained, in the network's order.
    settings : TuningSpec
    parameters : int
        Trained in these stages.
    epochs : int
        Of the fit, as inner folds chose them.
    loss : tuple of float, length `epochs`
        Mean over the batches of each epoch.
    moved : mapping of str to float
        Distance of each stage's parameters from their start, over the start's norm.
    inner : tuple of InnerCurve
        Of each inner fold; empty where the number of epochs was not chosen.
    """

    cut: str
    stages: tuple[str, ...]
    settings: TuningSpec
    parameters: int
    epochs: int
    loss: tuple[float, ...]
    moved: Mapping[str, float]
    inner: tuple[InnerCurve, ...]

    def inner_mean(self, figure: Literal["log_loss", "auc"]) -> tuple[float | None, ...]:
        """Return the mean of inner folds by epoch, of the epochs that all of them reached.

        It is None where it is not defined in one of them.
        """
        curves: list[tuple[float | None, ...]] = [getattr(one, figure) for one in self.inner]
        # Inner fits stop at different epochs.
        epochs = zip(*curves, strict=False)
        return tuple(None if None in values else fmean(values) for values in epochs)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        found: dict[str, Any] = _TUNING_RECORD.dump_python(self, mode="json")
        return found

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TuningRecord:
        """Read what `as_dict` wrote.

        Raises
        ------
        pydantic.ValidationError
            If a part is missing or of another kind.
        """
        return _TUNING_RECORD.validate_python(content)


_TUNING_RECORD = TypeAdapter(TuningRecord)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitRecord:
    """What is written beside a fitted head. A field that is None is not written.

    Attributes
    ----------
    hyperparameters : Hyperparameters
        Those the head was fitted with; under the key `procedure` in files.
    recalibration : Recalibration
    threshold : float
    threshold_from : str, optional
    target_thresholds : mapping of str to float, optional
    recalibration_log_loss : mapping of str to float, optional
        Of the methods that were tried.
    trials : sequence of mapping, optional
        Every procedure that was tried, in the order of trying.
    repeat, fold : int, optional
    training_patients : sequence of str, optional
    training_scans : mapping of str to str, optional
        Each scan's SHA-256.
    tuning : TuningRecord, optional
        Where a tail was trained.
    instances : InstancesRecord, optional
        Where patients of another cohort were trained on as well.
    """

    hyperparameters: Hyperparameters
    recalibration: Recalibration
    threshold: float
    threshold_from: str | None = None
    target_thresholds: Mapping[str, float] | None = None
    recalibration_log_loss: Mapping[str, float] | None = None
    trials: Sequence[Mapping[str, Any]] | None = None
    repeat: int | None = None
    fold: int | None = None
    training_patients: Sequence[str] | None = None
    training_scans: Mapping[str, str] | None = None
    tuning: TuningRecord | None = None
    instances: InstancesRecord | None = None

    @property
    def nameless(self) -> FitRecord:
        """The record as it may leave the hospital: without those who were trained on."""
        return dataclasses.replace(
            self,
            training_patients=None,
            training_scans=None,
            repeat=None,
            fold=None,
            instances=None if self.instances is None else self.instances.nameless,
        )

    @property
    def essential(self) -> FitRecord:
        """What a score needs and nothing else; nobody is named, so that it may leave."""
        return FitRecord(
            hyperparameters=self.hyperparameters,
            recalibration=self.recalibration,
            threshold=self.threshold,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        content = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        }
        del content["hyperparameters"]
        if self.tuning is not None:
            content["tuning"] = self.tuning.as_dict()
        if self.instances is not None:
            content["instances"] = self.instances.as_dict()
        return {
            **content,
            "procedure": self.hyperparameters.as_dict(),
            "recalibration": self.recalibration.as_dict(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FitRecord:
        """Read what `as_dict` wrote; what other versions wrote beside it is passed over."""
        known = {field.name for field in dataclasses.fields(cls)}
        plain = {name: value for name, value in content.items() if name in known}
        if plain.get("tuning") is not None:
            plain["tuning"] = TuningRecord.from_dict(plain["tuning"])
        if plain.get("instances") is not None:
            plain["instances"] = InstancesRecord.from_dict(plain["instances"])
        return cls(
            **{
                **plain,
                "hyperparameters": Hyperparameters.from_dict(content["procedure"]),
                "recalibration": Recalibration.from_dict(content["recalibration"]),
                "threshold": float(content["threshold"]),
            }
        )
