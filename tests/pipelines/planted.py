"""A run whose features were made up: what lies right of them is tested in seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mri_transfer.models.features import FeatureStore, FeatureTable
from pipelines.config import RunConfig, read_config
from pipelines.opening import write_config
from pipelines.plan.order import stage_named
from pipelines.record import StageRecord, file_digests, recorded_specs
from pipelines.runner import RunOutcome, run_pipeline
from pipelines.stages.duplicates import write_duplicates
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SMALL

SETTINGS = [
    *SMALL,
    "folds.n_repeats=1",
]


def plant(
    folder: Path,
    tables: Mapping[str, FeatureTable],
    patients: pd.DataFrame,
    settings: Sequence[str] = (),
) -> tuple[Workspace, RunConfig]:
    """Set up a run folder as the features stage leaves it.

    Parameters
    ----------
    folder : Path
    tables : mapping of str to FeatureTable
        By pooling, the configured one first.
    patients : DataFrame
        Indexed by patient_id: label, age, sex, site and whatever else the manifest has.
    settings : sequence of str
        Overrides beside `SETTINGS`.
    """
    config = read_config(None, [*SETTINGS, *settings])
    workspace = Workspace(root=folder / "run", cache=folder / "cache")
    workspace.root.mkdir(parents=True)
    write_config(workspace, config)
    first = next(iter(tables.values()))
    scans = pd.DataFrame({"scan_id": first.scan_ids, "patient_id": first.patient_ids})
    manifest = scans.assign(session_id="", scanner="", path=scans["scan_id"] + ".nii.gz")
    for column in patients:
        manifest[column] = manifest["patient_id"].map(patients[column])
    for column in {"age", "sex", "site"} - set(patients):
        manifest[column] = ""
    manifest.to_csv(workspace.manifest, index=False)
    scans.assign(scan_sha256=first.scan_sha256, key="0" * 64).to_csv(workspace.slices, index=False)
    scans.to_csv(workspace.prepared, index=False)
    write_duplicates(workspace, keys={}, patients={}, spec=config.duplicates)
    _store(workspace, scans.assign(scan_sha256=first.scan_sha256), tables)
    vouch(workspace, config, *PLANTED)
    return workspace, config


#: What stages are to have made.
PLANTED = {
    "check": [],
    "prepare": ["manifest.csv", "prepared.csv", "duplicates.csv"],
    "slices": ["slices.csv"],
    "features": ["features.csv"],
}


def vouch(workspace: Workspace, config: RunConfig, *stages: str) -> None:
    """Record that some stages have made what lies there now, whoever made it."""
    for name in stages:
        stage, earlier = stage_named(name), StageRecord.read(workspace, name)
        made = PLANTED[name] if earlier is None else list(earlier.outputs)
        inputs = [path for path, _ in stage.inputs(workspace)]
        StageRecord(
            stage=name,
            inputs=file_digests(workspace, inputs),
            outputs=file_digests(workspace, [workspace.root / file for file in made]),
            specs=recorded_specs(config.seed, stage.specs(config)),
            seed=config.seed,
            seconds=0.0,
            started="2026-01-01T00:00:00+00:00",
        ).write(workspace)


def _store(workspace: Workspace, index: pd.DataFrame, tables: Mapping[str, FeatureTable]) -> None:
    store = FeatureStore(workspace.cache)
    for number, (pooling, table) in enumerate(tables.items()):
        names = [f"{pooling} {scan}" for scan in table.scan_ids]
        keys = [hashlib.sha256(name.encode()).hexdigest() for name in names]
        for key, scan in zip(keys, table.scans(), strict=True):
            store.put(key, scan)
        index["key" if number == 0 else f"key_{pooling}"] = keys
    index.to_csv(workspace.features, index=False)


def finish(workspace: Workspace, config: RunConfig, *stages: str) -> RunOutcome:
    """Run some stages; without names those from the folds to the audit."""
    names = stages or ("folds", "train", "evaluate", "audit")
    return run_pipeline(workspace, config, stages=[stage_named(name) for name in names])
