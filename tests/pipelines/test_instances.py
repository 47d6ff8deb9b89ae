"""A run with instances of another cohort: prepared beside it, trained on, never tested."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.bundle import find_overlap, load_bundle
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import ConfigurationError, RunFolderError
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.training.settings import InstancesSpec
from pipelines.config import RunConfig, read_config
from pipelines.jobs.retrain import Packing, retrain_run
from pipelines.opening import open_run
from pipelines.plan.models import TRAIN
from pipelines.plan.order import stages_until
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from tests.made_once import made_once
from tests.pipelines.conftest import SmallJob


@pytest.fixture(scope="module")
def config(small_job: SmallJob, strangers: Path) -> RunConfig:
    instances = InstancesSpec(manifest=str(strangers), weight=0.25)
    return dataclasses.replace(small_job.config, instances=instances)


@pytest.fixture(scope="module")
def joined(
    small_job: SmallJob, config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> RunOutcome:
    """A finished run with 8 strangers as instances."""

    def make(folder: Path) -> None:
        workspace = begin_run(small_job.manifest, folder / "run", config, cache=folder / "cache")
        run_pipeline(workspace, config)

    folder = made_once(tmp_path_factory, "instances", make)
    # Each process has a copy, since a run's folder is locked by whoever works on it.
    mine = tmp_path_factory.mktemp("instances") / "run"
    shutil.copytree(folder / "run", mine)
    workspace = begin_run(small_job.manifest, mine, config, cache=folder / "cache")
    return run_pipeline(workspace, config)


def test_a_patient_of_both_cohorts_is_refused_before_anything_is_written(
    small_job: SmallJob, strangers: Path, tmp_path: Path
) -> None:
    cohort, source = read_manifest(small_job.manifest), read_manifest(strangers)
    name = str(cohort.scans["patient_id"][0])
    scans = source.scans.copy()
    scans.loc[0, "patient_id"] = name
    dataclasses.replace(source, scans=scans).write(tmp_path / "both.csv")
    config = dataclasses.replace(
        small_job.config, instances=InstancesSpec(manifest=str(tmp_path / "both.csv"))
    )
    with pytest.raises(ConfigurationError, match=f"in the cohort and among the instances.*{name}"):
        begin_run(small_job.manifest, tmp_path / "run", config, cache=tmp_path / "cache")
    assert not (tmp_path / "run").exists()


def test_a_source_without_a_label_of_the_task_is_refused(
    small_job: SmallJob, strangers: Path, tmp_path: Path
) -> None:
    source = read_manifest(strangers)
    renamed = source.scans.assign(label="MCI").astype({"label": "string"})
    dataclasses.replace(source, scans=renamed).write(tmp_path / "mci.csv")
    config = dataclasses.replace(
        small_job.config, instances=InstancesSpec(manifest=str(tmp_path / "mci.csv"))
    )
    with pytest.raises(
        ConfigurationError, match=r"label of the task \(found MCI; expected CN or AD"
    ):
        begin_run(small_job.manifest, tmp_path / "run", config, cache=tmp_path / "cache")


@pytest.mark.parametrize("setting", ["tuning.strategy=some", "harmonisation.kind=combat"])
def test_what_would_not_see_them_is_refused_when_settings_are_read(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{setting.partition('=')[0]}: instances"):
        read_config(None, ["instances.manifest=other.csv", setting])


@pytest.mark.slow
def test_instances_are_trained_on_and_counted_nowhere(
    joined: RunOutcome, finished: RunOutcome, strangers: Path
) -> None:
    workspace, alone = joined.workspace, finished.workspace
    assert joined.failed_checks == ()
    names = set(read_manifest(strangers).scans["patient_id"])
    head = json.loads(workspace.head(0, 0).with_suffix(".json").read_text())
    assert set(head["instances"]["patients"]) == names
    assert head["instances"]["weight"] == 0.25
    assert not names & set(head["training_patients"])
    for table in ("features", "folds", "patient_scores", "slice_scores", "inner_scores"):
        found, plain = (pd.read_csv(getattr(w, table)) for w in (workspace, alone))
        assert found["patient_id"].tolist() == plain["patient_id"].tolist(), table
    ours, theirs = (pd.read_csv(w.patient_scores)["score"] for w in (workspace, alone))
    assert not ours.equals(theirs)
    audit = AuditDocument.read(workspace.audit, stage="audit")
    (check,) = [one for one in audit.checks if one.check == "instances_only_trained_on"]
    assert check.passed
    assert check.n_checked == 8 * 4
    plain = AuditDocument.read(alone.audit, stage="audit")
    assert [c.check for c in plain.checks] == [c.check for c in audit.checks if c is not check]
    assert "8 labelled patients of another cohort" in workspace.report.read_text()
    assert "secret" not in workspace.report.read_text()


@pytest.mark.slow
def test_features_of_instances_that_were_edited_are_refused(
    joined: RunOutcome, tmp_path: Path
) -> None:
    shutil.copytree(joined.workspace.root, tmp_path / "run")
    features = tmp_path / "run" / "instances" / "features.csv"
    features.write_text(features.read_text().replace(",", ";", 1))
    workspace, settings = open_run(tmp_path / "run", cache=joined.workspace.cache)
    with pytest.raises(RunFolderError, match=r"features\.csv"):
        run_pipeline(workspace, settings, stages=[TRAIN])


@pytest.mark.slow
def test_a_bundle_knows_the_instances_as_trained_on(
    joined: RunOutcome, strangers: Path, tmp_path: Path
) -> None:
    workspace, settings = open_run(joined.workspace.root, cache=joined.workspace.cache)
    packing = Packing(out=tmp_path / "b")
    retrain_run(workspace, settings, packing, reporter=SilentReporter())
    bundle = load_bundle(tmp_path / "b")
    name = str(read_manifest(strangers).scans["patient_id"][0])
    found = find_overlap(bundle.marks, patient_id=name, scan_digests=frozenset())
    assert found
    assert found.patient
    text = (tmp_path / "b" / "bundle.json").read_text()
    assert "secret" not in text
    assert bundle.trained.record.instances.n_patients == 8


@pytest.mark.slow
def test_the_features_of_both_cohorts_are_made_by_one_command(
    small_job: SmallJob, finished: RunOutcome, config: RunConfig, tmp_path: Path
) -> None:
    workspace = begin_run(
        small_job.manifest, tmp_path / "run", config, cache=finished.workspace.cache
    )
    run_pipeline(workspace, config, stages=stages_until("features"))
    source = pd.read_csv(workspace.root / "instances" / "features.csv")
    own = pd.read_csv(workspace.features)
    assert len(source) == 8
    assert list(source) == list(own)
    assert not set(source["patient_id"]) & set(own["patient_id"])
