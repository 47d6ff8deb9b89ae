"""SIGKILL of workers and of the command at random moments: the same bytes under each engine.

A small cohort is run from scans to heads, each fold with a tail of its own: once undisturbed on
this machine, then again and again under each engine while processes are killed. Moments are drawn
from those at which the engine's undisturbed run had workers, victims from the workers alive then.
If there are none, another moment is drawn soon after: kills that wait would all hit what appears
next, which is the scan that is being tried again. Afterwards every file of run folder and cache is
compared, but for records, logs, settings and the temporary files of killed processes.

SLURM (two virtual nodes) and Dask (two workers) are started on this machine: root, and Debian's
slurm-wlm and munge, are needed.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from benchmarks._common import Target, argument_parser, finish, show_table
from benchmarks._workers import dask_workers, local_workers, slurm_workers
from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.synthetic.cohort import DemoSpec, grow_demo_cohort
from mri_transfer.core.files import TEMPORARY_PREFIX
from tests.pipelines.clusters import dask_cluster, printed, slurm_cluster

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ("local", "slurm", "dask")
_SETTINGS = (
    "profile=quick",
    "preparation.registration=false",
    "preparation.bias_field=false",
    "slices.n_slices=8",
    "slices.size_px=48",
    "folds.n_folds=2",
    "folds.n_repeats=1",
    "folds.n_inner_folds=2",
    "tuning.strategy=some",
    "tuning.epochs=2",
    "tuning.patience=0",
    "tuning.slices_per_scan=2",
    "tuning.inner_folds=2",
    "features.precision=fp32",
    "features.device=cpu",
)
_SLURM = ("scans_per_job=2", "cpus=1", "memory_gb=2", "time_min=30")
#: A run that goes on after so many restarts will never end.
_MOST_RESTARTS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Engine:
    """Where the work is done, and how its workers are found."""

    name: str
    settings: tuple[str, ...]
    environment: dict[str, str]
    workers: Callable[[psutil.Process], list[psutil.Process]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Disturbed:
    """What became of a run."""

    seconds: float
    kills: dict[str, int]
    """By the stage in which they happened."""
    codes: tuple[int, ...]
    """Of every start of the command."""
    same: bool
    litter: int
    """Temporary files left behind."""
    folder: Path
    moments: list[float]
    """Seconds of working time at which there was something to kill, if nothing was killed."""


@contextlib.contextmanager
def _opened(name: str, folder: Path) -> Iterator[_Engine]:
    folder.mkdir(parents=True)
    plain = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if name == "local":
        yield _Engine(name=name, settings=(), environment=plain, workers=local_workers)
    elif name == "slurm":
        settings = tuple(f"executor.{text}" for text in ("kind=slurm", *_SLURM))
        with slurm_cluster(folder) as found:
            yield _Engine(
                name=name,
                settings=settings,
                environment=plain | found,
                workers=partial(slurm_workers, found["SLURM_CONF"]),
            )
    else:
        with dask_cluster(folder) as address:
            settings = ("executor.kind=dask", f"executor.scheduler={address}")
            yield _Engine(name=name, settings=settings, environment=plain, workers=dask_workers)


def _start(engine: _Engine, manifest: Path, folder: Path) -> psutil.Popen:
    words = [sys.executable, "-m", "pipelines.commands.cli", "run", "--manifest", str(manifest)]
    words += ["--out", str(folder / "run"), "--cache", str(folder / "cache")]
    words += ["--until", "train", "--jobs", "2"]
    words += [part for text in (*_SETTINGS, *engine.settings) for part in ("--set", text)]
    with (folder / "log").open("a") as log:
        return psutil.Popen(
            words, cwd=ROOT, env={**os.environ, **engine.environment}, stdout=log, stderr=log
        )


def _stage(run: Path) -> str:
    """Return the stage that a run is at."""
    for name in ("check", "prepare", "slices", "features", "folds", "train"):
        if not (run / "records" / f"{name}.json").exists():
            return name
    return "end"


def _disturb(
    engine: _Engine,
    manifest: Path,
    folder: Path,
    *,
    moments: list[float],
    victim: str,
    rng: np.random.Generator,
    reference: Path | None,
) -> _Disturbed:
    """Run while workers, or the command itself, are killed at moments of its working time."""
    folder.mkdir(parents=True)
    left, kills, codes = sorted(moments), collections.Counter[str](), list[int]()
    seen = list[float]()
    worked = 0.0
    for _ in range(_MOST_RESTARTS):
        command, started = _start(engine, manifest, folder), time.monotonic()
        try:
            while command.poll() is None:
                time.sleep(0.02 if moments else 0.2)
                now = worked + time.monotonic() - started
                if moments and (not left or now < left[0]):
                    continue
                targets = [command] if victim == "command" else engine.workers(command)
                if targets and not moments:
                    seen.append(now)
                elif not targets and moments:
                    left[0] = now + rng.uniform(0, max(moments) / len(moments))
                    left.sort()
                elif targets:
                    stage, chosen = _stage(folder / "run"), targets[rng.integers(len(targets))]
                    with contextlib.suppress(psutil.NoSuchProcess):
                        chosen.send_signal(signal.SIGKILL)
                        kills[stage] += 1
                        left.pop(0)
        finally:
            # Whoever interrupts this leaves no command behind.
            if command.poll() is None:
                command.kill()
                command.wait()
        worked += time.monotonic() - started
        codes.append(command.returncode)
        # As a user would: 3 says that scans were left out, which the next run tries again, and
        # 1 that a fit ended with its worker twice.
        if codes[-1] == 0:
            break
    _settle(engine)
    files = _files(folder)
    return _Disturbed(
        seconds=worked,
        kills=dict(kills),
        codes=tuple(codes),
        same=codes[-1] == 0 and (reference is None or files == _files(reference)),
        litter=sum(path.name.startswith(TEMPORARY_PREFIX) for path in folder.rglob("*")),
        folder=folder,
        moments=seen,
    )


def _settle(engine: _Engine) -> None:
    """Wait until jobs of commands that were killed have left the queue."""
    if engine.name == "slurm":
        environment = {**os.environ, **engine.environment}
        queue = ["squeue", "--noheader", "--array", "--format=%i"]
        while printed(*queue, environment=environment):
            time.sleep(0.5)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and _counts(path.relative_to(folder).parts)
    }


def _counts(parts: tuple[str, ...]) -> bool:
    return (
        parts[-1] not in ("log", "config.toml")
        and parts[1:2] not in (("records",), ("jobs",), ("rates",))
        and not parts[-1].startswith(TEMPORARY_PREFIX)
    )


def _differences(folder: Path, reference: Path) -> list[str]:
    ours, theirs = _files(folder), _files(reference)
    return sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )


def _under(
    engine: _Engine,
    manifest: Path,
    folder: Path,
    reference: Path,
    *,
    kills: dict[str, int],
    per_run: int,
    seed: int,
) -> list[tuple[str, _Disturbed]]:
    """Run undisturbed, then with each victim killed as often as asked."""
    rng = np.random.default_rng([seed, ENGINES.index(engine.name)])

    def run(name: str, victim: str, moments: list[float]) -> _Disturbed:
        done = _disturb(
            engine,
            manifest,
            folder / name,
            moments=moments,
            victim=victim,
            rng=rng,
            reference=reference,
        )
        print(
            f"{engine.name} {name}: {done.kills}, codes {done.codes}, same {done.same}", flush=True
        )
        if not done.same:
            print("  differs:", *_differences(done.folder, reference)[:10], flush=True)
        return done

    undisturbed = run("undisturbed", "worker", [])
    alive = {"worker": undisturbed.moments, "command": np.arange(0, undisturbed.seconds, 0.2)}
    found = [("nobody", undisturbed)]
    for victim, total in kills.items():
        left, number = total, 0
        # A run that ended before all of its moments came leaves some to the next.
        while left > 0 and number < 2 * -(-total // per_run):
            moments = rng.choice(alive[victim], min(per_run, left)).tolist()
            done = run(f"{victim}-{number}", victim, moments)
            found.append((victim, done))
            left, number = left - sum(done.kills.values()), number + 1
    return found


def _row(engine: str, victim: str, runs: list[_Disturbed]) -> list[str]:
    stages = collections.Counter[str]()
    for run in runs:
        stages.update(run.kills)
    return [
        engine,
        victim,
        str(len(runs)),
        ", ".join(f"{n} {stage}" for stage, n in stages.items()) or "-",
        f"{sum(run.codes.count(3) for run in runs)}, {sum(run.codes.count(1) for run in runs)}",
        str(sum(run.litter for run in runs)),
        f"{sum(run.same for run in runs)} of {len(runs)}",
    ]


def main() -> None:
    """Kill, compare, and print the table."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--kills", type=int, default=20, help="of workers, under each engine")
    parser.add_argument("--command-kills", type=int, default=5)
    parser.add_argument("--per-run", type=int, default=5, help="kills in one run")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows, figures, n_same, n_runs = [], {}, 0, 0
    with tempfile.TemporaryDirectory(prefix="kills-") as made:
        folder = Path(made)
        spec = DemoSpec(
            n_patients=arguments.patients,
            spacing_mm=5,
            two_session_fraction=0,
            seed=arguments.seed,
        )
        manifest = folder / "manifest.csv"
        read_bids_cohort(grow_demo_cohort(folder / "cohort", spec=spec)).manifest.write(manifest)
        with _opened("local", folder / "reference-engine") as engine:
            reference = folder / "reference"
            rng = np.random.default_rng(arguments.seed)
            _disturb(
                engine,
                manifest,
                reference,
                moments=[],
                victim="worker",
                rng=rng,
                reference=None,
            )
        for name in arguments.engines:
            with _opened(name, folder / f"{name}-engine") as engine:
                found = _under(
                    engine,
                    manifest,
                    folder / name,
                    reference,
                    kills={"worker": arguments.kills, "command": arguments.command_kills},
                    per_run=arguments.per_run,
                    seed=arguments.seed,
                )
            for victim in ("nobody", "worker", "command"):
                runs = [run for who, run in found if who == victim]
                rows.append(_row(name, victim, runs))
                figures[f"{name}, {victim}"] = [
                    {"kills": run.kills, "codes": run.codes, "same": run.same} for run in runs
                ]
            n_same += sum(run.same for _, run in found)
            n_runs += len(found)
    header = [
        "engine",
        "killed",
        "runs",
        "kills by stage",
        "exit codes 3, 1",
        "left behind",
        "same",
    ]
    show_table("Killed at random moments", header, rows)
    finish(
        "kills",
        out=arguments.out,
        figures=figures,
        targets=[
            Target(name="runs of the same bytes", value=n_same / n_runs, limit=1.0, at_least=True)
        ],
    )


if __name__ == "__main__":
    main()
