"""What the stage explain reads of a run, once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from mri_transfer.core.specs import digest
from mri_transfer.explain.attribution import Activations, FeaturesByPooling
from mri_transfer.explain.mean_log_odds import PixelTrunks
from mri_transfer.explain.scan_maps import maps_key
from mri_transfer.models.features import FeatureTable, MaximaStore, resolve_features
from mri_transfer.models.pooling import Maxima
from mri_transfer.models.tails.tuned_features import TailTrunks, TunedTables
from mri_transfer.models.trunks import Trunk, untrained
from mri_transfer.scans.slices import SliceStack, SliceStore
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds
from pipelines.config import RunConfig
from pipelines.indexes import read_index, read_prepared_index
from pipelines.stage import Context
from pipelines.stages.features import key_column, open_trunk, read_feature_tables
from pipelines.stages.fold_trunks import open_fold_trunks, read_tuned_tables
from pipelines.stages.folds import read_folds
from pipelines.stages.train import read_trained

__all__ = ["ExplainJob", "open_explain_job"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainJob:
    """What is read once and used throughout."""

    context: Context
    trained: list[FittedModel]
    tables: Mapping[str, FeatureTable]
    """Of the frozen trunk, by pooling."""
    folds: Folds
    scans: list[dict[str, str]]
    """In the order of the tables: scan_id, patient_id, volume, and the keys `slices`, `maps` and,
    where features are max-pooled, `maxima`."""
    trunks: TailTrunks | None
    """Where tails were trained."""

    @property
    def config(self) -> RunConfig:
        """The run's settings."""
        return self.context.config

    def stack(self, i: int) -> SliceStack:
        """Return the slices of a scan."""
        scan = self.scans[i]
        store = SliceStore(self.context.workspace.cache)
        return store.get(scan["slices"], scan_id=scan["scan_id"])

    @functools.cached_property
    def trunk(self) -> Trunk:
        """The trunk, loaded when it is first asked for: often nothing has to pass through it."""
        config = self.config
        return open_trunk(self.context, config.trunk, resolve_features(config.features))

    @functools.cached_property
    def tuned(self) -> TunedTables | None:
        """The features that the folds' tails make; None if the trunk stays frozen."""
        if self.trunks is None:
            return None
        frozen = next(iter(self.tables.values()))
        return read_tuned_tables(self.context, self.trunks, self.trained, frozen)

    @functools.cached_property
    def _random_trunk(self) -> Trunk:
        config = self.config
        control = untrained(config.trunk, seed=config.seed)
        return open_trunk(self.context, control, resolve_features(config.features))

    @functools.cached_property
    def _frozen_pixels(self) -> PixelTrunks:
        return PixelTrunks.of(self.trunk, self._random_trunk)

    def pixel_trunks(self, model: FittedModel) -> PixelTrunks:
        """Return the trunk of a fold as pixel attribution needs it."""
        if self.trunks is None:
            return self._frozen_pixels
        return PixelTrunks.of(self.trunks.of(model.reader.tail), self._random_trunk)

    @functools.cached_property
    def poolings(self) -> tuple[str, ...]:
        """The poolings that the heads read."""
        return tuple(dict.fromkeys(model.pooling for model in self.trained))

    def features(self, i: int) -> FeaturesByPooling:
        """Return the features of a scan by the frozen trunk, by pooling."""
        return {name: self.tables[name].features[i] for name in self.poolings}

    def kept(self, i: int) -> Activations | None:
        """Return what is kept of a scan's activations, if that is enough for its maps."""
        if self.trunks is not None or self.poolings != ("max",) or self.config.explanation.grad_cam:
            return None
        features = self.features(i)
        store = MaximaStore(self.context.workspace.cache)
        maxima = store.find(self.scans[i]["maxima"], features["max"])
        return None if maxima is None else Activations(features=features, maps=maxima)

    def passed(self, i: int) -> list[Activations]:
        """Pass a scan through the trunk, or the tail of each fold, once more, for each head."""
        if self.tuned is None:
            return [self._passed_frozen(i)] * len(self.trained)
        return [
            Activations.of_maps(self.tuned.maps(model.reads, i), [model.pooling])
            for model in self.trained
        ]

    def _passed_frozen(self, i: int) -> Activations:
        """Pass a scan through the trunk once more; keep where the largest values lie."""
        activations = Activations.through(self.trunk, self.stack(i), self.poolings)
        is_kept = self.kept(i) is not None
        if "max" in self.poolings and not is_kept and not isinstance(activations.maps, Maxima):
            store = MaximaStore(self.context.workspace.cache)
            maxima = Maxima.of(activations.maps)
            store.put(self.scans[i]["maxima"], maxima, activations.features["max"])
        return activations


def open_explain_job(context: Context) -> ExplainJob:
    """Read the heads, features and folds of a run, and the keys of its scans."""
    workspace, config = context.workspace, context.config
    folds = read_folds(workspace, config)
    trunks = open_fold_trunks(context)
    trained = [
        one.with_source(trunks.source if trunks else None)
        for one in read_trained(workspace, config, folds)
    ]
    tables = read_feature_tables(workspace, config)
    features = read_index(workspace.features)
    columns = [str(name) for name in features if str(name).startswith("key")]
    slices = read_index(workspace.slices)
    slices_key = dict(zip(slices["scan_id"], slices["key"], strict=True))
    volume = {row["scan_id"]: row["volume"] for row in read_prepared_index(workspace)}
    scans = []
    for row in features.to_dict("records"):
        key = digest([row[name] for name in columns])
        scans.append(
            {
                "scan_id": str(row["scan_id"]),
                "patient_id": str(row["patient_id"]),
                "volume": volume[row["scan_id"]],
                "slices": slices_key[row["scan_id"]],
                "maxima": str(row.get(key_column("max", config), "")),
                "maps": maps_key(
                    features_key=key,
                    patient_id=row["patient_id"],
                    trained=trained,
                    grad_cam=config.explanation.grad_cam,
                ),
            }
        )
    return ExplainJob(
        context=context, trained=trained, tables=tables, folds=folds, scans=scans, trunks=trunks
    )
