"""Image baselines of a run: described once, scored on the run's folds, with an untrained trunk."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mri_transfer.evaluation import image_baselines as library
from mri_transfer.evaluation.image_baselines import RANDOM_TRUNK
from mri_transfer.evaluation.volumetry_baselines import PERCENTILE, VOLUMETRY
from mri_transfer.scans.descriptors import DescriptorStore
from mri_transfer.training.predictions import PatientScores
from pipelines.config import read_config
from pipelines.plan.order import stage_named
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.stage import Context
from pipelines.stages import baselines
from pipelines.stages.baselines import image_baselines, random_trunk_table
from pipelines.stages.brain_volumes import brain_volumes
from pipelines.stages.features import read_feature_table
from pipelines.stages.folds import read_folds
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob
from tests.pipelines.remote_runs import Elsewhere

ASKED = ["evaluation.image_baselines=true", "evaluation.random_trunk=true"]


@pytest.fixture
def context(
    finished: RunOutcome, small_job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Context:
    """The finished run, with a cache of its own and every baseline asked for."""
    shutil.copytree(finished.workspace.cache, tmp_path / "cache")
    monkeypatch.setattr(library, "_SVM_C", [1.0])
    monkeypatch.setattr(library, "_INVERSE_L2", [0.1])
    return Context(
        workspace=Workspace(root=finished.workspace.root, cache=tmp_path / "cache"),
        config=read_config(None, [*small_job.settings, *ASKED]),
        reporter=SilentReporter(),
    )


def _scored(context: Context) -> dict:
    return image_baselines(context, read_folds(context.workspace, context.config))


def _forbidden(*_args: object, **_settings: object) -> None:
    raise AssertionError("computed again")


def test_every_baseline_scores_every_patient_once_a_repeat(context: Context) -> None:
    found = _scored(context)
    assert len(found) == 6
    folds = read_folds(context.workspace, context.config).table()
    expected = set(zip(folds["repeat"], folds["patient_id"], folds["fold"], strict=True))
    for table in found.values():
        PatientScores(table=table)
        assert set(zip(table["repeat"], table["patient_id"], table["fold"], strict=True)) == (
            expected
        )
        assert set(table["label"]) == {"AD", "CN"}


@pytest.mark.slow
def test_what_is_in_the_cache_is_neither_described_nor_encoded_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _scored(context)
    files = sorted((context.workspace.cache / "descriptors").rglob("*.safetensors"))
    assert len(files) == 10
    monkeypatch.setattr(baselines, "describe", _forbidden)
    monkeypatch.setattr("pipelines.stages.features_worker.load_trunk", _forbidden)
    second = _scored(context)
    for name, table in first.items():
        assert table.equals(second[name]), name
    monkeypatch.undo()
    # A damaged file is made again, and nothing else.
    files[0].write_bytes(files[0].read_bytes()[:100])
    before = {path: path.stat().st_mtime_ns for path in files[1:]}
    baselines._descriptors(context)
    assert DescriptorStore(context.workspace.cache).get(files[0].stem)
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == before


@pytest.mark.slow
def test_other_machines_describe_and_measure_the_same(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made() -> dict[str, bytes]:
        cache = context.workspace.cache
        files = [*cache.rglob("descriptors/*/*"), *cache.rglob("volumes/*/*")]
        found = {path.name: path.read_bytes() for path in files}
        for path in files:
            path.unlink()
        return found

    made()
    baselines._descriptors(context)
    brain_volumes(context)
    here = made()
    assert len(here) == 20
    there = Elsewhere.in_place_of_this_machine(monkeypatch, context.workspace.cache)
    baselines._descriptors(context)
    brain_volumes(context)
    assert len(there.jobs) == 20
    assert made() == here


def test_nothing_is_read_where_no_baseline_is_asked_for(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "_descriptors", _forbidden)
    monkeypatch.setattr(baselines, "random_trunk_table", _forbidden)
    spec = dataclasses.replace(context.config.evaluation, image_baselines=False, random_trunk=False)
    config = dataclasses.replace(context.config, evaluation=spec)
    assert _scored(dataclasses.replace(context, config=config)) == {}


def test_a_run_on_an_untrained_trunk_is_its_own_control(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "random_trunk_table", _forbidden)
    spec = dataclasses.replace(context.config.evaluation, image_baselines=False)
    trunk = dataclasses.replace(context.config.trunk, weights="random")
    config = dataclasses.replace(context.config, evaluation=spec, trunk=trunk)
    assert RANDOM_TRUNK not in _scored(dataclasses.replace(context, config=config))


@pytest.mark.slow
def test_the_untrained_trunk_gives_other_features_of_the_same_scans(context: Context) -> None:
    trained = read_feature_table(context.workspace)
    untrained = random_trunk_table(context)
    assert untrained.scan_ids == trained.scan_ids
    assert untrained.features.shape == trained.features.shape
    assert not np.allclose(untrained.features, trained.features)


@pytest.mark.slow
def test_the_evaluation_compares_the_model_with_each_of_them(
    context: Context, small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    shutil.copytree(finished.workspace.root, tmp_path / "run")
    workspace = begin_run(
        small_job.manifest,
        tmp_path / "run",
        context.config,
        cache=context.workspace.cache,
        overwrite=True,
    )
    run_pipeline(workspace, context.config, stages=[stage_named("evaluate")])
    found = json.loads(workspace.evaluation.read_text())["baselines"]
    images = {name for name, entry in found.items() if entry["kind"] == "image"}
    assert images == {
        library.OUTLINE,
        library.HISTOGRAM,
        library.VOXELS,
        VOLUMETRY,
        PERCENTILE,
        RANDOM_TRUNK,
    }
    for name in images:
        assert found[name]["auc"]["value"] is not None
        assert found[name]["auc_difference"]["n"] == 8
