"""A fault of the machine stops a run, and costs no patient; the next run takes them all."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.cohorts.exclusions import read_exclusions
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import MachineError, PreparationError
from pipelines import workspace
from pipelines.plan.order import stages_until
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.stages import check, prepare_worker
from tests.pipelines.conftest import Notes, SmallJob, run_command
from tests.pipelines.pool_jobs import prepare_or_die
from tests.small_disks import mounted


@pytest.fixture
def job(small_job: SmallJob, tmp_path: Path) -> SmallJob:
    """Four scans of the small cohort, at a place where they may be changed."""
    shutil.copytree(small_job.cohort, tmp_path / "cohort")
    table = pd.read_csv(small_job.manifest, dtype=str)
    table = table.drop_duplicates("patient_id").groupby("label").head(2)
    table["path"] = table["path"].str.replace(str(small_job.cohort), str(tmp_path / "cohort"))
    table.to_csv(tmp_path / "manifest.csv", index=False)
    return SmallJob(
        tmp_path / "cohort", tmp_path / "manifest.csv", small_job.config, small_job.settings
    )


def _words(job: SmallJob, folder: Path, cache: Path) -> list[str]:
    words = ["run", "--manifest", str(job.manifest), "--out", str(folder), "--until", "slices"]
    settings = [part for setting in job.settings for part in ("--set", setting)]
    return [*words, "--cache", str(cache), "--jobs", "1", *settings]


def _run(job: SmallJob, folder: Path, notes: Notes | None = None) -> RunOutcome:
    place = begin_run(job.manifest, folder / "run", job.config, cache=folder / "cache")
    return run_pipeline(place, job.config, stages=stages_until("slices"), reporter=notes, jobs=1)


@pytest.mark.slow
def test_a_cache_that_fills_up_stops_the_run_and_nobody_stays_out(
    job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with mounted(tmp_path / "disk", "size=1200k") as disk:
        # Slices of 400 kB a scan.
        words = [*_words(job, run, disk), "--set", "slices.size_px=224"]
        assert run_command(*words) == 1
        said = capsys.readouterr().err
        assert "the disk is full" in said
        assert str(disk) in said
        assert not any(read_exclusions(table) for table in run.glob("excluded.csv"))
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert run_command(*words) == 0
    assert read_exclusions(run / "excluded.csv") == ()
    assert len(read_manifest(run / "manifest.csv").scans) == 4


@pytest.mark.parametrize("option", ["--cache", "--out"])
def test_folders_are_tried_before_any_scan_is_read(
    job: SmallJob,
    tmp_path: Path,
    option: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "load_volume", lambda *_, **__: pytest.fail("a scan was read"))
    with mounted(tmp_path / "disk", "size=64k") as disk:
        folders = {"--cache": tmp_path / "cache", "--out": tmp_path / "run", option: disk}
        words = _words(job, folders["--out"], folders["--cache"])
        assert run_command(*words) == 1
        said = capsys.readouterr().err
    assert f"{disk}: the disk is full" in said
    assert option in said


def test_without_a_home_a_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.delenv("MRI_TRANSFER_CACHE", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: Path("~/.cache/mri-transfer"))
    with pytest.raises(MachineError, match="MRI_TRANSFER_CACHE"):
        workspace.default_cache()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        MemoryError(),
    ],
    ids=["full", "forbidden", "memory"],
)
def test_work_on_a_scan_never_takes_the_caches_fault_for_the_scans(
    job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(type(error)):
        prepare_worker.prepare_one(_one(job, tmp_path / "cache"))


def test_a_library_without_memory_says_nothing_of_the_scan(
    job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        cause = RuntimeError("Failed to allocate memory for image.")
        raise PreparationError("the scan cannot be brought to the template") from cause

    monkeypatch.setattr(prepare_worker, "prepare_scan", refuse)
    with pytest.raises(MachineError, match="memory"):
        prepare_worker.prepare_one(_one(job, tmp_path / "cache"))


def _one(job: SmallJob, cache: Path) -> prepare_worker.Job:
    scan = read_manifest(job.manifest).scans.iloc[0]
    return prepare_worker.Job(
        scan_id=scan["scan_id"],
        path=scan["path"],
        cache=cache,
        volumes=job.config.volumes,
        preparation=job.config.preparation,
        slices=job.config.slices,
    )


@pytest.mark.slow
def test_a_scan_whose_work_was_broken_off_is_tried_again_by_the_next_run(
    job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = read_manifest(job.manifest).scans["scan_id"].iloc[2]

    def pool(work, jobs, *, processes, timeout_s, failed):  # type: ignore[no-untyped-def]
        for one in jobs:
            yield failed(one, "it took too long.") if one.scan_id == lost else work(one)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_worker, "run_jobs", pool)
        for _ in range(2):
            outcome = _run(job, tmp_path)
            [left_out] = outcome.excluded
            assert left_out.scan_id == lost
            assert left_out.reason.endswith("it took too long. The next run tries it again.")
    assert _run(job, tmp_path).excluded == ()
    notes = Notes()
    _run(job, tmp_path, notes)
    assert notes.notes == ["current, nothing to do"] * 3


@pytest.mark.slow
def test_a_scan_that_kills_its_worker_twice_is_left_out_with_exit_code_3(
    job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_worker, "prepare_one", prepare_or_die)
    deadly = read_manifest(job.manifest).scans["scan_id"].iloc[2]
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "deadly").write_text(deadly)
    words = _words(job, tmp_path / "run", cache)
    assert run_command(*words) == 3
    [left_out] = read_exclusions(tmp_path / "run" / "excluded.csv")
    assert left_out.scan_id == deadly
    assert "died twice" in left_out.reason
    (cache / "deadly").unlink()
    assert run_command(*words) == 0
    assert read_exclusions(tmp_path / "run" / "excluded.csv") == ()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["damaged", "unreachable"])
def test_a_scan_that_is_there_again_takes_part_again(
    job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    scan = Path(read_manifest(job.manifest).scans["path"].iloc[0])
    content = scan.read_bytes()
    with monkeypatch.context() as patch:
        if fault == "damaged":
            scan.write_bytes(content[:1000])
        else:
            _make_unreachable(patch, scan)
        assert [one.stage for one in _run(job, tmp_path).excluded] == ["check"]
        notes = Notes()
        _run(job, tmp_path, notes)
        # What may have changed without a sign is looked at again, what has not changed is not.
        assert len(notes.notes) == 3
        assert (notes.notes[0] == "current, nothing to do") == (fault != "unreachable")
        scan.write_bytes(content)
    assert _run(job, tmp_path).excluded == ()


def _make_unreachable(patch: pytest.MonkeyPatch, scan: Path) -> None:
    import nibabel

    class Lost(nibabel.arrayproxy.ArrayProxy):
        def __init__(self, file: object, *words: object, **options: object) -> None:
            if os.fspath(getattr(file, "name", "")) == str(scan):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().__init__(file, *words, **options)

    patch.setattr(nibabel.arrayproxy, "ArrayProxy", Lost)


def _command(words: list[str], **limits: int) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    return subprocess.run(
        [sys.executable, "-m", "pipelines.commands.cli", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=limit,
    )


@pytest.mark.slow
def test_too_little_memory_is_told_without_a_traceback(job: SmallJob, tmp_path: Path) -> None:
    done = _command(_words(job, tmp_path / "run", tmp_path / "cache"), RLIMIT_AS=2_500_000_000)
    assert done.returncode == 1
    assert "not enough memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "excluded.csv").exists()


@pytest.mark.slow
def test_files_that_may_not_be_large_stop_the_run(job: SmallJob, tmp_path: Path) -> None:
    done = _command(_words(job, tmp_path / "run", tmp_path / "cache"), RLIMIT_FSIZE=60_000)
    assert done.returncode == 1
    assert "the system does not allow files of this size" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_ends_the_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.commands.cli", "doctor"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        code = process.wait(timeout=120)
    assert said == b""
    assert code == 141


@pytest.mark.slow
def test_an_output_that_is_full_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.commands.cli", "doctor"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("mri-transfer: the disk is full")
    assert "Traceback" not in done.stderr
