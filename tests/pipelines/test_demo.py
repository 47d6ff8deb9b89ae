"""After the demo one is told how to call the command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipelines.jobs.demo import closing_words


def test_in_an_environment_one_is_told_how_to_activate_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert f". {tmp_path}/.venv/bin/activate" in closing_words()


def test_without_one_the_whole_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert f"{sys.executable} -m pipelines.commands.cli" in closing_words()
