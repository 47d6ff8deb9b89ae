"""Weights of the autoencoder from one cohort, used on another, refused on their own."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from mri_transfer.bundle import Runtime, load_bundle
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import ConfigurationError, WeightsError
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.evaluation.document import EvaluationDocument
from mri_transfer.models.pretraining.document import PretrainingDocument
from mri_transfer.models.pretraining.spec import PretrainingSpec
from mri_transfer.models.trunks import TrunkSpec
from pipelines.config import RunConfig, read_config
from pipelines.jobs.pretrain import pretrain_weights
from pipelines.jobs.retrain import Packing, retrain_run
from pipelines.plan.order import stages_until
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from tests.made_once import made_once
from tests.pipelines.conftest import SmallJob, run_command

SPEC = PretrainingSpec(epochs=1, held_out=0.5, seed=1)


@pytest.fixture(scope="module")
def config(small_job: SmallJob) -> RunConfig:
    return dataclasses.replace(small_job.config, trunk=TrunkSpec(name="autoencoder"))


@pytest.fixture(scope="module")
def weights(small_job: SmallJob, strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that were trained on the strangers, read only."""

    def make(folder: Path) -> None:
        pretrain_weights(
            strangers, folder / "w.safetensors", small_job.config, SPEC,
            cache=folder / "cache", reporter=SilentReporter(),
        )  # fmt: skip

    return made_once(tmp_path_factory, "pretrained", make) / "w.safetensors"


def _features(
    manifest: Path, run: Path, cache: Path, config: RunConfig, weights: Path | None
) -> RunOutcome:
    workspace = begin_run(manifest, run, config, cache=cache)
    stages = stages_until("features")
    return run_pipeline(workspace, config, stages=stages, weights=weights)


def test_the_record_says_how_the_weights_were_made(weights: Path, strangers: Path) -> None:
    record = PretrainingDocument.read(weights.with_suffix(".json"), stage="pretrain")
    assert (record.n_scans, record.n_patients, record.n_held_out) == (8, 8, 4)
    assert record.settings == SPEC
    assert len(record.epochs) == record.kept == 1
    assert "secret" not in weights.with_suffix(".json").read_text()
    labels = read_manifest(weights.with_suffix(".run") / "source_manifest.csv").scans["label"]
    assert labels.isna().all()
    assert read_manifest(strangers).labels == ("AD", "CN")


@pytest.mark.slow
def test_features_come_from_them_and_the_run_is_held_to_their_digest(
    weights: Path, small_job: SmallJob, finished: RunOutcome, config: RunConfig, tmp_path: Path
) -> None:
    run, cache = tmp_path / "run", finished.workspace.cache
    outcome = _features(small_job.manifest, run, cache, config, weights)
    digest = PretrainingDocument.read(weights.with_suffix(".json"), stage="x").weights_sha256
    assert read_config(outcome.workspace.config).trunk.digest == digest
    # Later stages find them in the cache, with what they have seen.
    outcome.workspace.features.unlink()
    _features(small_job.manifest, run, cache, config, None)


def test_a_cohort_that_they_have_seen_is_refused_by_name(
    weights: Path, strangers: Path, small_job: SmallJob, finished: RunOutcome, config: RunConfig,
    tmp_path: Path,
) -> None:  # fmt: skip
    own = weights.parent / "cache"
    with pytest.raises(WeightsError, match=r"trained on scans of this cohort.*\(the same file\)"):
        _features(strangers, tmp_path / "own", own, config, weights)
    # One scan among many, under another name.
    cache, mixed = finished.workspace.cache, read_manifest(small_job.manifest)
    other = read_manifest(strangers)
    scans = mixed.scans.copy()
    shutil.copy(other.scans["path"][0], tmp_path / "copy.nii.gz")
    scans.loc[0, "path"] = str(tmp_path / "copy.nii.gz")
    dataclasses.replace(mixed, scans=scans).write(tmp_path / "mixed.csv")
    with pytest.raises(WeightsError, match=f"found {scans['scan_id'][0]} .the same file"):
        _features(tmp_path / "mixed.csv", tmp_path / "mixed", cache, config, weights)


def test_nothing_is_written_over(weights: Path, strangers: Path, capsys) -> None:
    with pytest.raises(ConfigurationError, match="the file exists"):
        pretrain_weights(strangers, weights, read_config(None, []), SPEC, reporter=SilentReporter())
    assert run_command("pretrain", str(strangers), "--out", "weights.pth") == 2
    assert "ends in .safetensors" in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_run_and_its_bundle(
    weights: Path, small_job: SmallJob, config: RunConfig, tmp_path: Path
) -> None:
    """Tuned in part, audited, explained, reported, packed."""
    workspace = begin_run(small_job.manifest, tmp_path / "run", config, cache=tmp_path / "cache")
    outcome = run_pipeline(workspace, config, weights=weights)
    assert outcome.failed_checks == ()
    audit = AuditDocument.read(workspace.audit, stage="audit")
    (check,) = [one for one in audit.checks if one.check == "trunk_unseen"]
    assert check.passed
    assert check.n_checked == 10
    evaluation = EvaluationDocument.read(workspace.evaluation, stage="evaluate")
    assert evaluation.trunk_weights == "scans"
    page = workspace.report.read_text()
    assert "unlabelled scans of other cohorts" in page
    assert "natural images" not in page
    settled = read_config(workspace.config)
    packing = Packing(out=tmp_path / "bundle")
    retrain_run(workspace, settled, packing, reporter=SilentReporter())
    runtime = Runtime(weights=weights, cache=tmp_path / "none")
    bundle = load_bundle(tmp_path / "bundle", runtime=runtime)
    assert bundle.facts["trunk"]["digest"] == settled.trunk.digest
    assert "unlabelled scans" in (workspace.model_card).read_text()


@pytest.mark.slow
def test_labels_do_not_matter(
    weights: Path, strangers: Path, small_job: SmallJob, tmp_path: Path
) -> None:
    cohort = read_manifest(strangers)
    turned = cohort.scans.assign(label=cohort.scans["label"].map({"AD": "CN", "CN": "AD"}))
    dataclasses.replace(cohort, scans=turned).write(tmp_path / "turned.csv")
    again = tmp_path / "w.safetensors"
    pretrain_weights(
        tmp_path / "turned.csv", again, small_job.config, SPEC,
        cache=tmp_path / "cache", reporter=SilentReporter(),
    )  # fmt: skip
    assert again.read_bytes() == weights.read_bytes()
    assert json.loads(again.with_suffix(".json").read_text()) == json.loads(
        weights.with_suffix(".json").read_text()
    )
