"""Features of a patient alone: the same bytes, and nothing of the run's cache but the weights."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.evaluation.audit import check_preprocessing
from mri_transfer.models.features import FeatureStore
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome
from pipelines.stage import Context
from pipelines.stages import recompute
from pipelines.stages.features import collect_features
from pipelines.stages.recompute import recomputed_features
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob


def _context(finished: RunOutcome, small_job: SmallJob, **changes: object) -> Context:
    audit = dataclasses.replace(small_job.config.audit, recomputed_patients=1)
    config = dataclasses.replace(small_job.config, audit=audit)
    context = Context(workspace=finished.workspace, config=config, reporter=SilentReporter())
    return dataclasses.replace(context, **changes)


def _passed(pairs) -> bool:
    check = check_preprocessing(pairs)
    assert check.n_checked == len(pairs) > 0
    return check.passed


def test_features_computed_alone_are_the_runs_own_and_a_changed_byte_is_found(
    finished: RunOutcome, small_job: SmallJob
) -> None:
    pairs = recomputed_features(_context(finished, small_job))
    names = {stored.scan_id for stored, _ in pairs}
    manifest = pd.read_csv(finished.workspace.manifest, dtype=str)
    (patient,) = set(manifest[manifest["scan_id"].isin(names)]["patient_id"])
    assert names == set(manifest[manifest["patient_id"] == patient]["scan_id"])
    assert _passed(pairs)
    stored, alone = pairs[0]
    features = stored.features.copy()
    features[0, 0] = np.nextafter(features[0, 0], np.inf)
    assert not _passed([(dataclasses.replace(stored, features=features), alone), *pairs[1:]])


def test_nobody_is_recomputed_where_nobody_is_asked_for(
    finished: RunOutcome, small_job: SmallJob
) -> None:
    audit = dataclasses.replace(small_job.config.audit, recomputed_patients=0)
    config = dataclasses.replace(small_job.config, audit=audit)
    assert recomputed_features(_context(finished, small_job, config=config)) == []


@pytest.fixture
def without_work(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """Leave the stages out; remember the workspaces that they would have run in."""
    seen: list[Workspace] = []
    monkeypatch.setattr(recompute, "_run", lambda _context, alone, _config: seen.append(alone))
    return seen


def test_the_patient_is_alone_and_unlabelled(
    finished: RunOutcome, small_job: SmallJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def look(context: Context, alone: Workspace, config: object) -> None:
        found.append(pd.read_csv(alone.source_manifest, dtype=str))
        assert sorted(path.name for path in alone.cache.iterdir()) == ["weights"]

    monkeypatch.setattr(recompute, "_run", look)
    monkeypatch.setattr(recompute, "_pairs", lambda *_: [])
    recomputed_features(_context(finished, small_job))
    (table,) = found
    whole = read_manifest(finished.workspace.manifest, check_files=False).scans
    assert table["patient_id"].nunique() == 1
    assert table["label"].isna().all()
    mine = whole[whole["patient_id"] == table["patient_id"].iloc[0]]
    assert table["scan_id"].tolist() == mine["scan_id"].tolist()
    assert all(Path(path).is_file() for path in table["path"])


def test_a_scan_that_is_refused_when_alone_counts_as_different(
    finished: RunOutcome,
    small_job: SmallJob,
    monkeypatch: pytest.MonkeyPatch,
    without_work: list[Workspace],
) -> None:
    """A patient with two sessions, one of which does not come through alone."""
    index = pd.read_csv(finished.workspace.features, dtype=str)
    twice = index[index.duplicated("patient_id", keep=False)]
    patient = twice["patient_id"].iloc[0]
    first = index[index["patient_id"] == patient].iloc[:1]
    table = collect_features(finished.workspace, first, first["key"].tolist())
    monkeypatch.setattr(recompute, "sample_patients", lambda *_, **__: [patient])
    monkeypatch.setattr(recompute, "read_feature_table", lambda _alone: table)
    pairs = recomputed_features(_context(finished, small_job))
    assert len(without_work) == 1
    check = check_preprocessing(pairs)
    assert (check.n_checked, check.n_found, check.passed) == (2, 1, False)


def test_a_feature_that_was_changed_in_the_cache_fails_the_check(
    finished: RunOutcome, small_job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished.workspace.cache / "features", tmp_path / "cache" / "features")
    spoiled = Workspace(root=finished.workspace.root, cache=tmp_path / "cache")
    index = pd.read_csv(spoiled.features, dtype=str)
    patient, key = index[["patient_id", "key"]].iloc[0]
    store = FeatureStore(spoiled.cache)
    scan = store.get(key, scan_id="any")
    store.put(key, dataclasses.replace(scan, features=scan.features * np.float32(1.001)))
    mine = index[index["patient_id"] == patient]
    honest = collect_features(finished.workspace, mine, mine["key"].tolist())
    monkeypatch.setattr(recompute, "sample_patients", lambda *_, **__: [patient])
    monkeypatch.setattr(recompute, "_run", lambda *_: None)
    monkeypatch.setattr(recompute, "read_feature_table", lambda _alone: honest)
    assert not _passed(recomputed_features(_context(finished, small_job, workspace=spoiled)))
