"""Trunks of a run's folds, each with the tail that the fold trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from mri_transfer.models.features import FeatureTable, resolve_features
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.models.tails.tuned_features import TailTrunks, TunedTables
from mri_transfer.models.trunks import INPUT
from mri_transfer.training.fitted_model import FittedModel
from pipelines.indexes import read_index
from pipelines.stage import Context
from pipelines.stages.features import key_column, open_trunk, read_activations
from pipelines.stages.train import open_source_trunk

__all__ = ["open_fold_trunks", "read_tuned_tables"]


def open_fold_trunks(context: Context) -> TailTrunks | None:
    """Return the trunks of a run's folds; None if the trunk stays frozen."""
    config = context.config
    if not config.tuning.trains:
        return None
    whole, spec = open_source_trunk(context), resolve_features(config.features)
    source = TailSource.of_trunk(whole, config.tuning, spec)
    prefix = None
    if source.cut != INPUT:
        prefix = open_trunk(context, dataclasses.replace(whole.spec, layer=source.cut), spec)
    return TailTrunks(spec=config.trunk, source=source, prefix=prefix, whole=whole)


def read_tuned_tables(
    context: Context,
    trunks: TailTrunks,
    trained: Sequence[FittedModel],
    frozen: FeatureTable,
    *,
    patients: Mapping[str, Collection[str]] | None = None,
) -> TunedTables:
    """Return the features of a run's scans as the tails of its folds make them.

    Parameters
    ----------
    context : Context
    trunks : TailTrunks
    trained : sequence of FittedModel
        The models of the folds.
    frozen, patients
        As in `TunedTables`, readers being named by `FittedModel.reads`.
    """
    workspace, config = context.workspace, context.config
    activations = read_activations(workspace, config, frozen.scan_ids)
    assert activations is not None  # the run trains tails
    index = read_index(workspace.features).set_index("scan_id").loc[list(frozen.scan_ids)]
    return TunedTables(
        trunks,
        {model.reads: model.reader for model in trained},
        frozen,
        activations=activations,
        keys={pooling: index[key_column(pooling, config)].tolist() for pooling in config.poolings},
        cache=workspace.cache,
        patients=patients,
    )
