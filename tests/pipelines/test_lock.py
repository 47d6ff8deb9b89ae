"""One command at a time in a run folder; nobody stays locked out."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mri_transfer.errors import RunFolderError
from pipelines.lock import locked
from pipelines.runner import RunOutcome
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob, run_command

HOLD = """
import sys
from pathlib import Path
from pipelines.lock import locked
from pipelines.workspace import Workspace
with locked(Workspace(root=Path(sys.argv[1]), cache=Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def _other(run: Workspace) -> subprocess.CompletedProcess[str]:
    """Let another process work in the folder for a moment."""
    words = [sys.executable, "-c", HOLD, str(run.root)]
    return subprocess.run(words, input="", capture_output=True, text=True, check=False)


@pytest.fixture
def run(tmp_path: Path) -> Workspace:
    return Workspace(root=tmp_path / "run", cache=tmp_path)


@pytest.fixture
def holder(run: Workspace) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_command_says_at_once_who_holds_the_folder(
    run: Workspace, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(RunFolderError, match=rf"process {holder.pid} on ") as caught, locked(run):
        pass
    assert str(run.root) in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [["run"], ["evaluate"], ["report"], ["prepare"], ["compare"], ["retrain"]],
    ids=lambda words: words[0],
)
def test_every_command_that_works_in_a_run_folder_asks(
    words: list[str],
    small_job: SmallJob,
    finished: RunOutcome,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, cache = str(finished.workspace.root), str(finished.workspace.cache)
    settings = [part for setting in small_job.settings for part in ("--set", setting)]
    out = str(tmp_path / "out")
    more = {
        "run": ["--manifest", str(small_job.manifest), "--out", root, "--cache", cache, *settings],
        "compare": [root, str(tmp_path), "--out", out],
        "retrain": [root, "--out", out, "--cache", cache],
    }.get(words[0], [root, "--cache", cache])
    (tmp_path / "config.toml").write_text("")  # enough to be opened for the comparison
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert run_command(*words, *more) == 1
        said = capsys.readouterr().err
        process.kill()
    assert f"process {process.pid}" in said
    assert "another command is using this run folder" in said
    assert not Path(out).exists()


def test_a_killed_holder_leaves_nothing_locked(
    run: Workspace, holder: subprocess.Popen[str]
) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(run):
        assert f"process {os.getpid()} " in run.lock.read_text()


def test_a_block_may_be_nested_and_the_outer_one_still_holds(run: Workspace) -> None:
    with locked(run):
        with locked(run):
            pass
        text = run.lock.read_text()
        assert f"process {os.getpid()} " in text
        done = _other(run)
        assert done.returncode != 0
        assert f"process {os.getpid()} " in done.stderr
    assert run.lock.read_text() == ""


def test_a_fault_in_the_block_frees_the_folder(run: Workspace) -> None:
    with pytest.raises(KeyError), locked(run):
        raise KeyError
    done = subprocess.run(
        [sys.executable, "-c", HOLD, str(run.root)],
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "held\n"


def test_an_archive_that_nobody_may_write_to_can_be_read(
    run: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.root.mkdir()

    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with locked(run):
        pass
    assert stat.S_ISDIR(run.root.stat().st_mode)
    monkeypatch.setattr(os, "access", lambda *_: True)
    with pytest.raises(PermissionError), locked(run):
        pass
