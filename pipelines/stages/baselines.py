"""Baselines from the same images; a part of the evaluate stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.evaluation.image_baselines import (
    RANDOM_TRUNK,
    descriptor_baselines,
    random_trunk_baseline,
)
from mri_transfer.evaluation.volumetry_baselines import volumetry_baselines
from mri_transfer.models.features import FeatureTable, resolve_features
from mri_transfer.models.trunks import untrained
from mri_transfer.scans.descriptors import (
    DescriptorStore,
    ScanDescriptors,
    describe,
    descriptor_key,
)
from mri_transfer.scans.slices import SliceStore
from mri_transfer.training.estimator import configured_estimator
from mri_transfer.training.folds import Folds
from pipelines.indexes import load_prepared, read_index, read_prepared_index
from pipelines.stage import Context
from pipelines.stages.brain_volumes import brain_volumes
from pipelines.stages.features import collect_features, encode_missing, plan_features
from pipelines.stages.filling import fill_cache
from pipelines.stages.train import labelled_features

__all__ = ["image_baselines", "random_trunk_table"]


def image_baselines(context: Context, folds: Folds) -> dict[str, pd.DataFrame]:
    """Score the run's patients by every image baseline that the configuration asks for."""
    config = context.config
    found: dict[str, pd.DataFrame] = {}
    if config.evaluation.image_baselines:
        patient_ids, descriptors = _descriptors(context)
        labels: dict[str, Any] = {
            "folds": folds,
            "positive_label": config.labels.positive,
            "negative_label": config.labels.others,
            "seed": config.seed,
        }
        context.reporter.note("baselines from outline, histogram, voxels and volumes")
        found |= descriptor_baselines(descriptors, patient_ids, **labels)
        found |= volumetry_baselines(
            brain_volumes(context),
            patient_ids,
            patients=read_manifest(context.workspace.manifest, check_files=False).patients(),
            **labels,
        )
    if config.evaluation.random_trunk and config.trunk.weights != "random":
        found[RANDOM_TRUNK] = random_trunk_baseline(
            configured_estimator(config),
            labelled_features(
                context,
                {config.features.pooling: random_trunk_table(context)},
                folds,
                instances=False,
            ),
            folds,
            seed=config.seed,
        )
    return found


def random_trunk_table(context: Context) -> FeatureTable:
    """Collect the features of an untrained trunk, computing what the cache lacks."""
    config = context.config
    trunk = untrained(config.trunk, seed=config.seed)
    spec = resolve_features(config.features)
    index, todo = plan_features(context.workspace, trunk, spec, [spec.pooling])
    encode_missing(context, trunk, spec, todo, what="features of the untrained trunk")
    return collect_features(context.workspace, index, index[spec.pooling].tolist())


def _descriptors(context: Context) -> tuple[list[str], list[ScanDescriptors]]:
    workspace, store = context.workspace, DescriptorStore(context.workspace.cache)
    slices = read_index(workspace.slices)
    slices_keys = dict(zip(slices["scan_id"], slices["key"], strict=True))
    scans = [
        {**scan, "slices_key": slices_keys[scan["scan_id"]]}
        for scan in read_prepared_index(workspace)
    ]
    keys = [_descriptor_key(context, scan) for scan in scans]
    todo = [scan for scan, key in zip(scans, keys, strict=True) if key not in store]
    fill_cache(context, _describe, todo, what="describing scans")
    return [scan["patient_id"] for scan in scans], [store.get(key) for key in keys]


def _descriptor_key(context: Context, scan: Mapping[str, str]) -> str:
    return descriptor_key(volume_key=scan["volume_key"], slices=context.config.slices)


def _describe(context: Context, scan: Mapping[str, str]) -> None:
    workspace, config = context.workspace, context.config
    store, key = DescriptorStore(workspace.cache), _descriptor_key(context, scan)
    if key not in store:
        volume = load_prepared(scan, config.volumes)
        stack = SliceStore(workspace.cache).get(scan["slices_key"], scan_id=scan["scan_id"])
        store.put(key, describe(volume, stack, config.slices))
