"""The stage `explain`: made once, resumed after a kill, by heads that had not seen the patient."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.explain import read_explanation, read_feature_maps
from pipelines.plan.models import EXPLAIN
from pipelines.runner import RunOutcome
from pipelines.stage import Context
from pipelines.stages import explain, explain_job
from pipelines.workspace import Workspace
from tests.pipelines.conftest import Notes, SmallJob


def _context(finished: RunOutcome, small_job: SmallJob, folder: Path, **more) -> Context:
    """A copy of the finished run with a cache of its own, to be explained with maps."""
    shutil.copytree(finished.workspace.root, folder / "run")
    shutil.rmtree(folder / "run" / "explanations", ignore_errors=True)
    shutil.copytree(finished.workspace.cache, folder / "cache")
    for kind in ("maps", "pixel_attributions", "curves", "cams"):
        shutil.rmtree(folder / "cache" / kind, ignore_errors=True)
    spec = dataclasses.replace(
        small_job.config.explanation, **{"maps": True, "close_patients": 4, **more}
    )
    return Context(
        workspace=Workspace(root=folder / "run", cache=folder / "cache"),
        config=dataclasses.replace(small_job.config, explanation=spec),
        reporter=Notes(),
    )


@pytest.fixture(scope="module")
def explained(
    finished: RunOutcome, small_job: SmallJob, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """The finished run with maps and pixel attributions; tests must not change it."""
    context = _context(finished, small_job, tmp_path_factory.mktemp("explained"))
    EXPLAIN.work(context)
    return context.workspace


def _bytes(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in workspace.explanations.iterdir()}


@pytest.mark.slow
def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(
    finished: RunOutcome,
    explained: Workspace,
    small_job: SmallJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = _context(finished, small_job, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        EXPLAIN.work(dataclasses.replace(context, reporter=Notes(stop_after=3)))
    assert not (context.workspace.explanations / "explanation.json").exists()
    calls = []
    true = explain.explain_scan
    monkeypatch.setattr(explain, "explain_scan", lambda *a, **k: calls.append(1) or true(*a, **k))
    EXPLAIN.work(context)
    assert "3 in the cache, 7 to compute, 0 of them through the trunk" in context.reporter.notes[0]
    # What is missing, and the first scan once more, to be compared.
    assert len(calls) == 8
    assert _bytes(context.workspace) == _bytes(explained)


def _forbid_the_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_args, **_settings):
        raise AssertionError("the trunk was loaded")

    monkeypatch.setattr(explain_job, "open_trunk", forbidden)


def test_maps_come_without_the_trunk(
    finished: RunOutcome,
    explained: Workspace,
    small_job: SmallJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _forbid_the_trunk(monkeypatch)
    context = _context(finished, small_job, tmp_path, close_patients=0, contrast_patients=0)
    EXPLAIN.work(context)
    found, wanted = (
        read_explanation(folder.explanations) for folder in (context.workspace, explained)
    )
    assert found.maps.tobytes() == wanted.maps.tobytes()


@pytest.mark.slow
def test_a_cache_from_before_passes_the_trunk_once_and_ends_with_the_same_bytes(
    finished: RunOutcome, explained: Workspace, small_job: SmallJob, tmp_path: Path
) -> None:
    context = _context(finished, small_job, tmp_path)
    kept = context.workspace.cache / "maxima"
    # Other tests may have added to the cache that was copied.
    keys = pd.read_csv(context.workspace.features, dtype=str)["key"]
    before = {path: path.read_bytes() for key in keys for path in kept.rglob(f"{key}.safetensors")}
    assert len(before) == 10
    shutil.rmtree(kept)
    EXPLAIN.work(context)
    assert "10 to compute, 10 of them through the trunk" in context.reporter.notes[0]
    assert _bytes(context.workspace) == _bytes(explained)
    assert {path: path.read_bytes() for path in before} == before


def test_grad_cam_of_everybody_is_scored_beside_the_maps(
    finished: RunOutcome, small_job: SmallJob, tmp_path: Path
) -> None:
    context = _context(
        finished, small_job, tmp_path, close_patients=0, contrast_patients=0, grad_cam=True
    )
    EXPLAIN.work(context)
    truth = read_explanation(context.workspace.explanations).document.truth
    assert truth is not None
    assert set(truth.methods) == {"maps", "Grad-CAM", "randomised head"}


def test_what_the_stage_leaves(explained: Workspace) -> None:
    workspace = explained
    found = read_explanation(workspace.explanations)
    document = found.document.plain()
    scans = pd.read_csv(workspace.slices, dtype=str)
    assert list(found.scan_ids) == scans["scan_id"].tolist()
    checks = {check["check"]: check for check in document["checks"]}
    assert checks["same_features"]["value"] == 0
    assert checks["same_again"]["passed"]
    assert checks["is_complete"]["passed"]
    # The cohort is grown in MNI space, and what was planted is known.
    assert document["space"]["mni"]
    assert set(document["truth"]["methods"]) == {
        "maps", "randomised head", "contrast", "contrast, randomised head",
    }  # fmt: skip
    assert len(document["contrast"]["scan_ids"]) == len(found.contrast)
    methods = {row["method"] for row in document["faithfulness"]}
    assert methods == {
        "occlusion", "integrated gradients", "maps", "maps, not centred",
        "Grad-CAM, not centred", "contrast",
    }  # fmt: skip
    assert [group["label"] for group in document["groups"]] == ["AD", "CN", "AD minus CN"]
    for group in document["groups"]:
        assert (workspace.explanations / group["file"]).is_file()
    assert len(document["pixel_attribution"]) == 4
    json.dumps(document, allow_nan=False)


def test_feature_maps_are_of_a_patient_whom_the_fold_had_not_seen(explained: Workspace) -> None:
    document = read_feature_maps(explained.explanations).document
    head = explained.head(document.repeat, document.fold).with_suffix(".json")
    assert document.patient_id not in json.loads(head.read_text())["training_patients"]
    assert not document.tuned


def test_neighbours_are_training_patients(explained: Workspace) -> None:
    found = read_explanation(explained.explanations)
    folds = pd.read_csv(explained.folds, dtype={"patient_id": str})
    fold_of = folds.set_index(["repeat", "patient_id"])["fold"]
    for row in found.neighbours.itertuples():
        assert fold_of[row.repeat, row.patient_id] != fold_of[row.repeat, row.neighbour_id]


def test_slice_weights_add_up_to_the_scores(explained: Workspace) -> None:
    # Mean log-odds of slices, as the linear head joins them.
    from scipy.special import logit

    found = read_explanation(explained.explanations)
    slices = pd.read_csv(explained.slice_scores, dtype={"scan_id": str})
    log_odds = slices.assign(value=logit(slices["score"])).groupby("scan_id")["value"].mean()
    for scan, weights in zip(found.scan_ids, found.slice_weights, strict=True):
        assert weights.sum() == pytest.approx(log_odds[scan], abs=1e-3)


def test_without_maps_the_trunk_is_not_loaded(
    finished: RunOutcome, small_job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forbid_the_trunk(monkeypatch)
    context = _context(finished, small_job, tmp_path / "a", maps=False)
    EXPLAIN.work(context)
    found = read_explanation(context.workspace.explanations)
    assert found.scan_ids == ()
    assert "explanation.maps = false" in found.document.plain()["reason"]
    assert len(found.neighbours) > 0
