"""The prepare stage: what is used, what is left out and why, and the same files however it ran."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.cohorts.exclusions import read_exclusions
from mri_transfer.errors import RunFolderError
from mri_transfer.scans.volumes import Volume
from pipelines.config import read_config
from pipelines.indexes import read_prepared_index
from pipelines.opening import keep_scans, open_run, write_config
from pipelines.plan.order import stages_until
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.stages import prepare_worker
from tests.heads_phantom import grow_head, some_brain, some_head, turned_header
from tests.phantoms import store_nifti
from tests.pipelines.conftest import run_command
from tests.scans.quality.damages import damaged

pytestmark = pytest.mark.slow

#: Phantoms are coarse, and so is what is asked of them.
COARSE = ["quality.spacing_mm=[5.0, 8.0]", "slices.n_slices=8", "slices.size_px=64"]
#: Without registration and bias field preparing a scan takes a second.
QUICK = [*COARSE, "preparation.registration=false", "preparation.bias_field=false"]
MIDDLE_MM = np.array([0.0, -18.0, 8.0])
UPSIDE_DOWN = np.diag([-1.0, 1.0, -1.0])


def _store(folder: Path, volume: Volume, name: str) -> Path:
    """Write a scan as whole numbers, as scanners do."""
    return store_nifti(folder / f"{name}.nii.gz", np.rint(volume.voxels), volume.affine)


def _manifest(folder: Path, scans: Mapping[str, tuple[Path, str]]) -> Path:
    rows = [
        {"scan_id": name, "patient_id": f"p-{name}", "path": str(path), "label": label}
        for name, (path, label) in scans.items()
    ]
    path = folder / "manifest.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def _run(
    manifest: Path, out: Path, cache: Path, settings: Sequence[str], *, until: str = "prepare",
    jobs: int | None = None,
) -> RunOutcome:  # fmt: skip
    config = read_config(None, settings)
    workspace = begin_run(manifest, out, config, cache=cache)
    return run_pipeline(workspace, config, stages=stages_until(until), jobs=jobs)


def _files(run: Path) -> dict[str, bytes]:
    """Every file of a run but the records, which hold times."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.parent.name != "records"
    }


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """A cohort in which nearly everything goes wrong, prepared with registration."""
    folder = tmp_path_factory.mktemp("mixed")
    scans, head = folder / "scans", some_head()
    middle = (head.matrix @ np.append(MIDDLE_MM, 1.0))[:3]
    lost = damaged(head.volume, "lost_slices", middle_mm=middle)
    unreadable = scans / "unreadable.nii.gz"
    speck = Volume(
        voxels=np.random.default_rng(0).integers(1, 99, (20, 20, 20)).astype(np.float32),
        affine=np.eye(4),
        scan_id="speck",
    )
    manifest = _manifest(
        folder,
        {
            "good": (_store(scans, head.volume, "good"), "AD"),
            "upside-down": (
                _store(scans, turned_header(head.volume, UPSIDE_DOWN), "upside-down"),
                "CN",
            ),
            "lost slices": (_store(scans, lost, "lost"), "AD"),
            "ready": (_store(scans, some_brain(), "ready"), "CN"),
            "speck": (_store(scans, speck, "speck"), "CN"),
            "unreadable": (unreadable, "AD"),
            "unlabelled": (_store(scans, grow_head(seed=9).volume, "unlabelled"), ""),
        },
    )
    unreadable.write_bytes(b"not a scan")
    settings = [*COARSE, "preparation.bias_field=false"]
    return _run(manifest, folder / "run", folder / "cache", settings, jobs=2)


def test_what_can_be_used_is_used(mixed: RunOutcome) -> None:
    workspace = mixed.workspace
    assert pd.read_csv(workspace.manifest)["scan_id"].tolist() == ["good", "ready"]
    index = pd.read_csv(workspace.prepared, keep_default_na=False).set_index("scan_id")
    assert list(index.columns) == ["patient_id", "scan_sha256", "key", "volume_key", "path"]
    assert index.index.tolist() == ["good", "ready"]
    # What was ready is read from where it lies; what was prepared, from the cache.
    assert index.loc["good", "path"] == ""
    assert index.loc["good", "volume_key"] == index.loc["good", "key"]
    assert index.loc["ready", "path"].endswith("ready.nii.gz")
    assert index.loc["ready", "volume_key"] == index.loc["ready", "scan_sha256"]
    for scan in read_prepared_index(workspace):
        assert Path(scan["volume"]).is_file()


