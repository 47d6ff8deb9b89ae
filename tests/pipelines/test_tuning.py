"""A run that trains a tail, from scans to report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import ConfigurationError
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.explain import read_feature_maps
from pipelines.config import read_config
from pipelines.jobs.retrain import Packing, retrain_run
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from tests.pipelines.conftest import SMALL, SmallJob

_TUNING = [
    "tuning.strategy=some",
    "tuning.epochs=2",
    "tuning.slices_per_scan=2",
    "folds.n_repeats=1",
    "slices.size_px=48",
    "explanation.maps=true",
]


@pytest.fixture(scope="module")
def tuned(small_job: SmallJob, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    folder = tmp_path_factory.mktemp("tuned")
    config = read_config(None, [*SMALL, *_TUNING])
    workspace = begin_run(small_job.manifest, folder / "run", config, cache=folder / "cache")
    return run_pipeline(workspace, config)


def test_every_stage_says_what_became_of_the_tails(tuned: RunOutcome) -> None:
    workspace = tuned.workspace
    index = pd.read_csv(workspace.features)
    files = sorted(workspace.cache.glob("activations/*/*.safetensors"))
    assert {file.stem for file in files} == set(index["activations"])
    for fold in (0, 1):
        record = json.loads(workspace.head(0, fold).with_suffix(".json").read_text())
        assert record["tuning"]["stages"] == ["block4_pool"]
        assert record["tuning"]["parameters"] == 5_899_776
        assert workspace.head(0, fold).with_name(f"r0_f{fold}_tail.safetensors").exists()
    page = workspace.report.read_text(encoding="utf-8")
    assert "the stage block4, pool (every parameter)" in page
    assert "1,735,488 parameters of the trunk are frozen; 5,899,776 parameters" in page


def test_the_audit_refits_tails_blind_to_test_patients(tuned: RunOutcome) -> None:
    checks = {
        check.check: check.passed
        for check in AuditDocument.read(tuned.workspace.audit, stage="audit").checks
    }
    blinded = ("refit_reproduces", "test_patients_blinded", "row_order")
    assert [checks[name] for name in blinded] == [True, True, True]


def test_feature_maps_are_of_a_patient_whom_the_fold_had_not_seen(tuned: RunOutcome) -> None:
    workspace = tuned.workspace
    found = read_feature_maps(workspace.explanations)
    document = found.document
    head = workspace.head(document.repeat, document.fold).with_suffix(".json")
    record = json.loads(head.read_text())
    assert document.patient_id not in record["training_patients"]
    assert document.scan_id not in record["training_scans"]
    assert document.tuned
    # Stages before the last are frozen; the last moved unless no epoch was chosen.
    assert [stage.name for stage in document.stages][-1] == "block4_pool"
    moved = not np.array_equal(found.untuned, found.stages[-1])
    assert moved == bool(record["tuning"]["epochs"])
    page = workspace.report.read_text(encoding="utf-8")
    assert f"network of repeat 0, fold {document.fold}, which had not seen the patient" in page
    assert "Inner log loss" in page


def test_a_second_run_has_nothing_to_do(tuned: RunOutcome) -> None:
    config = read_config(tuned.workspace.config)
    before = {record.stage: record.started for record in tuned.records}
    again = run_pipeline(tuned.workspace, config)
    assert {record.stage: record.started for record in again.records} == before


def test_what_cannot_hold_a_tail_yet_says_so(tuned: RunOutcome, tmp_path) -> None:
    config = read_config(tuned.workspace.config)
    with pytest.raises(ConfigurationError, match="cannot hold a trained tail yet"):
        retrain_run(tuned.workspace, config, Packing(out=tmp_path / "b"), reporter=SilentReporter())
    assert not (tuned.workspace.explanations / "explanation.json").exists()
    with pytest.raises(ConfigurationError, match="frozen trunks only"):
        read_config(None, ["tuning.strategy=all", "audit.robustness_patients=3"])


def test_a_frozen_run_knows_of_no_tail(finished: RunOutcome) -> None:
    workspace = finished.workspace
    assert list(pd.read_csv(workspace.features)) == ["scan_id", "patient_id", "scan_sha256", "key"]
    assert "tuning" not in json.loads(workspace.head(0, 0).with_suffix(".json").read_text())
    for stage in ("features", "train"):
        specs = json.loads(workspace.record(stage).read_text())["specs"]
        assert not {"tuning", "cut"} & set(specs)
    assert not list(workspace.cache.glob("activations"))
