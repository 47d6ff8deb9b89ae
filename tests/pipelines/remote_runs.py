"""Runs on other machines, against undisturbed ones on this machine."""

from __future__ import annotations

import dataclasses
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import TEMPORARY_PREFIX
from pipelines.config import read_config
from pipelines.engines.chunk import Chunk, Done
from pipelines.engines.remote import RemoteExecutor
from pipelines.plan.order import stages_until
from pipelines.runner import begin_run, run_pipeline
from tests.pipelines.conftest import SmallJob

__all__ = ["Elsewhere", "demand_same_bytes_although_killed"]

_QUICK = ["preparation.registration=false", "preparation.bias_field=false"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elsewhere(RemoteExecutor):
    """Another machine, as far as it shares nothing but files: what travels there is pickled."""

    jobs: list[Any]
    chunks: list[int]

    @classmethod
    def in_place_of_this_machine(cls, patch: pytest.MonkeyPatch, cache: Path) -> Elsewhere:
        """Let stages work there; return what tells which jobs were done, in chunks of how many."""
        one = cls(cache=cache, note=lambda _: None, jobs=[], chunks=[])
        patch.setattr("pipelines.stage.executor_for", lambda *_, **__: one)
        return one

    @property
    def cores(self) -> int:
        return 1

    def chunk_size(self, n_jobs: int) -> int:
        return 3

    def run(
        self, chunks: Sequence[Chunk[Any, Any]], *, alone: bool
    ) -> Iterator[tuple[int, Done[Any] | str]]:
        for index, chunk in enumerate(chunks):
            sent: Chunk[Any, Any] = pickle.loads(pickle.dumps(chunk))
            self.jobs.extend(sent.jobs)
            self.chunks.append(len(sent.jobs))
            yield index, pickle.loads(pickle.dumps(sent.run()))


def demand_same_bytes_although_killed(
    small_job: SmallJob, folder: Path, settings: list[str], kill: Callable[[], object]
) -> None:
    """Run the stages up to features there and here, and compare every file of run and cache.

    Parameters
    ----------
    small_job : SmallJob
    folder : Path
        The current folder: caches are given by relative paths.
    settings : list of str
        Of the executor.
    kill : callable
        Kills a worker; called once the first scan has been prepared.
    """
    assert folder == Path.cwd()
    cohort = read_manifest(small_job.manifest)
    labels = cohort.scans.drop_duplicates("label")["scan_id"]
    others = cohort.scans.loc[~cohort.scans["scan_id"].isin(labels), "scan_id"]
    cohort.keep([*labels, *others[: 4 - len(labels)]]).write(folder / "four.csv")
    killed: list[bool] = []

    def kill_when_it_is_busy() -> None:
        while not list((folder / "there-cache").glob("prepared/*/*")):
            time.sleep(0.05)
        kill()
        killed.append(True)

    threading.Thread(target=kill_when_it_is_busy, daemon=True).start()
    _run("there", [*small_job.settings, *_QUICK, *settings])
    assert killed
    _run("here", [*small_job.settings, *_QUICK])
    assert _files(folder / "there-cache", but="jobs") == _files(folder / "here-cache")
    assert _files(folder / "there", but="records") == _files(folder / "here", but="records")


def _run(name: str, settings: list[str]) -> None:
    usable = [text for text in settings if text != "preparation.scans=none"]
    config = read_config(None, usable)
    workspace = begin_run(Path("four.csv"), Path(name), config, cache=Path(f"{name}-cache"))
    run_pipeline(workspace, config, stages=stages_until("features"), jobs=1)


def _files(folder: Path, *, but: str = "") -> dict[str, bytes]:
    """Every file by its path; the configuration says where scans were processed.

    What a killed process was writing stays behind under a temporary name, which nothing reads.
    """
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name != "config.toml"
        and not path.name.startswith(TEMPORARY_PREFIX)
        and path.relative_to(folder).parts[0] != but
    }