def test_every_scan_that_is_left_out_has_its_stage_and_its_reason(mixed: RunOutcome) -> None:
    left_out = {e.scan_id: e for e in read_exclusions(mixed.workspace.excluded)}
    assert {name: e.stage for name, e in left_out.items()} == {
        "unreadable": "check",
        "unlabelled": "check",
        "speck": "prepare",
        "upside-down": "prepare",
        "lost slices": "prepare",
    }
    assert "never treated as healthy" in left_out["unlabelled"].reason
    assert "top where the header says bottom" in left_out["upside-down"].reason
    assert "--keep upside-down" in left_out["upside-down"].reason
    assert "signal loss" in left_out["lost slices"].reason
    assert "whole head" in left_out["speck"].reason
    assert all("\n" not in e.reason for e in left_out.values())
    assert {e.patient_id for e in left_out.values()} == {f"p-{name}" for name in left_out}
    assert mixed.records[-1].exclusions == len(left_out)


def test_every_scan_that_was_prepared_has_a_row_of_scores(mixed: RunOutcome) -> None:
    table = pd.read_csv(mixed.workspace.quality, keep_default_na=False).set_index("scan_id")
    assert table.index.tolist() == ["good", "upside-down", "lost slices", "ready"]
    assert table["verdict"].to_dict() == {
        "good": "pass",
        "upside-down": "fail",
        "lost slices": "fail",
        "ready": "pass",
    }
    assert table["passed_through"].astype(str).tolist() == ["False", "False", "False", "True"]
    assert not table["kept"].astype(str).eq("True").any()


def test_prepared_scans_are_written_as_bids_derivatives(mixed: RunOutcome) -> None:
    folder = mixed.workspace.derivatives
    assert (folder / "dataset_description.json").is_file()
    volumes = sorted(path.name for path in folder.rglob("*desc-preproc_T1w.nii.gz"))
    assert len(volumes) == 1  # what was ready needs no copy, what is left out gets none
    assert volumes[0].startswith("sub-pgood")
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 5


