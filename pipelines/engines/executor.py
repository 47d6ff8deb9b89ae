"""Executor: what a stage asks to process scans or make fits, and how this machine does it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Protocol, TypeAlias, TypeVar

__all__ = ["Batch", "Executor", "LocalExecutor"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

#: Processes scans, or makes fits, with a number of cores (None: as cores and memory allow), and
#: yields an outcome for each in their order. A module-level function, or a partial of one, so that
#: other machines can import it. It leaves results in the cache and finds what is there already: it
#: may be repeated.
Batch: TypeAlias = Callable[[Sequence[Job], int | None], Iterable[Outcome]]


class Executor(Protocol):
    """Processes scans somewhere."""

    @property
    def remote(self) -> bool:
        """Whether other machines may be involved, whose devices are not those of this one."""
        ...

    def map(
        self,
        batch: Batch[Job, Outcome],
        jobs: Sequence[Job],
        *,
        lost: Callable[[Job, str], Outcome] | None = None,
        reads: Callable[[Job], str] | None = None,
        long: bool = False,
    ) -> Iterator[Outcome]:
        """Yield the outcome of each job, in their order.

        Parameters
        ----------
        batch : callable
        jobs : sequence
            Plain data.
        lost : callable, optional
            Returns the outcome of a job that twice ended with its worker, given the reason. By
            default that is an error.
        reads : callable, optional
            Returns the path of a file outside the cache that a job reads.
        long : bool
            Whether a job takes minutes or more: no other is done after it by the same worker.

        Raises
        ------
        MachineError
            If a machine is at fault, or does not see the cache or the scans.
        MriTransferError
            If a batch raises another package error, which concerns all jobs.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalExecutor:
    """Processes scans on this machine.

    Attributes
    ----------
    jobs : int, optional
        Number of scans in parallel; None: as cores and memory allow.
    """

    jobs: int | None = None
    remote: ClassVar[bool] = False

    def map(
        self,
        batch: Batch[Job, Outcome],
        jobs: Sequence[Job],
        *,
        lost: Callable[[Job, str], Outcome] | None = None,
        reads: Callable[[Job], str] | None = None,
        long: bool = False,
    ) -> Iterator[Outcome]:
        """Yield the outcome of each job; see `Executor.map`.

        The batch itself isolates what may kill a process, so that no job is lost.
        """
        del lost, reads, long
        yield from batch(jobs, self.jobs)
