"""The log of a run folder says what was done, and how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.log import logged
from pipelines.workspace import Workspace
from tests.pipelines.conftest import Notes


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    workspace = Workspace(root=tmp_path / "run", cache=tmp_path / "cache")
    workspace.log.parent.mkdir(parents=True)
    return workspace


def _lines(folder: Workspace) -> list[str]:
    """Return the log without the times."""
    return [line.partition(" ")[2] for line in folder.log.read_text().splitlines()]


def test_lines_are_told_and_logged_under_their_stage(folder: Workspace) -> None:
    told = Notes()
    with logged(folder, told) as log:
        log.heading("train")
        log.note("15 heads (3.0 s)")
        log.detail("only in the log")
    assert told.notes == ["15 heads (3.0 s)"]
    head, *rest = _lines(folder)
    assert head.startswith("train: mri-transfer ") is False
    assert head.startswith("mri-transfer ")
    assert rest == ["train: 15 heads (3.0 s)", "train: only in the log", "finished"]


def test_an_error_is_logged_with_where_it_arose_and_goes_on(folder: Workspace) -> None:
    def work() -> None:
        with logged(folder, Notes()) as log:
            log.note("begins")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()
    text = folder.log.read_text()
    assert "stopped by an error" in text
    assert "ZeroDivisionError" in text
    assert "test_log.py" in text
    assert "finished" not in text


def test_who_does_nothing_leaves_no_trace(folder: Workspace) -> None:
    with logged(folder, Notes()) as log:
        log.heading("train")
        log.unlogged("current, nothing to do")
    with pytest.raises(ValueError, match="refused"), logged(folder, Notes()):
        raise ValueError("refused")
    assert not folder.log.exists()


def test_commands_append(folder: Workspace) -> None:
    for number in range(2):
        with logged(folder, Notes()) as log:
            log.note(f"command {number}")
    assert [line for line in _lines(folder) if line.startswith("command")] == [
        "command 0",
        "command 1",
    ]


def test_a_folder_that_cannot_be_written_to_does_not_stop_the_work(tmp_path: Path) -> None:
    nowhere = Workspace(root=tmp_path / "missing", cache=tmp_path)
    told = Notes()
    with logged(nowhere, told) as log:
        log.note("still told")
    assert told.notes == ["still told"]
