"""The model as the configuration describes it, with the size of every part."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from mri_transfer.evaluation.fold_results import ChosenProcedure
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.heads import HEADS, AnyHeadSpec, HeadEntry, HeadPart, HeadSpec
from mri_transfer.models.pooling import count_features
from mri_transfer.models.tails.spec import TuningSpec, frozen_stages
from mri_transfer.models.trunks import TRUNKS, TrunkEntry, TrunkSpec
from mri_transfer.models.trunks.layers import TrunkLayer, TrunkStage, layer_table, stage_table
from mri_transfer.report.inputs import ReportSettings
from mri_transfer.scans.slices import SliceSpec

if TYPE_CHECKING:
    from mri_transfer.models.heads.entry import Aggregation

__all__ = ["ModelParts", "model_parts"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelParts:
    """What a slice passes through.

    Attributes
    ----------
    slices, trunk, features, tuning, head
        Their settings.
    aggregation : str
        As in `PredictionSpec`, never `auto`.
    harmonised : bool
        Whether ComBat stands before the head.
    recalibration : tuple of str
        Methods of which each fold chooses one; empty where scores stay as they are.
    classes : tuple of str
        Three labels or more that are told apart; empty with two.
    """

    slices: SliceSpec
    trunk: TrunkSpec
    features: FeatureSpec
    tuning: TuningSpec
    head: AnyHeadSpec
    aggregation: Aggregation
    harmonised: bool
    recalibration: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def layers(self) -> tuple[TrunkLayer, ...]:
        """The layers of the trunk."""
        return layer_table(self.trunk, self.slices.size_px)

    @property
    def stages(self) -> tuple[TrunkStage, ...]:
        """The stages of the trunk."""
        return stage_table(self.trunk, self.slices.size_px)

    @property
    def n_features(self) -> int:
        """Features of a slice."""
        last = self.stages[-1]
        return count_features(
            self.features.pooling, channels=last.channels, rows=last.rows, columns=last.columns
        )

    @property
    def trunk_entry(self) -> TrunkEntry:
        """What is known of the trunk."""
        return TRUNKS[self.trunk.name]

    @property
    def head_entry(self) -> HeadEntry:
        """What is known of the kind of head."""
        return HEADS[self.head.kind]

    @property
    def head_parts(self) -> tuple[HeadPart, ...]:
        """The parts of the head."""
        return self.head_entry.parts(self.head, self.n_features)

    @property
    def thawed(self) -> tuple[str, ...]:
        """The stages that are trained in each fold, in the network's order."""
        stages = tuple(stage.name for stage in self.stages)
        return stages[frozen_stages(self.tuning.strategy, stages) :]

    @property
    def n_tuned(self) -> int:
        """Parameters that are trained in thawed stages."""
        from mri_transfer.models.tails.adapters import count_trained

        children = dict(self.trunk_entry.architecture().named_children())
        return sum(count_trained(children[stage], self.tuning) for stage in self.thawed)

    @property
    def n_frozen(self) -> int:
        """Parameters of the trunk that never change."""
        kept = self.tuning.method in ("ssf", "lora", "parallel")
        changed = 0 if kept else self.n_tuned
        return sum(stage.parameters for stage in self.stages) - changed

    @property
    def n_trained(self) -> int:
        """Parameters of the head."""
        return sum(part.parameters for part in self.head_parts)

    def with_procedure(self, procedure: ChosenProcedure) -> ModelParts:
        """Return the model that a fold made by this procedure."""
        from mri_transfer.models.heads import resolve_aggregation

        adapter: TypeAdapter[AnyHeadSpec] = TypeAdapter(HeadSpec)
        head = adapter.validate_python(procedure.head.model_dump())
        return dataclasses.replace(
            self,
            features=dataclasses.replace(self.features, pooling=procedure.pooling),
            head=head,
            aggregation=resolve_aggregation(procedure.aggregation, head.kind),
        )


def model_parts(settings: ReportSettings) -> ModelParts:
    """Return the model as it was configured."""
    from mri_transfer.models.heads import resolve_aggregation

    methods = settings.predictions.recalibration
    return ModelParts(
        slices=settings.slices,
        trunk=settings.trunk,
        features=settings.features,
        tuning=settings.tuning,
        head=settings.heads,
        aggregation=resolve_aggregation(settings.predictions.aggregation, settings.heads.kind),
        harmonised=settings.harmonisation.kind != "none",
        recalibration=() if methods == ("none",) else methods,
        classes=settings.labels.classes,
    )
