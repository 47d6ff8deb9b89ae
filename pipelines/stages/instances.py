"""The features of instances, as the stages that fit heads read them."""

from __future__ import annotations

import dataclasses

from mri_transfer.cohorts.labels import why_unused
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.instances import Instances
from pipelines.instances import source_config, source_workspace
from pipelines.plan.scans import CHECK, FEATURES, PREPARE, SLICES
from pipelines.running import demand_trusted
from pipelines.stage import Context
from pipelines.stages.features import read_feature_tables

__all__ = ["read_instances"]


def read_instances(context: Context) -> Instances | None:
    """Read the source cohort's patients with a label of the task; None if the run has none.

    Raises
    ------
    RunFolderError
        If its files are missing, edited or stale.
    """
    config = context.config
    if not config.instances.manifest:
        return None
    source, own = source_workspace(context.workspace), source_config(config)
    demand_trusted(
        dataclasses.replace(context, workspace=source, config=own),
        [(source.manifest, "prepare"), (source.features, "features")],
        stages=(CHECK, PREPARE, SLICES, FEATURES),
        caches=("features",),
    )
    used = dataclasses.replace(config.labels, unlabelled="exclude")
    patients = read_manifest(source.manifest, check_files=False).patients()["label"]
    labels = {
        str(name): str(label)
        for name, label in patients.items()
        if why_unused(label if isinstance(label, str) else None, used) is None
    }
    return Instances(
        tables={
            pooling: _labelled(table, labels)
            for pooling, table in read_feature_tables(source, own).items()
        },
        labels=labels,
        weight=config.instances.weight,
    )


def _labelled(table: FeatureTable, labels: dict[str, str]) -> FeatureTable:
    return table.rows([i for i, name in enumerate(table.patient_ids) if name in labels])
