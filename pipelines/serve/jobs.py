"""ScanQueue: places for a bounded number of requests, and one process that works on their scans."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mri_transfer.errors import StoreError
from pipelines.predict import BundlePlace
from pipelines.serve.faults import Refusal
from pipelines.serve.limits import ServiceSpec
from pipelines.serve.worker import ScanJob, predict_upload, warm_up

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["ScanQueue"]

#: The process is replaced after this many tasks, two a scan, so that nothing piles up in it.
_TASKS_A_PROCESS = 200
_PRELOADED = ["pipelines.serve.worker", "mri_transfer.preparation.preload"]
#: Opening a bundle may have to convert the trunk's weights.
_OPENING_S = 600
#: How often somebody who waits is asked whether they are still there.
_LOOK_S = 0.5
#: When somebody who found no place is asked to come again.
_RETRY_S = 5
_LATER = {"Retry-After": str(_RETRY_S)}
_STOPPING = Refusal(status=503, what="the service is stopping", headers=_LATER)

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

    @property
    def stopping(self) -> Refusal:
        """What is said when there is no worker."""
        return _STOPPING

    @property
    def taken(self) -> int:
        """Requests in the house."""
        return self._taken

    @property
    def is_working(self) -> bool:
        """Whether there is a worker."""
        return self._pool is not None and self._pool.active

    async def open(self) -> None:
        """Start the worker and have it open the bundle.

        Raises
        ------
        StoreError
            If it cannot.
        """
        from pebble import ProcessPool

        # A server process that has imported everything forks the workers: quick, and without the
        # threads of this process, which a plain fork would copy in an unknown state.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._pool = ProcessPool(max_workers=1, max_tasks=_TASKS_A_PROCESS, context=context)
        future = self._pool.schedule(
            warm_up, args=(self.bundle_place, self.digest), timeout=_OPENING_S
        )
        fault = await asyncio.wrap_future(future)
        if fault:
            raise StoreError("the worker cannot open the bundle", found=fault)

    async def close(self) -> None:
        """Stop the worker, whatever it does."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            await asyncio.to_thread(pool.join)

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
        if self._pool is None or not self._pool.active:
            return _STOPPING
        # A worker that was just replaced opens the bundle first, and on nobody's time; one that
        # has it open answers at once.
        self._pool.schedule(warm_up, args=(self.bundle_place, self.digest), timeout=_OPENING_S)
        inner = self._pool.schedule(predict_upload, args=(job,), timeout=self.spec.timeout_s)
        future = asyncio.wrap_future(inner)
        while not future.done():
            await asyncio.wait({future}, timeout=_LOOK_S)
            if not future.done() and not inner.running() and await gone():
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
        if isinstance(error, ProcessExpired):
            return Refusal(
                status=500,
                what="the process that worked on the scan died, most likely for want of memory",
                remedy="Look at the scan; whoever runs the service can give it more memory",
            )
        return Refusal(
            status=500,
            what="the work on the scan failed in a way nobody foresaw",
            found=type(error).__name__,
        )
