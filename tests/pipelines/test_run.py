"""A run: every file of the design, the same bytes again, nothing done twice, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.errors import RunFolderError
from mri_transfer.models.heads import Head
from mri_transfer.training.folds import Folds
from pipelines.config import read_config
from pipelines.names import STAGE_HELP
from pipelines.opening import open_run
from pipelines.plan.order import STAGES, stage_named
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob

#: What must be the same bytes on every run; records hold times and are not among them.
RESULTS = [
    "config.toml",
    "excluded.csv",
    "folds.csv",
    "predictions/patients.csv",
    "predictions/slices.csv",
    "evaluation.json",
    "audit.json",
]


#: Forks a run a line: it starts at once, because all that a run imports has been imported.
RESIDENT = """
import importlib, os, sys
for name in sys.argv[1].split(","):
    importlib.import_module(name)
from pipelines.commands import cli
sys.argv[1:] = sys.argv[2:]
for _ in sys.stdin:
    child = os.fork()
    if not child:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1), os.dup2(nowhere, 2)
        try:
            cli.main()
        except SystemExit as ended:
            os._exit(ended.code or 0)
        os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
IMPORTED = (
    "pipelines.runner",
    "monai.transforms",
    "mri_transfer.report.figures.curves",
    "mri_transfer.scans.preparation.preload",
    "optuna",
    "sklearn.model_selection",
    "statsmodels.api",
    "torchvision",
)


def _results(run: Path) -> dict[str, bytes]:
    heads = sorted(path.relative_to(run).as_posix() for path in (run / "heads").iterdir())
    return {name: (run / name).read_bytes() for name in [*RESULTS, *heads]}


def test_the_run_folder_holds_every_file_of_the_design(finished: RunOutcome) -> None:
    root = finished.workspace.root
    for name in [*RESULTS, "manifest.csv", "report/index.html"]:
        assert (root / name).is_file(), name
    for repeat in range(2):
        for fold in range(2):
            assert (root / f"heads/r{repeat}_f{fold}.safetensors").is_file()
            assert (root / f"heads/r{repeat}_f{fold}.json").is_file()
    patients = pd.read_csv(root / "predictions/patients.csv")
    assert list(patients.columns) == [
        "repeat", "fold", "patient_id", "label", "score", "predicted", "n_slices",
    ]  # fmt: skip
    slices = pd.read_csv(root / "predictions/slices.csv")
    assert list(slices.columns) == [
        "repeat", "fold", "patient_id", "scan_id", "slice", "z_mm", "score",
    ]  # fmt: skip
    assert len(patients) == 2 * 8
    assert len(slices) == 2 * 10 * 8
    assert (
        slices["z_mm"].is_unique
        or slices.groupby(["repeat", "scan_id"])["z_mm"].nunique().eq(8).all()
    )


def test_the_evaluation_says_by_patient_and_that_the_cohort_is_synthetic(
    finished: RunOutcome,
) -> None:
    root = finished.workspace.root
    document = json.loads((root / "evaluation.json").read_text())
    assert document["schema"] == "mri-transfer/evaluation/3"
    assert document["n_patients"] == 8
    assert document["positive_label"] == "AD"
    assert document["synthetic"] is True
    assert {"auc", "balanced_accuracy", "sensitivity"} <= set(document["patient"])
    assert {"value", "ci_low", "ci_high", "n"} <= set(document["patient"]["auc"])
    page = (root / "report/index.html").read_text(encoding="utf-8")
    assert "synthetic" in page[page.index("<body") :][:1500].lower()


def test_no_patient_is_scored_by_a_head_that_saw_them(finished: RunOutcome) -> None:
    workspace = finished.workspace
    scored = pd.read_csv(workspace.patient_scores, dtype={"patient_id": str})
    for one in Folds.read(workspace.folds):
        head = Head.read(workspace.head(one.repeat, one.fold))
        rows = scored[(scored["repeat"] == one.repeat) & (scored["fold"] == one.fold)]
        assert len(rows)
        assert not set(rows["patient_id"]) & set(head.facts["training_patients"])


