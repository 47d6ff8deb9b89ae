"""ScanQueue: places for a bounded number of requests, and one process that works on their scans."""

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

#: The process is replaced after this many tasks, two a scan, so that nothing piles up in it.
_TASKS_A_PROCESS = 200
#: Opening a bundle may have to convert the trunk's weights.
_OPENING_S = 600
#: How often somebody who waits is asked whether they are still there.
_LOOK_S = 0.5
#: When somebody who found no place is asked to come again.
_RETRY_S = 5
_LATER = {"Retry-After": str(_RETRY_S)}
_STOPPING = Refusal(status=503, what="the service is stopping", headers=_LATER)
_LOST = Refusal(
    status=503,
    what="the process that works on scans was lost, and is started again",
    remedy=f"Send the scan again in {_RETRY_S} s; if this goes on, whoever runs the service should "
    "look at the machine's memory",
    headers=_LATER,
)
_DIED = Refusal(
    status=500,
    what="the process that worked on the scan died twice, most likely for want of memory",
    remedy="Look at the scan; whoever runs the service can give it more memory",
)
#: A scan is worked on once more if its process was lost.
_TRIES = 2

Gone = Callable[[], Awaitable[bool]]


class ScanQueue:
    """Places and the worker behind them.

    Parameters
    ----------
    place : BundlePlace
    digest : str
        Of the bundle.
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
        """Requests in the house."""
        return self._taken

    def trouble(self) -> Refusal | None:
        """Return why no scan would be taken now, or None; a worker that is lost is replaced."""
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
        """Start the worker and have it open the bundle.

        Parameters
        ----------
        scratch : Path
            Folder of `upload_folder`; the worker removes it if this process is killed.

        Raises
        ------
        StoreError
            If it cannot.
        """
        self._scratch = scratch
        self._pool = self._new_pool()
        fault = await asyncio.wrap_future(self._open_bundle(self._pool))
        if fault:
            raise StoreError("the worker cannot open the bundle", found=fault)

    def _new_pool(self) -> ProcessPool:
        at_end = None if self._scratch is None else partial(remove_abandoned, self._scratch.parent)
        return open_pool(max_workers=1, max_tasks=_TASKS_A_PROCESS, at_end=at_end)

    async def _revived(self) -> ProcessPool | None:
        """Return the pool, a new one if the old one broke; None if the service stops."""
        async with self._reviving:
            broken = self._pool
            if broken is None or _is_active(broken):
                return broken
            # Whoever waits for the old one looks whether it is active, and comes here.
            self._begin(_end(broken))
            pool = self._new_pool()
            # To start processes takes seconds, in which others are answered.
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
        """Have the worker open the bundle; one that has it open answers at once."""
        self._opening = pool.schedule(
            warm_up, args=(self.bundle_place, self.digest), timeout=_OPENING_S
        )
        return self._opening

    async def close(self) -> None:
        """Stop the worker, whatever it does."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await _end(pool)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def place(self) -> Iterator[bool]:
        """Take a place for the length of a request; False if all are taken."""
        if self._taken >= self.spec.places:
            yield False
            return
        self._taken += 1
        try:
            yield True
        finally:
            self._taken -= 1

    def full(self) -> Refusal:
        """Return what somebody is told who found no place."""
        return Refusal(
            status=503,
            what="the service is busy",
            found=f"{self._taken} requests before yours",
            remedy=f"Send the scan again in {_RETRY_S} s",
            headers=_LATER,
        )

    async def predict(self, job: ScanJob, *, gone: Gone) -> Mapping[str, Any] | Refusal:
        """Score an upload when its turn comes.

        Parameters
        ----------
        job : ScanJob
        gone : callable
            Whether the client has gone away; then a scan that still waits is passed over.
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
        """Score an upload in a pool; raise BrokenExecutor if the pool breaks meanwhile."""
        try:
            # A worker that was just replaced opens the bundle first, and on nobody's time.
            self._open_bundle(pool)
            inner = pool.schedule(predict_upload, args=(job,), timeout=self.spec.timeout_s)
        except RuntimeError as error:
            # How pebble says that its processes have died, or cannot be started.
            raise BrokenExecutor(str(error)) from error
        future = asyncio.wrap_future(inner)
        while not future.done():
            await asyncio.wait({future}, timeout=_LOOK_S)
            if future.done():
                break
            if self._pool is None:
                return _STOPPING
            if not _is_active(pool):
                # It forgets some of its work.
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
                what="the work on the scan took too long and was stopped",
                found=f"more than {self.spec.timeout_s} s",
                remedy="Look at the scan; if there is nothing wrong with it, have the service "
                "started with a larger --timeout-s",
            )
        if isinstance(error, BrokenExecutor):
            raise error
        if isinstance(error, ProcessExpired):
            return _DIED
        return Refusal(
            status=500,
            what="the work on the scan failed in a way nobody foresaw",
            found=type(error).__name__,
        )


def _is_active(pool: ProcessPool) -> bool:
    try:
        return bool(pool.active)
    except BrokenExecutor:
        # It is started by being asked, and that has failed.
        return False


def _has_failed(done: Future[str]) -> bool:
    return done.cancelled() or done.exception() is not None


async def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    await asyncio.to_thread(pool.join)
