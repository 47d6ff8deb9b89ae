"""How long 50,000 scans take on a cluster, by the number of workers: a simulation of its events.

Workers take jobs of some scans off one queue. A worker loads the trunk at the start of each job; a
scan takes one of the times that were measured on real heads (`preparation_seconds.csv`: 192 heads
and altered copies of them, one core each, by `preparation_wild`) and a pass of the trunk.
Some scans are slow, some fail after as long as others take, and workers are preempted or reach
their walltime: the scan in hand is lost, what is left of the job is queued again, and another
worker goes on after a delay. A scan that kills its worker is tried once more and then left out, as
the executors do.

With `check` the model is held against a real run: made-up heads are prepared by one worker and by
two, and the times of the first run predict the second.
"""

from __future__ import annotations

import csv
import dataclasses
import heapq
import statistics
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks._common import (
    Target,
    argument_parser,
    finish,
    measured_command,
    show_table,
)
from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.synthetic.cohort import DemoSpec, grow_demo_cohort
from pipelines.config import read_config
from pipelines.runner import begin_run

__all__ = ["main"]

FloatArray = npt.NDArray[np.float64]

#: Core seconds of one pass of VGG16 in fp32 over 32 slices of 224 px (`pipelines.estimates`).
_PASS_S = 3.4
#: Workers up to which 50,000 scans are enough work to keep them busy.
_ENOUGH_WORK = 100
_TIMES = Path(__file__).with_name("preparation_seconds.csv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """What happens on the cluster.

    Attributes
    ----------
    workers : int
        Of one core each.
    scans_per_job : int
    start_s : float
        From a job's start to its first scan: the queue, Python, the trunk.
    slow_share, slow_factor : float
        Scans that take so many times as long.
    failing_share : float
        Scans that are refused after as long as others take.
    killing_share : float
        Scans that kill their worker.
    preempted_per_hour : float
        Of each worker.
    walltime_s : float
    requeue_s : float
        Until a job that was preempted starts again.
    """

    workers: int
    scans_per_job: int = 20
    start_s: float = 10.0
    slow_share: float = 0.1
    slow_factor: float = 3.0
    failing_share: float = 0.01
    killing_share: float = 0.0005
    preempted_per_hour: float = 0.5
    walltime_s: float = 4 * 3600.0
    requeue_s: float = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes
    ----------
    makespan_s : float
        Until the last scan is done.
    work_s : float
        Core seconds of all scans, had nothing been lost and no job had to start.
    lost_s : float
        Spent on scans that were broken off.
    starts : int
        Jobs started, those queued again included.
    left_out : int
        Scans that failed or killed two workers.
    """

    makespan_s: float
    work_s: float
    lost_s: float
    starts: int
    left_out: int

    def efficiency(self, workers: int) -> float:
        """Return the share of all workers' time that went into scans."""
        return self.work_s / (workers * self.makespan_s)


def simulate(seconds: FloatArray, cluster: Cluster, *, seed: int = 0) -> Outcome:
    """Run the events of one cohort.

    Parameters
    ----------
    seconds : ndarray of float64, shape (n_scans,)
        What each scan takes on one core, before some are made slow.
    cluster : Cluster
    seed : int
    """
    rng = np.random.default_rng(seed)
    n = len(seconds)
    slow = rng.random(n) < cluster.slow_share
    takes = np.where(slow, cluster.slow_factor * seconds, seconds)
    fails = rng.random(n) < cluster.failing_share
    deaths_left = np.where(rng.random(n) < cluster.killing_share, 2, 0)
    jobs = deque(
        (0.0, list(range(i, min(i + cluster.scans_per_job, n))))
        for i in range(0, n, cluster.scans_per_job)
    )
    free = [0.0] * cluster.workers
    starts, lost, end = 0, 0.0, 0.0
    while jobs:
        ready, scans = jobs.popleft()
        at = max(heapq.heappop(free), ready) + cluster.start_s
        starts += 1
        began = at - cluster.start_s
        hours = rng.exponential(1.0 / max(cluster.preempted_per_hour, 1e-12))
        stops = min(began + 3600.0 * hours, began + cluster.walltime_s)
        rest: list[int] = []
        for position, scan in enumerate(scans):
            if at + takes[scan] > stops:
                # Whoever is stopped loses the scan in hand.
                lost += max(stops - at, 0.0)
                at, rest = max(stops, at), scans[position:]
                break
            at += takes[scan]
            if deaths_left[scan]:
                deaths_left[scan] -= 1
                lost += takes[scan]
                rest = scans[position + (not deaths_left[scan]) :]
                fails[scan] |= not deaths_left[scan]
                break
            end = max(end, at)
        if rest:
            jobs.append((at + cluster.requeue_s, rest))
        end = max(end, at)
        heapq.heappush(free, at)
    return Outcome(
        makespan_s=float(end),
        work_s=float(takes.sum()),
        lost_s=float(lost),
        starts=starts,
        left_out=int(fails.sum()),
    )


def measured_seconds(n: int, *, seed: int = 0) -> FloatArray:
    """Draw what scans take from the times that were measured, a pass of the trunk included."""
    with _TIMES.open(newline="", encoding="utf-8") as file:
        known = np.array([float(row["seconds"]) for row in csv.DictReader(file)])
    return np.random.default_rng(seed).choice(known, n) + _PASS_S


def check(n_scans: int) -> dict[str, float]:
    """Prepare made-up heads with one worker and with two; predict the second from the first.

    Returns
    -------
    dict of str to float
        Seconds until the first scan is begun, with one worker and with two, and what the
        simulation says of two.
    """
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = DemoSpec(n_patients=n_scans, spacing_mm=4, two_session_fraction=0)
        cohort = grow_demo_cohort(folder / "cohort", spec=spec)
        manifest = folder / "manifest.csv"
        read_bids_cohort(cohort).manifest.write(manifest)
        config = read_config(None, ["preparation.scans=none", "slices.n_slices=16"])
        for workers in (1, 2):
            run, cache = folder / f"run{workers}", folder / f"cache{workers}"
            begin_run(manifest, run, config, cache=cache)
            where = (str(run), "--cache", str(cache), "--jobs", str(workers))
            measured_command("check", *where)
            seconds[workers] = measured_command("prepare", *where).seconds
        done = sorted(
            path.stat().st_mtime for path in (folder / "cache1").glob("prepared/*/*.json")
        )
    # With one worker, the time between two scans is what the second took.
    each = np.diff(done)
    each = np.append(each, statistics.mean(each))
    start = seconds[1] - float(each.sum())
    nothing = Cluster(
        workers=2,
        scans_per_job=1,
        start_s=0.0,
        slow_share=0.0,
        failing_share=0.0,
        killing_share=0.0,
        preempted_per_hour=0.0,
    )
    return {
        "before the first scan": start,
        "one worker": seconds[1],
        "two workers": seconds[2],
        "two workers, simulated": start + simulate(each, nothing).makespan_s,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--scans", type=int, default=50_000)
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 10, 100, 500, 1000))
    parser.add_argument("--scans-per-job", type=int, nargs="+", default=(20, 5), metavar="N")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="scans of a real run")
    arguments = parser.parse_args(argv)
    seconds = measured_seconds(arguments.scans)
    found = {
        (n, per_job): simulate(seconds, Cluster(workers=n, scans_per_job=per_job))
        for n in arguments.workers
        for per_job in arguments.scans_per_job
    }
    show_table(
        f"{arguments.scans} scans of {seconds.mean():.1f} core seconds, before a tenth is slow",
        [
            "workers",
            "scans a job",
            "hours",
            "efficiency",
            "jobs started",
            "core hours lost",
            "left out",
        ],
        [
            [
                str(n),
                str(per_job),
                f"{one.makespan_s / 3600:.2f}",
                f"{one.efficiency(n):.3f}",
                str(one.starts),
                f"{one.lost_s / 3600:.1f}",
                str(one.left_out),
            ]
            for (n, per_job), one in found.items()
        ],
    )
    figures: dict[str, object] = {
        "simulated": [
            {"workers": n, "scans_per_job": per_job, **dataclasses.asdict(one)}
            for (n, per_job), one in found.items()
        ]
    }
    targets = [
        Target(
            name=f"efficiency with {n} workers",
            value=max(one.efficiency(n) for (m, _), one in found.items() if m == n),
            limit=0.9,
            at_least=True,
        )
        for n in arguments.workers
        if n <= _ENOUGH_WORK
    ]
    if arguments.check:
        figures["check"] = real = check(arguments.check)
        show_table(
            f"{arguments.check} made-up heads prepared, seconds",
            ["run", "seconds"],
            [[name, f"{value:.1f}"] for name, value in real.items()],
        )
        targets.append(
            Target(
                name="two workers, measured by simulated",
                value=real["two workers"] / real["two workers, simulated"],
                limit=1.1,
                at_least=False,
            )
        )
    finish("scale_simulation", out=arguments.out, figures=figures, targets=targets)


if __name__ == "__main__":
    main()
