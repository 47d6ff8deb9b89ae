"""A real Dask scheduler and workers, as processes on this machine."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mri_transfer.errors import ConfigurationError, MachineError
from pipelines.engines import dask as dask_module
from pipelines.engines.dask import DaskExecutor
from tests.pipelines.clusters import dask_cluster
from tests.pipelines.conftest import SmallJob
from tests.pipelines.pool_jobs import do_all
from tests.pipelines.remote_runs import demand_same_bytes_although_killed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as address:
        yield address


def _kill_one_worker(scheduler: str) -> None:
    from distributed import Client

    with Client(scheduler, timeout=60) as client:
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)


def test_a_run_whose_worker_is_killed_makes_what_an_undisturbed_one_makes(
    scheduler: str, small_job: SmallJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demand_same_bytes_although_killed(
        small_job,
        tmp_path,
        ["executor.kind=dask", f"executor.scheduler={scheduler}"],
        lambda: _kill_one_worker(scheduler),
    )


def test_what_kills_its_worker_is_lost_and_the_others_are_done(
    scheduler: str, tmp_path: Path
) -> None:
    workers = DaskExecutor(cache=tmp_path, note=lambda _: None, scheduler=scheduler)
    jobs = [("number", "0"), ("kill", ""), ("number", "2"), ("number", "3")]
    found = list(workers.map(do_all, jobs, lost=lambda job, reason: f"LOST: {reason}"))
    assert [found[i] for i in (0, 2, 3)] == ["number 0", "number 2", "number 3"]
    assert found[1].startswith("LOST: its worker ended twice")


def test_tasks_hold_several_scans_if_every_worker_still_gets_some(tmp_path: Path) -> None:
    workers = DaskExecutor(cache=tmp_path, note=lambda _: None, scheduler="", jobs=2)
    assert [workers.chunk_size(n) for n in (4, 48, 5000)] == [1, 3, 8]


def test_a_scheduler_on_this_machine_is_started_for_the_work(tmp_path: Path) -> None:
    workers = DaskExecutor(cache=tmp_path, note=lambda _: None, scheduler="", jobs=1)
    jobs = [("number", str(i)) for i in range(3)]
    assert list(workers.map(do_all, jobs)) == ["number 0", "number 1", "number 2"]


def test_a_scheduler_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_module, "_CONNECT_S", 1)
    workers = DaskExecutor(cache=tmp_path, note=lambda _: None, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(MachineError, match="does not answer"):
        list(workers.map(do_all, [("number", "0")]))
    wrong = dataclasses.replace(workers, scheduler="ftp://127.0.0.1")
    with pytest.raises(ConfigurationError, match=r"executor\.scheduler"):
        list(wrong.map(do_all, [("number", "0")]))
