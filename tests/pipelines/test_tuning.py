"""A run that trains a tail, from scans to report."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.bundle import ScanRequest, infer_scan, load_bundle
from mri_transfer.bundle.export import write_onnx
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import MachineError
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.evaluation.external.settings import ExternalSpec
from mri_transfer.explain import read_explanation, read_feature_maps
from mri_transfer.training.refit import BootstrapSpec
from pipelines.config import read_config
from pipelines.elsewhere import elsewhere
from pipelines.jobs.retrain import Packing, retrain_run
from pipelines.jobs.validate import validate_bundle
from pipelines.opening import open_run
from pipelines.plan.order import stage_named, stages_until
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.stage import Context
from pipelines.stages import train
from tests.pipelines.conftest import SMALL, Notes, SmallJob, run_command
from tests.pipelines.remote_runs import Elsewhere

#: Whole runs with a trained tail; their parts are tested in tests/models/tails and tests/training.
pytestmark = pytest.mark.slow

_TUNING = [
    "tuning.strategy=some",
    "tuning.epochs=2",
    # Two epochs are used, whether they help or not: no tail is left untrained.
    "tuning.patience=0",
    "tuning.slices_per_scan=2",
    "folds.n_repeats=1",
    "slices.size_px=48",
    "explanation.maps=true",
    "explanation.close_patients=2",
    "audit.robustness_patients=4",
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
    # Other tests add those of other patients.
    assert {file.stem for file in files} >= set(index["activations"])
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


def test_killed_after_its_first_fold_it_ends_with_the_same_bytes(
    small_job: SmallJob, tuned: RunOutcome, tmp_path: Path
) -> None:
    """The fold that was finished is kept, and the others are made as if nothing had happened."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    shutil.copytree(tuned.workspace.cache, cache, ignore=shutil.ignore_patterns("fits"))
    command = [sys.executable, "-m", "pipelines.commands.cli", "run", "--jobs", "1"]
    command += ["--manifest", str(small_job.manifest), "--out", str(run), "--cache", str(cache)]
    command += [part for setting in [*SMALL, *_TUNING] for part in ("--set", setting)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as first:
        while not list(cache.glob("fits/*/[0-9a-f]*.safetensors")):
            assert first.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        first.kill()
    assert first.returncode == -signal.SIGKILL
    assert not (run / "records" / "train.json").exists()
    assert len(list(cache.glob("fits/*/[0-9a-f]*.safetensors"))) == 1
    notes = Notes()
    workspace, config = open_run(run, cache=cache)
    run_pipeline(workspace, config, stages=stages_until("train"), reporter=notes)
    assert "1 of 2 folds were fitted before and kept" in notes.notes
    whole = tuned.workspace.root
    for file in sorted([*whole.glob("heads/*"), *whole.glob("predictions/*")]):
        if file.name != "baselines.csv":
            assert (run / file.relative_to(whole)).read_bytes() == file.read_bytes(), file.name


def test_folds_fitted_on_other_machines_have_the_same_bytes(
    tuned: RunOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    shutil.copytree(tuned.workspace.root, run, ignore=shutil.ignore_patterns("heads"))
    shutil.copytree(tuned.workspace.cache, cache, ignore=shutil.ignore_patterns("fits"))
    there = Elsewhere.in_place_of_this_machine(monkeypatch, cache)
    notes = Notes()
    workspace, config = open_run(run, cache=cache)
    monkeypatch.chdir(tmp_path)
    run_pipeline(workspace, config, stages=[stage_named("train")], reporter=notes)
    assert [(fit.repeat, fit.fold) for fit in there.jobs] == [(0, 0), (0, 1)]
    # A fit takes minutes or hours: a worker's death costs one.
    assert there.chunks == [1, 1]
    assert not [note for note in notes.notes if "kept" in note]
    heads = sorted(tuned.workspace.root.glob("heads/*"))
    assert heads
    for file in heads:
        assert (run / "heads" / file.name).read_bytes() == file.read_bytes(), file.name
    # Nothing is asked for that is there.
    run_pipeline(
        workspace, config, stages=[stage_named("train")], force_from="train", reporter=notes
    )
    assert len(there.jobs) == 2
    assert "2 of 2 folds were fitted before and kept" in notes.notes


def test_a_machine_that_would_make_another_fit_is_refused(
    tuned: RunOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(tuned.workspace.cache, cache, ignore=shutil.ignore_patterns("fits"))
    run = shutil.copytree(tuned.workspace.root, tmp_path / "run")
    workspace, config = open_run(run, cache=cache)
    context = Context(workspace=workspace, config=config, reporter=SilentReporter())
    fit = train._Fit(positive="AD", others="CN", repeat=0, fold=0, key="0" * 64)
    with pytest.raises(MachineError, match=r"another fit.*features\.device"):
        list(train._fit_batch(elsewhere(context), [fit], 1))


def test_a_second_run_has_nothing_to_do(tuned: RunOutcome) -> None:
    config = read_config(tuned.workspace.config)
    before = {record.stage: record.started for record in tuned.records}
    again = run_pipeline(tuned.workspace, config)
    assert {record.stage: record.started for record in again.records} == before


@pytest.fixture(scope="module")
def packed_tail(tuned: RunOutcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "b"
    workspace, config = open_run(tuned.workspace.root, cache=tuned.workspace.cache)
    packing = Packing(out=out, bootstrap=BootstrapSpec(n_heads=2))
    retrain_run(workspace, config, packing, reporter=SilentReporter())
    return out


def test_a_bundle_of_a_tail_is_small_and_scores_scans(
    tuned: RunOutcome, packed_tail: Path, tmp_path: Path
) -> None:
    import onnxruntime

    bundle = load_bundle(packed_tail)
    assert sum(file.stat().st_size for file in packed_tail.rglob("*")) < 60e6
    assert bundle.facts["tail"]["numbers"] == 5_899_776
    assert bundle.conformal is None
    scan = read_manifest(tuned.workspace.manifest).scans.iloc[3]
    found = infer_scan(
        bundle, ScanRequest(path=Path(scan["path"]), scan_id=scan["scan_id"], force=True)
    )
    score, stack, maps = found.prediction.score, found.stack, found.maps
    assert score is not None
    assert stack is not None
    assert maps is not None
    assert 0 < found.prediction.score_low <= score <= found.prediction.score_high < 1
    assert maps.shape[0] == len(found.prediction.slice_scores) == 8
    write_onnx(bundle, tmp_path / "b.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "b.onnx"))
    (exported, _) = session.run(None, {"pixels": stack.pixels[None]})
    assert exported[0] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("mode", ["refit", "warm", "tune"])
def test_a_tail_takes_in_a_cohort_and_says_what_it_forgot(
    mode, tuned: RunOutcome, packed_tail: Path, strangers: Path, tmp_path: Path, capsys
) -> None:
    words = ["retrain", "--from", str(packed_tail), "--manifest", str(strangers)]
    words += ["--out", str(tmp_path / "b2"), "--mode", mode, "--work", str(tmp_path / "run")]
    words += ["--cache", str(tuned.workspace.cache)]
    words += ["--run", str(tuned.workspace.root)] if mode != "warm" else []
    if mode == "tune":
        words += ["--set", "tuning.ewc=10", "--set", "tuning.rehearsal=0.5"]
    assert run_command(*words) == 0
    before, after = load_bundle(packed_tail), load_bundle(tmp_path / "b2")
    update = json.loads((tmp_path / "run" / "update.json").read_text())
    meter = update["forgetting"]
    same = {
        name: np.array_equal(values, after.tail.tensors.get(name))
        for name, values in before.tail.tensors.items()
    }
    said = capsys.readouterr().out
    assert (f"as --mode says: {mode}" in said) == (update["chosen"] != mode)
    assert list(meter["distances"]) == ["block4_pool", "head"]
    if mode == "tune":
        guards = {"l2_sp": 0.01, "ewc": 10.0, "rehearsal": 0.5, "n_rehearsed": 4}
        assert meter["guards"] == guards
        assert after.facts["mode"] == "tune"
        assert after.config.tuning == before.config.tuning
        assert "L2-SP 0.01, EWC 10, 4 old patients rehearsed (50%)" in said
    if mode != "warm":
        assert meter["n_old"] == meter["auc_before"]["n"] == meter["auc_after"]["n"] == 8
        assert "held-out old patients" in said
    else:
        assert all(same.values())
        assert meter["auc_before"] is None
        assert meter["distances"]["block4_pool"] == 0
        assert meter["distances"]["head"] > 0
        assert "the old patients were not at hand" in said


def test_a_bundle_of_a_tail_is_tested_on_another_cohort(
    tuned: RunOutcome, packed_tail: Path, strangers: Path, tmp_path: Path
) -> None:
    """Every patient has the score that predicting the scan gives."""
    tested = validate_bundle(
        packed_tail,
        strangers,
        tmp_path / "v",
        spec=ExternalSpec(),
        cache=tuned.workspace.cache,
        reporter=SilentReporter(),
    )
    table = pd.read_csv(tested.files.workspace.patient_scores)
    scores = table.set_index("patient_id")["score"]
    scan = read_manifest(strangers).scans.iloc[0]
    predicted = load_bundle(packed_tail).predict(scan["path"], force=True)
    assert predicted.score == pytest.approx(scores[scan["patient_id"]], abs=1e-6)


def test_maps_are_made_by_the_tail_and_head_of_the_fold_that_had_not_seen_the_patient(
    tuned: RunOutcome,
) -> None:
    """What frozen maps are held to: the recorded scores, the same bytes again, complete sums."""
    workspace = tuned.workspace
    found = read_explanation(workspace.explanations)
    checks = {check.check: check for check in found.document.checks}
    assert checks["same_features"].expected.startswith("patients' scores are those recorded")
    assert checks["same_features"].value < 1e-6
    for name in ("same_features", "same_again", "is_complete"):
        assert checks[name].passed, name
    scans = pd.read_csv(workspace.slices, dtype=str)["scan_id"].tolist()
    assert list(found.scan_ids) == scans
    assert np.abs(found.maps).max() > 0
    assert len(found.document.pixel_attribution) == 2
    for row in found.document.pixel_attribution:
        # 16 steps of a bent network, at 48 px.
        assert row.missing_share < 0.2
        assert row.strongest_patch > 0
    assert found.document.truth is not None
    # All four whom a fold trains on.
    assert len(found.neighbours) == 8 * 4
    page = workspace.report.read_text(encoding="utf-8")
    assert "Maps are not shown" not in page


def test_disturbed_scans_are_scored_by_the_fold_that_had_not_seen_the_patient(
    tuned: RunOutcome,
) -> None:
    rows = AuditDocument.read(tuned.workspace.audit, stage="audit").robustness
    assert rows is not None
    assert {row.n for row in rows} == {4, 8}
    disturbed = [row for row in rows if row.n == 4]
    assert len(disturbed) > 10
    assert max(row.score_change.value for row in disturbed) > 0
    assert all(row.auc.value is not None for row in disturbed)


def test_a_frozen_run_knows_of_no_tail(finished: RunOutcome) -> None:
    workspace = finished.workspace
    assert list(pd.read_csv(workspace.features)) == ["scan_id", "patient_id", "scan_sha256", "key"]
    assert "tuning" not in json.loads(workspace.head(0, 0).with_suffix(".json").read_text())
    for stage in ("features", "train"):
        specs = json.loads(workspace.record(stage).read_text())["specs"]
        assert not {"tuning", "cut"} & set(specs)
    assert not list(workspace.cache.glob("activations"))
