"""ScanQueue: a bounded queue of requests, and one worker process for their scans."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_transfer.errors import StoreError
from pipelines.child import open_pool
from pipelines.jobs.predict import BundlePlace
from pipelines.serve.faults import Refusal
from pipelines.serve.limits import ServiceSpec
from pipelines.serve.scratch import remove_abandoned
from pipelines.serve.worker import ScanJob, predict_upload, warm_up

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["ScanQueue"]

#: The process is replaced after this many tasks, two per scan, to limit memory growth.
_TASKS_PER_PROCESS = 200
#: Opening a bundle may include converting the trunk's weights.
_OPENING_S = 600
#: Interval at which waiting requests are checked for disconnected clients.
_POLL_S = 0.5
#: Delay after which refused clients should retry.
_RETRY_S = 5
_LATER = {"Retry-After": str(_RETRY_S)}
_STOPPING = Refusal(status=503, what="the service is stopping", headers=_LATER)
_LOST = Refusal(
    status=503,
    what="the worker process died, and is restarted",
    remedy=f"Send the scan again in {_RETRY_S} s; if this happens repeatedly, the administrator "
    "should check the memory of the machine",
    headers=_LATER,
)
_DIED = Refusal(
    status=500,
    what="the worker process died twice on this scan, probably for lack of memory",
    remedy="Inspect the scan; the administrator can give the service more memory",
)
#: Number of attempts per scan if the worker process dies.
_TRIES = 2

Gone = Callable[[], Awaitable[bool]]


class ScanQueue:
    """A bounded queue of requests with one worker process.

    Parameters
    ----------
    place : BundlePlace
    digest : str
        Digest of the bundle.
    spec : ServiceSpec
    """

    def __init__(self, place: BundlePlace, digest: str, spec: ServiceSpec) -> None:
        self.bundle_place, self.digest, self.spec = place, digest, spec
        self._taken = 0
        self._pool: ProcessPool | None = None
        self._scratch: Path | None = None
        self._opening: Future[str] | None = None
        self._reviving = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def taken(self) -> int:
        """Number of running and queued requests."""
        return self._taken

    def trouble(self) -> Refusal | None:
        """Return why scans are not accepted now, or None; a dead worker is replaced."""
        if self._pool is None:
            return _STOPPING
        if not _is_active(self._pool):
            self._begin(self._revived())
            return _LOST
        opening = self._opening
        if opening is None or not opening.done() or not _has_failed(opening):
            return None
        self._open_bundle(self._pool)
        return _LOST

    async def open(self, scratch: Path) -> None:
        """Start the worker and open the bundle in it.

        Parameters
        ----------
        scratch : Path
            Folder from `upload_folder`; the worker removes it if this process is killed.

        Raises
        ------
        StoreError
            If the worker cannot open the bundle.
        """
        self._scratch = scratch
        self._pool = self._new_pool()
        fault = await asyncio.wrap_future(self._open_bundle(self._pool))
        if fault:
            raise StoreError("the worker cannot open the bundle", found=fault)

    def _new_pool(self) -> ProcessPool:
        at_end = None if self._scratch is None else partial(remove_abandoned, self._scratch.parent)
        return open_pool(max_workers=1, max_tasks=_TASKS_PER_PROCESS, at_end=at_end)

    async def _revived(self) -> ProcessPool | None:
        """Return the pool, replaced if it is broken; None if the service is stopping."""
        async with self._reviving:
            broken = self._pool
            if broken is None or _is_active(broken):
                return broken
            # Tasks waiting for the old pool notice that it is inactive, and come here.
            self._begin(_end(broken))
            pool = self._new_pool()
            # Starting processes takes seconds, during which other requests are served.
            with contextlib.suppress(RuntimeError):
                await asyncio.to_thread(self._open_bundle, pool)
            if self._pool is None:
                await _end(pool)
            else:
                self._pool = pool
            return self._pool

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open_bundle(self, pool: ProcessPool) -> Future[str]:
        """Open the bundle in the worker; returns immediately if it is already open."""
        self._opening = pool.schedule(
            warm_up, args=(self.bundle_place, self.digest), timeout=_OPENING_S
        )
        return self._opening

    async def close(self) -> None:
        """Stop the worker, even if it is busy."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await _end(pool)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def place(self) -> Iterator[bool]:
        """Reserve a place for the duration of a request; False if the queue is full."""
        if self._taken >= self.spec.places:
            yield False
            return
        self._taken += 1
        try:
            yield True
        finally:
            self._taken -= 1

    def full(self) -> Refusal:
        """Return the refusal for a full queue."""
        return Refusal(
            status=503,
            what="the service is busy",
            found=f"{self._taken} requests ahead of yours",
            remedy=f"Send the scan again in {_RETRY_S} s",
            headers=_LATER,
        )

    async def predict(self, job: ScanJob, *, gone: Gone) -> Mapping[str, Any] | Refusal:
        """Score an upload when its turn comes.

        Parameters
        ----------
        job : ScanJob
        gone : callable
            Returns whether the client has disconnected; its scan is then dropped if still queued.
        """
        found = _LOST
        for _ in range(_TRIES):
            pool = await self._revived()
            if pool is None:
                return _STOPPING
            try:
                answer = await self._attempt(pool, job, gone)
            except BrokenExecutor:
                continue
            if answer is not _DIED:
                return answer
            found = _DIED
        return found

    async def _attempt(
        self, pool: ProcessPool, job: ScanJob, gone: Gone
    ) -> Mapping[str, Any] | Refusal:
        """Score an upload in a pool; raise BrokenExecutor if the pool breaks."""
        try:
            # A new worker opens the bundle first, outside the scan's time limit.
            self._open_bundle(pool)
            inner = pool.schedule(predict_upload, args=(job,), timeout=self.spec.timeout_s)
        except RuntimeError as error:
            # pebble raises this if its processes have died or cannot be started.
            raise BrokenExecutor(str(error)) from error
        future = asyncio.wrap_future(inner)
        while not future.done():
            await asyncio.wait({future}, timeout=_POLL_S)
            if future.done():
                break
            if self._pool is None:
                return _STOPPING
            if not _is_active(pool):
                # It may never finish some of its work.
                raise BrokenExecutor("the pool has ended")
            if not inner.running() and await gone():
                future.cancel()
        return self._outcome(future)

    def _outcome(
        self, future: asyncio.Future[Mapping[str, Any] | Refusal]
    ) -> Mapping[str, Any] | Refusal:
        from pebble import ProcessExpired

        if future.cancelled():
            return _STOPPING
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, TimeoutError):
            return Refusal(
                status=504,
                what="processing of the scan timed out",
                found=f"more than {self.spec.timeout_s} s",
                remedy="Inspect the scan; if it is valid, the administrator can start the service "
                "with a larger --timeout-s",
            )
        if isinstance(error, BrokenExecutor):
            raise error
        if isinstance(error, ProcessExpired):
            return _DIED
        return Refusal(
            status=500,
            what="unexpected error while processing the scan",
            found=type(error).__name__,
        )


def _is_active(pool: ProcessPool) -> bool:
    try:
        return bool(pool.active)
    except BrokenExecutor:
        # The property starts the pool, which has failed.
        return False


def _has_failed(future: Future[str]) -> bool:
    return future.cancelled() or future.exception() is not None


async def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    await asyncio.to_thread(pool.join)