def test_records_name_inputs_outputs_specs_versions_and_seed(finished: RunOutcome) -> None:
    workspace = finished.workspace
    for name in STAGE_HELP:
        record = json.loads(workspace.record(name).read_text())
        for key in ("inputs", "outputs", "specs", "versions", "seed", "git_commit", "seconds"):
            assert key in record
        assert record["inputs"]
        assert record["outputs"]
        assert all(len(digest) == 64 for digest in record["outputs"].values())


@pytest.mark.slow
def test_a_second_run_from_an_empty_cache_gives_the_same_bytes(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    again = small_job.run(tmp_path / "run", tmp_path / "cache")
    assert _results(again.workspace.root) == _results(finished.workspace.root)


def test_a_finished_run_does_nothing_again(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.workspace.root, run)
    before = {
        path: path.stat().st_mtime_ns
        for path in run.rglob("*")
        if path.is_file() and path.name != "lock"
    }
    workspace, config = open_run(run, cache=finished.workspace.cache)
    run_pipeline(workspace, config)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_head_takes_every_feature_from_the_cache(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    cache = finished.workspace.cache
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")}
    config = read_config(
        None, [*small_job.settings, "heads.kind=attention", "heads.epochs=2", "seed=4"]
    )
    workspace = begin_run(small_job.manifest, tmp_path / "run", config, cache=cache)
    run_pipeline(workspace, config)
    after = {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")}
    assert after == before
    patients = pd.read_csv(workspace.patient_scores)
    assert patients["score"].between(0, 1).all()


def test_a_changed_setting_reruns_what_depends_on_it_and_no_more(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.workspace.root, run)
    config = read_config(None, [*small_job.settings, "evaluation.bootstrap_samples=150"])
    workspace = begin_run(
        small_job.manifest, run, config, cache=finished.workspace.cache, overwrite=True
    )
    before = {name: workspace.record(name).read_bytes() for name in STAGE_HELP}
    run_pipeline(workspace, config)
    changed = {name for name in STAGE_HELP if workspace.record(name).read_bytes() != before[name]}
    assert changed == {"evaluate", "report"}


@pytest.mark.slow
def test_a_lost_cache_is_made_anew(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.workspace.root, run)
    workspace, config = open_run(run, cache=tmp_path / "fresh")
    run_pipeline(workspace, config)
    assert _results(run) == _results(finished.workspace.root)
    assert len(list((tmp_path / "fresh" / "features").rglob("*.safetensors"))) == 10


def test_one_bad_scan_is_listed_and_the_batch_goes_on(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(small_job.cohort, cohort)
    table = pd.read_csv(small_job.manifest, dtype=str, keep_default_na=False)
    table["path"] = [str(cohort / Path(name).relative_to("cohort")) for name in table["path"]]
    counts = table.groupby("patient_id")["scan_id"].transform("size")
    bad = Path(table[counts == 2]["path"].iloc[0])
    bad.write_bytes(bad.read_bytes()[:2000])
    table.loc[table[counts == 2].index[-1], "label"] = ""
    manifest = tmp_path / "m.csv"
    table.to_csv(manifest, index=False)
    config = read_config(None, small_job.settings)
    workspace = begin_run(manifest, tmp_path / "run", config, cache=finished.workspace.cache)
    outcome = run_pipeline(workspace, config, stages=STAGES[:4])
    reasons = {one.scan_id: one.reason for one in outcome.excluded}
    assert len(reasons) == 2
    bad_id = table[table["path"] == str(bad)]["scan_id"].iloc[0]
    assert bad_id in reasons[bad_id]
    assert any("never treated as healthy" in reason for reason in reasons.values())
    assert len(pd.read_csv(workspace.manifest)) == 8


def test_three_classes_reach_the_report_and_two_names_of_one_person_are_found(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    """The sessions of two patients pass for patients of their own."""
    table = pd.read_csv(finished.workspace.manifest, dtype=str, keep_default_na=False)
    table["patient_id"] = table["scan_id"]
    table["label"] = [("CN", "MCI", "AD")[i % 3] for i in range(10)]
    table.to_csv(tmp_path / "m.csv", index=False)
    settings = ["labels.classes=['CN','MCI','AD']", "predictions.threshold=0.5"]
    settings += ["predictions.recalibration=['none']"]
    config = read_config(None, [*small_job.settings, *settings])
    cache = finished.workspace.cache
    workspace = begin_run(tmp_path / "m.csv", tmp_path / "run", config, cache=cache)
    outcome = run_pipeline(workspace, config)
    classes = pd.read_csv(workspace.class_scores)
    assert classes.groupby(["repeat", "patient_id"])["score"].sum().round(9).eq(1).all()
    document = json.loads(workspace.evaluation.read_text())
    assert document["classes"]
    assert document["negative_label"] == "not AD"
    assert [check.check for check in outcome.failed_checks] == ["one_person_one_name"]
    assert "MCI" in workspace.report.read_text(encoding="utf-8")


def test_a_stage_names_the_stage_that_is_missing_before_it(
    small_job: SmallJob, tmp_path: Path
) -> None:
    workspace = begin_run(small_job.manifest, tmp_path / "run", small_job.config, cache=tmp_path)
    for stage, missing, maker in (
        ("train", "manifest", "prepare"),
        ("features", "slices", "slices"),
        ("evaluate", "manifest", "prepare"),
    ):
        with pytest.raises(RunFolderError, match=rf"{missing}\.\w+ is missing.*{maker}") as caught:
            run_pipeline(workspace, small_job.config, stages=[stage_named(stage)])
        assert "Run `mri-transfer" in str(caught.value)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        open_run(tmp_path)


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bytes(
    small_job: SmallJob, pristine: Workspace, tmp_path: Path
) -> None:
    ended = _killed_and_resumed(small_job, pristine, tmp_path, after=["features"])
    assert ended == [-signal.SIGKILL, 0]


@pytest.mark.slow
def test_killed_in_every_stage_and_resumed_it_ends_with_the_same_bytes(
    small_job: SmallJob, pristine: Workspace, tmp_path: Path
) -> None:
    *before_the_last, _ = STAGE_HELP
    ended = _killed_and_resumed(small_job, pristine, tmp_path, after=[None, *before_the_last])
    # A stage may have ended before it could be killed.
    assert ended.count(-signal.SIGKILL) >= len(STAGE_HELP) - 2
    assert set(ended) <= {-signal.SIGKILL, 0}
    assert ended[-1] == 0


def _killed_and_resumed(
    job: SmallJob, pristine: Workspace, folder: Path, *, after: Sequence[str | None]
) -> list[int]:
    """Kill a run as soon as each of the stages has ended (None: as soon as it has begun).

    Returns
    -------
    list of int
        How each run ended; the last one was not killed, and left the bytes of the run that was
        never broken off.
    """
    # Most scans have been prepared: test_prepare.py is about those that have not.
    run, cache = folder / "run", folder / "cache"
    lost = shutil.ignore_patterns("slices", "features", "results")
    shutil.copytree(pristine.cache, cache, ignore=lost)
    sorted((cache / "prepared").rglob("*.json"))[0].unlink()
    command = [sys.executable, "-c", RESIDENT, ",".join(IMPORTED)]
    command += ["run", "--manifest", str(job.manifest), "--out", str(run), "--cache", str(cache)]
    command += [part for setting in job.settings for part in ("--set", setting)]
    ended = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as resident:
        assert resident.stdin is not None
        assert resident.stdout is not None
        for stage in [*after, "never"]:
            resident.stdin.write("run\n")
            resident.stdin.flush()
            child = int(resident.stdout.readline())
            if stage != "never":
                _wait_for(run / ("config.toml" if stage is None else f"records/{stage}.json"))
                os.kill(child, signal.SIGKILL)
            ended.append(int(resident.stdout.readline()))
        resident.stdin.close()
    assert _results(run) == _results(pristine.root)
    assert not [path for path in run.rglob("*") if path.name.startswith((".", "tmp"))]
    return ended


def _wait_for(path: Path, *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.002)
