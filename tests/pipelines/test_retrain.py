"""From a finished run to a bundle that scores scans, and from a bundle to its successor."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.bundle import overlap
from mri_transfer.bundle.storage import load_bundle
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import ConfigurationError, RunFolderError
from mri_transfer.scans.volumes import load_volume
from pipelines.config import RunConfig
from pipelines.jobs.retrain import Packing, model_config_of, retrain_run
from pipelines.jobs.retrain_update import Update, update_bundle
from pipelines.opening import open_run
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome
from pipelines.stages.features import read_feature_tables
from pipelines.workspace import Workspace
from tests.pipelines.conftest import run_command


@pytest.fixture(scope="module")
def opened(finished: RunOutcome) -> tuple[Workspace, RunConfig]:
    return open_run(finished.workspace.root, cache=finished.workspace.cache)


def test_a_scan_of_the_run_gets_the_features_of_the_run(
    opened: tuple[Workspace, RunConfig], packed: Path
) -> None:
    workspace, config = opened
    loaded = load_bundle(packed.with_name("b.zip"))
    scan = read_manifest(workspace.manifest).scans.iloc[3]
    table = read_feature_tables(workspace, config)[loaded.trained.pooling]
    volume = load_volume(scan["path"], scan_id=scan["scan_id"])
    features = loaded.encode(volume)[0].features
    stored = table.features[table.scan_ids.index(scan["scan_id"])]
    assert np.array_equal(features, stored)
    predicted = loaded.predict(scan["path"], patient_id=scan["patient_id"], force=True)
    assert predicted.score == pytest.approx(loaded.score(stored[None])[0, 0])
    assert 0 < predicted.score_low <= predicted.score <= predicted.score_high < 1
    assert predicted.overlap.patient
    assert predicted.overlap.scan
    assert predicted.bundle_digest == loaded.digest
    assert len(predicted.slice_scores) == config.slices.n_slices


def test_a_stranger_is_scored_without_a_label_and_without_overlap(
    packed: Path, strangers: Path
) -> None:
    scan = read_manifest(strangers).scans.iloc[0]
    predicted = load_bundle(packed).predict(scan["path"], patient_id=scan["patient_id"], force=True)
    assert not predicted.overlap
    assert predicted.label in ("AD", "CN")
    assert predicted.as_dict()["score"] == predicted.score


def test_a_copy_of_a_training_scan_under_another_name_is_found(
    opened: tuple[Workspace, RunConfig], packed: Path, tmp_path: Path
) -> None:
    import gzip

    path = Path(read_manifest(opened[0].manifest).scans.iloc[0]["path"])
    (tmp_path / "x.nii").write_bytes(gzip.decompress(path.read_bytes()))
    predicted = load_bundle(packed).predict(tmp_path / "x.nii", patient_id="nobody", force=True)
    assert predicted.overlap.scan
    assert not predicted.overlap.patient


def test_a_bundle_promises_what_was_measured(
    opened: tuple[Workspace, RunConfig], packed: Path
) -> None:
    import json

    workspace, config = opened
    loaded = load_bundle(packed)
    document = json.loads(workspace.evaluation.read_text())
    for name, figure in loaded.facts["performance"]["figures"].items():
        assert figure == document["patient"][name]
    assert loaded.facts["cohort"] == {
        "n_patients": 8,
        "n_scans": 10,
        "n_by_label": {"AD": 4, "CN": 4},
        "synthetic": True,
    }
    assert loaded.config == model_config_of(workspace, config)
    assert loaded.facts["lineage"] == []
    ages = pd.read_csv(workspace.manifest)["age"]
    assert loaded.contract.facts["age_years"]["range"] == [ages.min(), ages.max()]


def test_a_run_that_was_not_evaluated_makes_no_bundle(
    opened: tuple[Workspace, RunConfig], tmp_path: Path
) -> None:
    workspace, config = opened
    root = Path(shutil.copytree(workspace.root, tmp_path / "run"))
    (root / "evaluation.json").unlink()
    with pytest.raises(RunFolderError, match="evaluate"):
        retrain_run(
            Workspace(root=root, cache=workspace.cache),
            config,
            Packing(out=tmp_path / "b"),
            reporter=SilentReporter(),
        )
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("mode", ["refit", "warm", "recalibrate"])
def test_a_bundle_takes_in_a_cohort_and_stays_as_it_is(
    mode, opened: tuple[Workspace, RunConfig], packed: Path, strangers: Path, tmp_path: Path
) -> None:
    workspace, _ = opened
    before = load_bundle(packed)
    update = Update(
        bundle=packed,
        manifest=strangers,
        work=tmp_path / "run",
        run=workspace.root if mode == "refit" else None,
        mode=mode,
    )
    packing = Packing(out=tmp_path / "b2")
    compared, seal = update_bundle(
        update, packing, cache=workspace.cache, reporter=SilentReporter()
    )
    after = load_bundle(tmp_path / "b2")
    assert seal is not None
    assert after.digest == seal.digest
    assert load_bundle(packed).digest == before.digest
    assert after.version == "2"
    assert after.facts["lineage"] == [
        {"version": "1", "digest": before.digest, "n_patients": 8, "mode": "refit"}
    ]
    assert after.facts["cohort"]["n_patients"] == 16
    assert after.facts["performance"]["figures"]["auc"]["n"] == (16 if mode == "refit" else 8)
    assert ("refit" in compared.scores) == (mode == "refit")
    same = np.array_equal(
        after.trained.head.tensors["weight"], before.trained.head.tensors["weight"]
    )
    assert same == (mode == "recalibrate")
    assert (tmp_path / "run" / "update.json").is_file()
    # Everyone who shaped it is known to it.
    for manifest in (workspace.manifest, strangers):
        scan = read_manifest(manifest).scans.iloc[-1]
        assert overlap.find_overlap(
            after.marks, patient_id=scan["patient_id"], scan_digests=[]
        ).patient


def test_a_cohort_that_was_trained_on_is_refused(
    opened: tuple[Workspace, RunConfig], packed: Path, tmp_path: Path
) -> None:
    workspace, _ = opened
    update = Update(bundle=packed, manifest=workspace.manifest, work=tmp_path / "run")
    packing = Packing(out=tmp_path / "b2")
    with pytest.raises(ConfigurationError, match="8 patients by name"):
        update_bundle(update, packing, cache=workspace.cache, reporter=SilentReporter())


def test_a_refit_without_the_old_patients_is_refused(
    opened: tuple[Workspace, RunConfig], packed: Path, strangers: Path, tmp_path: Path
) -> None:
    update = Update(bundle=packed, manifest=strangers, work=tmp_path / "run", mode="refit")
    packing = Packing(out=tmp_path / "b2")
    with pytest.raises(ConfigurationError, match="--run"):
        update_bundle(update, packing, cache=opened[0].cache, reporter=SilentReporter())


def test_the_command_says_where_the_bundle_is_and_how_to_know_it(
    finished: RunOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b"
    words = ["retrain", str(finished.workspace.root), "--out", str(out), "--heads", "2"]
    words += ["--cache", str(finished.workspace.cache)]
    assert run_command(*words) == 0
    said = capsys.readouterr().out
    assert load_bundle(out).digest in said
    assert "Not signed" in said
    assert run_command(*words) == 2
    assert "never written over" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["RUN", "--from", "B"], ["--from", "B"], ["RUN", "--mode", "best"]], ids=str
)
def test_a_bundle_is_made_of_one_source(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("retrain", *words, "--out", "x") == 2
    assert "mri-transfer:" in capsys.readouterr().err


def test_a_bundle_is_exported_by_command(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("export", str(packed)) == 2
    assert "--onnx" in capsys.readouterr().err
    assert run_command("export", str(packed), "--monai", str(tmp_path / "m")) == 0
    inner = tmp_path / "m" / "models" / "bundle"
    assert load_bundle(inner).digest == load_bundle(packed).digest


def test_a_frozen_bundle_has_no_tail_to_train_further(
    packed: Path, strangers: Path, tmp_path: Path
) -> None:
    """It is said before anything of the new cohort is computed."""
    for asked in ({"mode": "tune"}, {"settings": ("tuning.epochs=3",)}):
        update = Update(bundle=packed, manifest=strangers, work=tmp_path / "run", **asked)
        with pytest.raises(ConfigurationError, match="only a model with a trained tail"):
            update_bundle(
                update, Packing(out=tmp_path / "b"), cache=tmp_path, reporter=SilentReporter()
            )
    assert not (tmp_path / "run").exists()


def test_settings_of_a_tail_are_refused_where_no_tail_is_trained_further(
    packed: Path, strangers: Path, finished: RunOutcome, tmp_path: Path, capsys
) -> None:
    out = ["--out", str(tmp_path / "b"), "--set", "tuning.ewc=1"]
    update = ["--from", str(packed), "--manifest", str(strangers), "--mode", "warm"]
    assert run_command("retrain", str(finished.workspace.root), *out) == 2
    assert "options that act on the update of a bundle alone" in capsys.readouterr().err
    assert run_command("retrain", *update, *out) == 2
    assert "another update is asked for" in capsys.readouterr().err
