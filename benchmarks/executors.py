"""What work on other processes costs: efficiency of two workers, overhead of a task and of a job.

The features stage's work on made-up scans is done by one Dask worker and by two, of one thread
each, in turn: first by workers that have just started and must load libraries and trunk, then by
the same, warm. Efficiency is the work of one worker over that of two, in processor seconds, which
stay meaningful on a busy machine, and in wall time, which needs an idle one. Overheads are those of
tasks and jobs that do nothing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks._common import Target, argument_parser, finish, median_ratio, show_table
from benchmarks._slices import SLICES_TAR, made_up_slices, real_slices
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.trunks import TrunkSpec
from mri_transfer.scans.slices import SliceStack, SliceStore
from pipelines.engines.dask import DaskExecutor
from pipelines.engines.settings import ExecutorSpec
from pipelines.engines.slurm import SlurmExecutor
from pipelines.stages.features_worker import Encoding, ScanToEncode, encode_batch
from tests.pipelines.clusters import MISSING, slurm_cluster

__all__ = ["main"]

_SIZE_PX = 224
_N_SLICES = 32
_N_TASKS = 500
_N_JOBS = 10


def _nothing(jobs: Sequence[int], cores: int | None) -> Iterator[int]:
    """Do nothing."""
    del cores
    return iter(jobs)


def _stacks(cache: Path, n: int) -> list[str]:
    """Put slices of scans into a cache, of one head with a grain of noise; return their keys."""
    if SLICES_TAR.exists():
        pixels = real_slices(0, size_px=_SIZE_PX, n_slices=_N_SLICES)
    else:
        pixels = made_up_slices(_N_SLICES, size_px=_SIZE_PX)
    store, keys = SliceStore(cache), [f"{i:064x}" for i in range(n)]
    z_mm = np.arange(_N_SLICES, dtype=np.float32)
    for i, key in enumerate(keys):
        own = pixels.numpy().copy()
        own[:, 0, 0] = i % 256
        store.put(key, SliceStack(scan_id=f"s{i}", pixels=own, z_mm=z_mm))
    return keys


def _scans(keys: Sequence[str], run: str) -> list[ScanToEncode]:
    """Ask for features that the cache lacks."""
    return [
        ScanToEncode(scan_id=f"s{i}", slices_key=key, keys={"max": f"{run}{key[len(run) :]}"})
        for i, key in enumerate(keys)
    ]


class _Workers:
    """Dask workers of one thread each on this machine, just started."""

    def __init__(self, n: int, cache: Path) -> None:
        import dask
        from distributed import LocalCluster

        with dask.config.set({"distributed.worker.daemon": False}):
            self.cluster = LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
        self.executor = DaskExecutor(
            cache=cache, note=print, scheduler=self.cluster.scheduler_address
        )

    def cost(self, batch: Callable[..., Any], jobs: Sequence[Any]) -> tuple[float, float]:
        """Return wall time and processor seconds of the workers."""
        before, started = self._processor_s(), time.perf_counter()
        for _ in self.executor.map(batch, jobs):
            pass
        return time.perf_counter() - started, self._processor_s() - before

    def _processor_s(self) -> float:
        pids = [worker.pid for worker in self.cluster.workers.values()]
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def _round(encoding: Encoding, keys: Sequence[str], number: int) -> dict[str, dict[int, Any]]:
    """Return the costs of cold and of warm workers, by their number."""
    costs: dict[str, dict[int, Any]] = {"cold": {}, "warm": {}}
    # In turn, one or two first.
    for n in (1, 2) if number % 2 else (2, 1):
        workers = _Workers(n, encoding.cache)
        try:
            for state in costs:
                scans = _scans(keys, f"{number}{n}{state}".encode().hex())
                costs[state][n] = workers.cost(partial(encode_batch, encoding), scans)
        finally:
            workers.cluster.close()
    return costs


def _task_overhead(cache: Path) -> tuple[float, float]:
    """Return milliseconds a task that does nothing, of wall time and of this process."""
    workers = _Workers(2, cache)
    try:
        workers.cost(_nothing, range(20))
        own = time.process_time()
        wall, _ = workers.cost(_nothing, range(_N_TASKS))
        return 1000 * wall / _N_TASKS, 1000 * (time.process_time() - own) / _N_TASKS
    finally:
        workers.cluster.close()


def _job_overhead(folder: Path) -> float | None:
    """Return the seconds that submitting an array takes, a job; None without SLURM."""
    if MISSING or os.getuid() != 0:
        return None
    submitted: list[float] = []
    with slurm_cluster(folder / "slurm") as environment:
        os.environ.update(environment)
        spec = ExecutorSpec(kind="slurm", scans_per_job=1, cpus=1, memory_gb=1, time_min=30)
        executor = SlurmExecutor(
            cache=folder / "jobs-cache",
            note=lambda _: submitted.append(time.perf_counter()),
            spec=spec,
        )
        started = time.perf_counter()
        assert list(executor.map(_nothing, range(_N_JOBS))) == list(range(_N_JOBS))
    return (submitted[0] - started) / _N_JOBS


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--scans", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoding = Encoding(
            cache=folder / "cache",
            trunk=TrunkSpec(),
            features=FeatureSpec(precision="fp32", device="cpu"),
            weights=None,
            weights_cache=folder / "weights",
        )
        keys = _stacks(encoding.cache, arguments.scans)
        load = os.getloadavg()[0]
        rounds = [_round(encoding, keys, number) for number in range(arguments.rounds)]
        task_ms, own_ms = _task_overhead(encoding.cache)
        job_s = _job_overhead(folder)
    found: dict[str, float] = {}
    for state in ("cold", "warm"):
        for kind, at in (("wall", 0), ("processor", 1)):
            one = [costs[state][1][at] for costs in rounds]
            two = [costs[state][2][at] for costs in rounds]
            found[f"{state} {kind}"] = median_ratio(one, two) / (2 if kind == "wall" else 1)
    show_table(
        f"One worker over two, {arguments.scans} scans; load {load:.1f} at the start",
        ["workers", "by wall time", "by processor seconds"],
        [
            [words, f"{found[f'{state} wall']:.2f}", f"{found[f'{state} processor']:.2f}"]
            for state, words in (("cold", "just started"), ("warm", "trunk loaded"))
        ],
    )
    show_table(
        "Overhead of what does nothing",
        ["", "value"],
        [
            ["a Dask task, wall ms", f"{task_ms:.1f}"],
            ["a Dask task, ms of the command's processor time", f"{own_ms:.1f}"],
            ["submitting a SLURM job, s", "-" if job_s is None else f"{job_s:.2f}"],
        ],
    )
    finish(
        "executors",
        out=arguments.out,
        figures={"rounds": rounds, "load": load, "task_ms": task_ms, "own_ms": own_ms},
        targets=[
            Target(
                name="efficiency of 2 workers, just started (processor seconds)",
                value=found["cold processor"],
                limit=0.9,
                at_least=True,
            ),
            Target(
                name="efficiency of 2 workers, trunk loaded (processor seconds)",
                value=found["warm processor"],
                limit=0.95,
                at_least=True,
            ),
            Target(name="a Dask task, ms", value=task_ms, limit=20, at_least=False),
            Target(name="submitting a SLURM job, s", value=job_s, limit=2, at_least=False),
        ],
    )


if __name__ == "__main__":
    main()
