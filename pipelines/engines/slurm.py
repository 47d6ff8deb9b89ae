"""SlurmExecutor: processes scans in arrays of SLURM jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mri_transfer.errors import ConfigurationError, MachineError
from pipelines.engines.chunk import Chunk, Done
from pipelines.engines.remote import RemoteExecutor
from pipelines.engines.settings import ExecutorSpec

if TYPE_CHECKING:
    from submitit import Job
    from submitit.helpers import DelayedSubmission

__all__ = ["SlurmExecutor"]

#: SLURM's default limit of jobs in an array is 1001.
_MAX_ARRAY = 1000
#: Seconds before its time limit at which a job is told to stop and queued again.
_NOTICE_S = 90


class _Process:
    """Processes a chunk; submitit asks it what to do at the time limit."""

    def __call__(self, chunk: Chunk[Any, Any]) -> Done[Any]:
        return chunk.run()

    def checkpoint(self, chunk: Chunk[Any, Any]) -> DelayedSubmission:
        """Return the same work again: what is finished is found in the cache."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, chunk)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlurmExecutor(RemoteExecutor):
    """Processes scans in arrays of SLURM jobs.

    SLURM queues preempted jobs, and those of failed nodes, again by itself.

    Attributes
    ----------
    spec : ExecutorSpec
    gpus : int
        GPUs per job.
    poll_s : float
        Interval at which results are looked for, in seconds.
    queue_s : float
        Interval at which the queue is asked for jobs that ended without a result, in seconds.
    grace_s : float
        How long a result may take to show up on this machine after its job has ended, in seconds.
    """

    spec: ExecutorSpec
    gpus: int = 0
    poll_s: float = 1.0
    queue_s: float = 15.0
    grace_s: float = 60.0
    memory_remedy: ClassVar[str] = "Raise executor.memory_gb"

    @property
    def cores(self) -> int:
        """Cores per job."""
        return self.spec.cpus

    def chunk_size(self, n_jobs: int) -> int:
        """Return the scans per job: at most one array, however many scans there are."""
        return max(self.spec.scans_per_job, -(-n_jobs // _MAX_ARRAY))

    def run(
        self, chunks: Sequence[Chunk[Any, Any]], *, alone: bool
    ) -> Iterator[tuple[int, Done[Any] | str]]:
        """Run chunks; see `RemoteExecutor.run`. Jobs have their processes to themselves."""
        del alone
        # Nobody else may write here: results are unpickled.
        (self.cache / "jobs").mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=(self.cache / "jobs").absolute(), prefix="slurm-"))
        jobs: dict[int, Job[Done[Any]]] = {}
        try:
            for at in range(0, len(chunks), _MAX_ARRAY):
                jobs |= dict(enumerate(self._submitted(folder, chunks[at : at + _MAX_ARRAY]), at))
            self.note(f"{len(jobs)} SLURM jobs submitted; their logs are in {folder}")
            is_clean = True
            for index, done in self._collected(jobs):
                is_clean &= isinstance(done, Done) and done.fault is None
                yield index, done
        finally:
            for job in jobs.values():
                job.cancel(check=False)
        if is_clean:
            shutil.rmtree(folder, ignore_errors=True)

    def _submitted(self, folder: Path, chunks: Sequence[Chunk[Any, Any]]) -> list[Job[Done[Any]]]:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        _demand_slurm()
        executor = submitit.SlurmExecutor(
            folder, max_num_timeout=self.spec.requeues, python=self.spec.python or None
        )
        executor.update_parameters(**self._parameters())
        try:
            return executor.map_array(_Process(), chunks)
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise MachineError(
                "SLURM refuses the jobs",
                where="sbatch",
                found=" ".join(str(error).split()),
                remedy="Correct the settings of [executor]",
            ) from error

    def _parameters(self) -> dict[str, Any]:
        spec = self.spec
        given = {
            "partition": spec.partition,
            "account": spec.account,
            "setup": list(spec.setup),
            "gpus_per_node": self.gpus,
            "additional_parameters": dict(_option(text) for text in spec.options),
        }
        return {
            "job_name": "mri-transfer",
            "time": spec.time_min,
            "mem": f"{round(spec.memory_gb * 1024)}MB",
            "cpus_per_task": spec.cpus,
            "array_parallelism": spec.parallel_jobs,
            "signal_delay_s": _NOTICE_S,
            **{name: value for name, value in given.items() if value},
        }

    def _collected(self, jobs: dict[int, Job[Done[Any]]]) -> Iterator[tuple[int, Done[Any] | str]]:
        """Yield what came back of each job, which is taken out of `jobs`."""
        asked, missing_since = time.monotonic(), dict[int, float]()
        while jobs:
            for index in [index for index, job in jobs.items() if _has_result(job)]:
                yield index, _result(jobs.pop(index))
            if time.monotonic() - asked > self.queue_s:
                asked, queued = time.monotonic(), _queued()
                for index in list(jobs):
                    if queued is None or jobs[index].job_id in queued:
                        missing_since.pop(index, None)
                    elif asked - missing_since.setdefault(index, asked) >= self.grace_s:
                        log = jobs.pop(index).paths.stderr
                        yield index, f"its job ended without a result; see {log}"
            time.sleep(self.poll_s if jobs else 0)


def _demand_slurm() -> None:
    missing = [name for name in ("sbatch", "srun", "squeue", "scancel") if not shutil.which(name)]
    if missing:
        raise ConfigurationError(
            "this machine has no SLURM",
            where="executor.kind = slurm",
            found=f"no {', '.join(missing)}",
            remedy="Run the command on a login node, or set executor.kind=local",
        )


def _option(text: str) -> tuple[str, str | bool]:
    name, equals, value = text.removeprefix("--").partition("=")
    return name, value if equals else True


def _queued() -> set[str] | None:
    """Return the ids of this user's jobs that have not ended; None if SLURM does not answer.

    Accounting, which `sacct` and submitit's own states need, is not there on every cluster.
    """
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(asked.stdout.split())


def _has_result(job: Job[Done[Any]]) -> bool:
    # Looking at the folder makes network file systems look too.
    with contextlib.suppress(OSError):
        job.paths.folder.chmod(job.paths.folder.stat().st_mode)
    return job.paths.result_pickle.exists()


def _result(job: Job[Done[Any]]) -> Done[Any] | str:
    """Return what came back, or a text if the job was stopped at its time limit too often."""
    from submitit.core.utils import UncompletedJobError

    try:
        return job.result()
    except UncompletedJobError as error:
        if "timed-out too many times" in str(error):
            return "its job reached executor.time_min too often"
        raise MachineError(
            "a job failed",
            where=str(job.paths.stderr),
            found=" ".join(str(error).split())[-300:],
        ) from error
