"""DaskExecutor: processes scans on the workers of a Dask scheduler."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mri_transfer.errors import ConfigurationError, MachineError
from pipelines.engines.chunk import Chunk, Done
from pipelines.engines.remote import RemoteExecutor
from pipelines.pool import default_jobs

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskExecutor"]

#: Scans per task. A worker that dies loses one scan all the same: the others are in the cache.
_MOST_SCANS = 8
_TASKS_PER_WORKER = 8
#: Interval at which a scheduler without workers is noticed.
_LOOK_S = 30.0
_CONNECT_S = 30
#: Of a scheduler on this machine: workers must be able to start processes, and a chunk that ended
#: with its worker twice is tried alone.
_LOCAL_CONFIG = {
    "distributed.worker.daemon": False,
    "distributed.scheduler.allowed-failures": 1,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DaskExecutor(RemoteExecutor):
    """Processes scans on Dask workers, some scans per task.

    Dask itself repeats a task whose worker died, three times by default.

    Attributes
    ----------
    scheduler : str
        Address; empty: a scheduler with workers on this machine, for the time of the work.
    jobs : int, optional
        Number of workers on this machine; None: as cores and memory allow.
    """

    scheduler: str
    jobs: int | None = None
    memory_remedy: ClassVar[str] = "Start workers with more memory, or fewer per machine"

    @property
    def cores(self) -> int:
        """One: workers have one thread each."""
        return 1

    def chunk_size(self, n_jobs: int) -> int:
        """Return the scans per task: several, but so few that every worker gets some tasks.

        A process that has prepared a scan prepares the next one in a fraction of the time.
        """
        return max(1, min(_MOST_SCANS, n_jobs // (_TASKS_PER_WORKER * self._n_workers())))

    def _n_workers(self) -> int:
        if not self.scheduler:
            return self.jobs or default_jobs()
        with self._connected() as client:
            return max(1, len(client.nthreads()))

    def run(
        self, chunks: Sequence[Chunk[Any, Any]], *, alone: bool
    ) -> Iterator[tuple[int, Done[Any] | str]]:
        """Run chunks; see `RemoteExecutor.run`."""
        import dask
        from distributed import Client, LocalCluster

        if self.scheduler:
            with self._connected() as client:
                yield from self._on(client, chunks, alone=alone)
            return
        n_workers = min(self.jobs or default_jobs(), len(chunks))
        with (
            dask.config.set(_LOCAL_CONFIG),
            # Encrypted and with a key of its own: other users of this machine cannot connect.
            LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                dashboard_address=":0",
                security=True,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield from self._on(client, chunks, alone=alone)

    def _connected(self) -> Client:
        from distributed import Client

        try:
            return Client(self.scheduler, timeout=_CONNECT_S)
        except ValueError as error:
            raise ConfigurationError(
                "not an address of a Dask scheduler",
                where="executor.scheduler",
                found=self.scheduler,
                expected="such as tcp://host:8786",
            ) from error
        except OSError as error:
            raise MachineError(
                "the Dask scheduler does not answer",
                where=self.scheduler,
                found=str(error),
                remedy="Start it with `dask scheduler`, or correct executor.scheduler",
            ) from error

    def _on(
        self, client: Client, chunks: Sequence[Chunk[Any, Any]], *, alone: bool
    ) -> Iterator[tuple[int, Done[Any] | str]]:
        if not alone:
            yield from self._collected(client, dict(enumerate(chunks)))
            return
        # A task that only waits on a dying worker is suspected too: one at a time, none waits.
        for index, chunk in enumerate(chunks):
            yield from self._collected(client, {index: chunk})

    def _collected(
        self, client: Client, chunks: dict[int, Chunk[Any, Any]]
    ) -> Iterator[tuple[int, Done[Any] | str]]:
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        indices: dict[Future, int] = {}
        for index, chunk in chunks.items():
            # Not pure: the same scans may have to be processed again.
            future = client.submit(Chunk.run, chunk, pure=False)
            indices[future] = index
            future.add_done_callback(finished.put)
        is_told = False
        while indices:
            try:
                future = finished.get(timeout=_LOOK_S)
            except queue.Empty:
                if not is_told and not client.scheduler_info()["workers"]:
                    self.note(f"no worker is connected to {client.scheduler.address}: waiting")
                    is_told = True
                continue
            yield indices.pop(future), _result(future)


def _result(future: Future) -> Done[Any] | str:
    """Return what came back, or a text if the worker died."""
    from distributed import CancelledError, KilledWorker

    try:
        done: Done[Any] = future.result()
    except KilledWorker as error:
        return f"the last one was {error.last_worker.address}"
    except CancelledError as error:
        raise MachineError(
            "the Dask scheduler is gone",
            found=str(error) or None,
            remedy="Start it, and run the same command again: finished work is kept",
        ) from error
    return done
