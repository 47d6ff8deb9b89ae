"""Features of single patients, computed again alone and without their label."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.evaluation.audit.robustness import sample_patients
from mri_transfer.models.features import ScanFeatures
from pipelines.config import RunConfig
from pipelines.engines.settings import ExecutorSpec
from pipelines.indexes import read_index
from pipelines.plan.scans import CHECK, FEATURES, PREPARE, SLICES
from pipelines.reporters import SilentReporter
from pipelines.running import run_stage
from pipelines.stage import Context
from pipelines.stages.features import collect_features, read_feature_table
from pipelines.stages.folds import read_folds
from pipelines.workspace import Workspace

__all__ = ["recomputed_features"]


def recomputed_features(context: Context) -> list[tuple[ScanFeatures, ScanFeatures]]:
    """Compute features of a sample of patients anew: each alone, from the scan on, unlabelled.

    What was made of a patient must not depend on other patients or on the label. The trunk's
    converted weights are shared; nothing else is taken from the run's cache. A scan that is
    refused when it comes alone has no features there.

    Returns
    -------
    list of (ScanFeatures, ScanFeatures)
        For each scan the run's own features and the recomputed ones.
    """
    workspace, config = context.workspace, context.config
    folds = read_folds(workspace, config)
    n_patients = config.audit.recomputed_patients
    sample = sorted(sample_patients(folds, n=n_patients, seed=config.seed)) if n_patients else []
    manifest = read_manifest(workspace.manifest, check_files=False)
    pairs = []
    for patient in context.reporter.track(sample, total=len(sample), what="computing anew"):
        with tempfile.TemporaryDirectory() as folder:
            alone = Workspace(root=Path(folder) / "run", cache=Path(folder) / "cache")
            _link_weights(workspace, alone)
            _only(manifest, patient).write(alone.source_manifest)
            _run(context, alone, config)
            pairs += _pairs(workspace, alone, patient)
    return pairs


def _only(manifest: Manifest, patient: str) -> Manifest:
    """Return the manifest with one patient, whose label is not said."""
    scans = manifest.scans[manifest.scans["patient_id"] == patient].reset_index(drop=True)
    unlabelled = pd.Series(pd.NA, index=scans.index, dtype="string")
    return dataclasses.replace(manifest, scans=scans.assign(label=unlabelled))


def _link_weights(workspace: Workspace, alone: Workspace) -> None:
    alone.cache.mkdir(parents=True)
    if workspace.weights.is_dir():
        alone.weights.symlink_to(workspace.weights.resolve(), target_is_directory=True)


def _run(context: Context, alone: Workspace, config: RunConfig) -> None:
    # One patient in a temporary folder, which other machines do not see.
    unlabelled = dataclasses.replace(
        config,
        labels=dataclasses.replace(config.labels, unlabelled="keep"),
        executor=ExecutorSpec(),
    )
    inner = Context(
        workspace=alone,
        config=unlabelled,
        reporter=SilentReporter(),
        weights=context.weights,
        jobs=1,
    )
    for stage in (CHECK, PREPARE, SLICES, FEATURES):
        run_stage(stage, inner)


def _pairs(
    workspace: Workspace, alone: Workspace, patient: str
) -> list[tuple[ScanFeatures, ScanFeatures]]:
    index = read_index(workspace.features)
    index = index[index["patient_id"] == patient]
    stored = collect_features(workspace, index, index["key"].tolist())
    anew = {one.scan_id: one for one in read_feature_table(alone).scans()}
    return [(one, anew.get(one.scan_id, _nothing_of(one))) for one in stored.scans()]


def _nothing_of(one: ScanFeatures) -> ScanFeatures:
    return dataclasses.replace(one, features=one.features[:0], z_mm=one.z_mm[:0])
