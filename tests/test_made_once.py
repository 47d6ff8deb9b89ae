"""What processes share: made by one of them, once, and again where making it failed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.made_once import made_once


def test_whoever_asks_at_the_same_time_waits_and_gets_the_same_folder(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "begun").touch()
        time.sleep(0.2)
        (folder / "finished").touch()

    def ask(_: int) -> list[str]:
        folder = made_once(tmp_path_factory, "asked by four", make)
        return sorted(path.name for path in folder.iterdir())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [["begun", "finished"]] * 4
    assert len(made) == 1


def test_what_could_not_be_made_is_begun_anew_by_the_next_who_asks(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made_once(tmp_path_factory, "failed first", fail)
    folder = made_once(tmp_path_factory, "failed first", lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