def _again(mixed: RunOutcome, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(mixed.workspace.root, run)
    return run


def test_the_command_ends_with_3_and_a_scan_to_keep_is_kept_on_record(
    mixed: RunOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _again(mixed, tmp_path)
    cache = str(mixed.workspace.cache)
    assert run_command("prepare", str(run), "--keep", "upside-down", "--cache", cache) == 3
    said = capsys.readouterr().out
    assert "4 scans excluded" in said
    assert "kept although they fail: upside-down" in said
    assert tomllib.loads((run / "config.toml").read_text())["quality"]["keep"] == ["upside-down"]
    row = pd.read_csv(run / "quality.csv").set_index("scan_id").loc["upside-down"]
    assert row["kept"]
    assert row["verdict"] == "fail"
    used = pd.read_csv(run / "manifest.csv")["scan_id"].tolist()
    assert used == ["good", "upside-down", "ready"]
    left_out = {e.scan_id for e in read_exclusions(run / "excluded.csv")}
    assert left_out == {"speck", "lost slices", "unreadable", "unlabelled"}
    # It stays kept without being named again.
    workspace, config = open_run(run, cache=mixed.workspace.cache)
    assert config.quality.keep == ("upside-down",)
    assert run_pipeline(workspace, config, stages=stages_until("prepare")).records[-1].exclusions


def test_a_scan_to_keep_that_is_not_there_is_mentioned(
    mixed: RunOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _again(mixed, tmp_path)
    cache = str(mixed.workspace.cache)
    assert run_command("prepare", str(run), "--keep", "nobody", "--cache", cache) == 3
    assert "not among the readable scans: nobody" in capsys.readouterr().out


# A quick cohort, for everything that does not depend on registration.


@dataclasses.dataclass(frozen=True)
class Quick:
    """A cohort of heads that lie in place, and a finished run on it."""

    manifest: Path
    outcome: RunOutcome


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Quick:
    folder = tmp_path_factory.mktemp("quick")
    heads = [
        grow_head(spacing_mm=4.0, matrix=np.eye(4), middle_mm=MIDDLE_MM, seed=seed).volume
        for seed in range(2)
    ]
    lost = damaged(heads[0], "lost_slices", middle_mm=MIDDLE_MM)
    scans = {
        "sub-1": (_store(folder, heads[0], "one"), ""),
        "sub-2": (_store(folder, heads[1], "two"), ""),
        "sub-3": (_store(folder, lost, "three"), "CN"),
    }
    manifest = _manifest(folder, scans)
    outcome = _run(manifest, folder / "run", folder / "cache", KEPT, jobs=1)
    return Quick(manifest, outcome)


#: Scans without a label are prepared all the same.
KEPT = [*QUICK, "labels.unlabelled=keep"]


def test_the_number_of_jobs_changes_no_file(quick: Quick, tmp_path: Path) -> None:
    other = _run(quick.manifest, tmp_path / "run", tmp_path / "cache", KEPT, jobs=2)
    expected = _files(quick.outcome.workspace.root)
    assert _files(other.workspace.root) == expected
    assert {"prepared.csv", "quality.csv", "excluded.csv", "manifest.csv"} <= set(expected)
    caches = [_files(o.workspace.cache / "prepared") for o in (other, quick.outcome)]
    assert caches[0] == caches[1]


def test_killed_and_begun_again_it_ends_with_the_same_files(quick: Quick, tmp_path: Path) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    words = [
        sys.executable,
        "-m",
        "pipelines.commands.cli",
        "run",
        "--manifest",
        str(quick.manifest),
    ]
    words += ["--out", str(run), "--cache", str(cache), "--until", "prepare", "--jobs", "1"]
    words += [part for setting in KEPT for part in ("--set", setting)]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None and not list(cache.rglob("prepared/*/*.json")):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (run / "prepared.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("prepared/*/*.json")}
    again = _run(quick.manifest, run, cache, KEPT, jobs=1)
    assert _files(run) == _files(quick.outcome.workspace.root)
    assert len(again.excluded) == 1
    # What was finished before was not done again.
    assert before
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_what_is_in_the_cache_is_not_prepared_again(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = quick.outcome.workspace.cache
    first = _run(quick.manifest, tmp_path / "first", cache, KEPT, until="slices")
    before = {p: p.stat().st_mtime_ns for p in (cache / "prepared").rglob("*") if p.is_file()}
    asked = []
    real = prepare_worker.run_jobs

    def watched(work, jobs, **options):  # type: ignore[no-untyped-def]
        asked.extend(job.scan_id for job in jobs)
        return real(work, jobs, **options)

    monkeypatch.setattr(prepare_worker, "run_jobs", watched)
    second = _run(quick.manifest, tmp_path / "second", cache, KEPT)
    # The damaged scan has no slices in the cache, and is looked at again; nothing is written.
    assert set(asked) <= {"sub-3"}
    after = {p: p.stat().st_mtime_ns for p in (cache / "prepared").rglob("*") if p.is_file()}
    assert after == before
    assert (
        second.workspace.prepared.read_bytes()
        == first.workspace.prepared.read_bytes()
        == quick.outcome.workspace.prepared.read_bytes()
    )


def test_a_stage_that_is_current_does_nothing(quick: Quick) -> None:
    workspace, config = open_run(quick.outcome.workspace.root, cache=quick.outcome.workspace.cache)
    files = [p for p in workspace.root.rglob("*") if p.name != "lock"]
    before = {p: p.stat().st_mtime_ns for p in files}
    run_pipeline(workspace, config, stages=stages_until("prepare"))
    assert {p: p.stat().st_mtime_ns for p in files} == before


def test_a_damaged_file_in_the_cache_is_made_again(quick: Quick, tmp_path: Path) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    shutil.copytree(quick.outcome.workspace.root, run)
    shutil.copytree(quick.outcome.workspace.cache, cache)
    expected = _files(cache / "prepared")
    facts, *_ = sorted((cache / "prepared").rglob("*.json"))
    facts.write_text("{")
    volume = sorted((cache / "prepared").rglob("*.nii.gz"))[-2]  # volumes and masks take turns
    volume.unlink()
    workspace, config = open_run(run, cache=cache)
    run_pipeline(workspace, config, stages=stages_until("prepare"), jobs=1)
    assert _files(cache / "prepared") == expected
    assert _files(run) == _files(quick.outcome.workspace.root)


def test_unlabelled_scans_can_be_taken_as_far_as_their_slices_and_no_further_than_features(
    quick: Quick, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = quick.outcome.workspace.cache
    outcome = _run(quick.manifest, tmp_path / "run", cache, KEPT, until="slices")
    slices = pd.read_csv(outcome.workspace.slices)
    assert slices["scan_id"].tolist() == ["sub-1", "sub-2"]
    assert slices["n_slices"].tolist() == [8, 8]
    manifest = pd.read_csv(outcome.workspace.manifest)
    assert manifest["label"].isna().all()
    code = run_command("folds", str(outcome.workspace.root), "--cache", str(cache))
    assert code == 2
    assert "a label for every patient" in capsys.readouterr().err


def test_without_keep_scans_without_a_label_end_the_run(quick: Quick, tmp_path: Path) -> None:
    words = ["run", "--manifest", str(quick.manifest), "--out", str(tmp_path / "run")]
    assert run_command(*words, "--cache", str(tmp_path / "cache")) == 2


def test_a_changed_limit_is_judged_anew_without_preparing_anything(
    quick: Quick, tmp_path: Path
) -> None:
    cache = quick.outcome.workspace.cache
    before = {p: p.stat().st_mtime_ns for p in (cache / "prepared").rglob("*") if p.is_file()}
    strict = [*KEPT, "quality.snr=[1e6, 1.0]"]
    outcome = _run(quick.manifest, tmp_path / "run", cache, strict, jobs=1)
    table = pd.read_csv(outcome.workspace.quality).set_index("scan_id")
    assert table.loc["sub-1", "verdict"] == "warn"
    assert "signal-to-noise ratio" in table.loc["sub-1", "reasons"]
    after = {p: p.stat().st_mtime_ns for p in (cache / "prepared").rglob("*") if p.is_file()}
    assert after == before


def test_a_cohort_of_which_no_scan_can_be_used_is_an_error_that_says_where_to_look(
    quick: Quick, tmp_path: Path
) -> None:
    strict = [*KEPT, "quality.snr=[1e7, 1e6]"]
    with pytest.raises(RunFolderError, match=r"no scan can be used.*excluded\.csv"):
        _run(quick.manifest, tmp_path / "run", quick.outcome.workspace.cache, strict, jobs=1)
    assert len(read_exclusions(tmp_path / "run" / "excluded.csv")) == 3


def test_a_scan_that_takes_too_long_is_left_out_and_the_others_are_not(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool in which the second scan runs out of time; the real one is tested by itself."""

    def pool(work, jobs, *, processes, timeout_s, failed):  # type: ignore[no-untyped-def]
        for job in jobs:
            yield failed(job, "too long.") if job.scan_id == "sub-2" else work(job)

    monkeypatch.setattr(prepare_worker, "run_jobs", pool)
    cache = tmp_path / "cache"
    shutil.copytree(quick.outcome.workspace.cache / "prepared", cache / "prepared")
    shutil.copytree(quick.outcome.workspace.cache / "scores", cache / "scores")
    outcome = _run(quick.manifest, tmp_path / "run", cache, KEPT)
    left_out = {e.scan_id: e.reason for e in read_exclusions(outcome.workspace.excluded)}
    assert set(left_out) == {"sub-2", "sub-3"}
    assert left_out["sub-2"].startswith("scan sub-2 (")
    assert left_out["sub-2"].endswith("too long. The next run tries it again.")
    assert pd.read_csv(outcome.workspace.manifest)["scan_id"].tolist() == ["sub-1"]


def test_kept_scans_add_up_in_the_configuration(tmp_path: Path, quick: Quick) -> None:
    config = keep_scans(keep_scans(read_config(None, KEPT), ["a", "b"]), ["b", "c"])
    workspace = begin_run(quick.manifest, tmp_path / "run", config, cache=tmp_path)
    write_config(workspace, config)
    assert open_run(tmp_path / "run", cache=tmp_path)[1].quality.keep == ("a", "b", "c")


def test_a_program_that_is_not_installed_ends_the_run_before_it_begins(
    quick: Quick,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    words = ["run", "--manifest", str(quick.manifest), "--out", str(tmp_path / "run")]
    words += ["--until", "prepare", "--cache", str(tmp_path / "cache")]
    settings = [*KEPT, "preparation.brain_extraction=hd-bet"]
    words += [part for setting in settings for part in ("--set", setting)]
    assert run_command(*words) == 2
    assert "hd-bet" in capsys.readouterr().err
