"""ModelConfig: every Spec between a scan and a decision, as the evaluated run had them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.labels import LabelSpec
from mri_transfer.core.specs import STRICT, validation_message
from mri_transfer.errors import StoreError
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import HEAD_KINDS, HeadSpec, LinearHeadSpec
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.trunks import TrunkSpec
from mri_transfer.scans.preparation import PreparationSpec
from mri_transfer.scans.quality import QualitySpec
from mri_transfer.scans.slices import SliceSpec
from mri_transfer.scans.volumes import VolumeSpec
from mri_transfer.training.search import Hyperparameters, SearchSpec
from mri_transfer.training.settings import FoldSpec, PredictionSpec

__all__ = ["ModelConfig"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """How a scan becomes a score, and how the heads behind it are made."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the run that was evaluated; every fit derives its own from it."""
    labels: LabelSpec = Field(default_factory=LabelSpec)
    volumes: VolumeSpec = Field(default_factory=VolumeSpec)
    preparation: PreparationSpec = Field(default_factory=PreparationSpec)
    quality: QualitySpec = Field(default_factory=QualitySpec)
    slices: SliceSpec = Field(default_factory=SliceSpec)
    trunk: TrunkSpec = Field(default_factory=TrunkSpec)
    features: FeatureSpec = Field(default_factory=FeatureSpec)
    """Resolved: with the precision and the device that the training features were computed on."""
    tuning: TuningSpec = Field(default_factory=TuningSpec)
    folds: FoldSpec = Field(default_factory=FoldSpec)
    harmonisation: HarmonisationSpec = Field(default_factory=HarmonisationSpec)
    heads: HeadSpec = Field(default_factory=LinearHeadSpec)
    predictions: PredictionSpec = Field(default_factory=PredictionSpec)
    search: SearchSpec = Field(default_factory=SearchSpec)

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The configured one, which the search may replace."""
        return Hyperparameters(
            pooling=self.features.pooling,
            head=self.heads,
            aggregation=self.predictions.aggregation,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values; without `tuning` where the trunk is frozen.

        Versions that know no tails then read it still.
        """
        content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        if not self.tuning.trains:
            del content["tuning"]
        return content

    @classmethod
    def from_dict(cls, content: Any) -> ModelConfig:
        """Read what `as_dict` wrote.

        Raises
        ------
        StoreError
            If a setting is unknown or has a value this version does not take.
        """
        try:
            return TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            raise StoreError(
                validation_message(error, of="model configuration", model=cls, unnamed=HEAD_KINDS),
                where="bundle.json",
                remedy="Use the version of mri-transfer that the bundle names",
            ) from error
