"""RemoteExecutor: does jobs in chunks on other machines, whatever becomes of these."""

from __future__ import annotations

import abc
import collections
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from mri_transfer.errors import MachineError
from pipelines.engines.chunk import Chunk, Done, Probe, laid_probe
from pipelines.engines.executor import Batch

__all__ = ["RemoteExecutor"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Lost = str

#: A scan, or a fit, that ended so often with a worker of its own is given up.
_ENDS = 2
#: Characters of a job that an error shows.
_SHOWN = 200
_REASON = "its worker ended twice while it was processed, probably for lack of memory"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteExecutor(abc.ABC):
    """Processes scans in chunks; subclasses know where.

    A chunk that ends with its worker is divided into its scans, each of which is tried again: what
    the chunk had finished is found in the cache.

    Attributes
    ----------
    cache : Path
    note : callable
        Shows a line.
    """

    cache: Path
    note: Callable[[str], None]
    remote: ClassVar[bool] = True
    memory_remedy: ClassVar[str] = ""

    def map(
        self,
        batch: Batch[Job, Outcome],
        jobs: Sequence[Job],
        *,
        lost: Callable[[Job, str], Outcome] | None = None,
        reads: Callable[[Job], str] | None = None,
        long: bool = False,
    ) -> Iterator[Outcome]:
        """Yield the outcome of each job; see `Executor.map`."""
        if not jobs:
            return
        with laid_probe(self.cache) as probe:
            found: dict[int, Outcome] = {}
            following = 0
            for position, outcome in self._outcomes(
                batch, jobs, probe, lost, reads, size=1 if long else self.chunk_size(len(jobs))
            ):
                found[position] = outcome
                while following in found:
                    yield found.pop(following)
                    following += 1

    def _outcomes(
        self,
        batch: Batch[Job, Outcome],
        jobs: Sequence[Job],
        probe: Probe,
        lost: Callable[[Job, str], Outcome] | None,
        reads: Callable[[Job], str] | None,
        *,
        size: int,
    ) -> Iterator[tuple[int, Outcome]]:
        """Yield outcomes with the positions of their jobs, in any order."""
        left = list(range(len(jobs)))
        ends = collections.Counter[int]()
        while left:
            groups = _groups(left, size)
            chunks = [
                self._chunk(batch, [jobs[position] for position in group], probe, reads)
                for group in groups
            ]
            left = []
            for index, done in self.run(chunks, alone=bool(ends)):
                group = groups[index]
                if isinstance(done, Done):
                    yield from _outcomes(group, done)
                    continue
                # Of several scans nobody knows which one it was.
                ends.update({position: int(len(group) == 1) for position in group})
                again = [position for position in group if ends[position] < _ENDS]
                left += again
                for position in set(group).difference(again):
                    yield position, self._given_up(jobs[position], done, lost)
            left.sort()
            size = 1
            if left:
                self.note(f"{len(left)} tasks ended with their workers, and are tried once more")

    def _given_up(
        self, job: Job, reason: str, lost: Callable[[Job, str], Outcome] | None
    ) -> Outcome:
        what = f"{_REASON} ({reason}). {self.memory_remedy}."
        if lost is None:
            raise MachineError(f"{str(job)[:_SHOWN]}: {what}")
        return lost(job, what)

    def _chunk(
        self,
        batch: Batch[Job, Outcome],
        jobs: Sequence[Job],
        probe: Probe,
        reads: Callable[[Job], str] | None,
    ) -> Chunk[Job, Outcome]:
        files = () if reads is None else tuple(filter(os.path.exists, map(reads, jobs)))
        return Chunk(batch=batch, jobs=tuple(jobs), cores=self.cores, probe=probe, files=files)

    @property
    @abc.abstractmethod
    def cores(self) -> int:
        """Cores that a chunk may use."""

    @abc.abstractmethod
    def chunk_size(self, n_jobs: int) -> int:
        """Return the number of scans per chunk."""

    @abc.abstractmethod
    def run(
        self, chunks: Sequence[Chunk[Any, Any]], *, alone: bool
    ) -> Iterator[tuple[int, Done[Any] | Lost]]:
        """Run chunks; yield the index of each with what came back, in any order.

        Parameters
        ----------
        chunks : sequence of Chunk
        alone : bool
            Whether a chunk must not share its worker, so that its end is its own fault.

        Yields
        ------
        index : int
        done : Done or str
            A text if the chunk ended with its worker.
        """


def _outcomes(group: Sequence[int], done: Done[Outcome]) -> Iterator[tuple[int, Outcome]]:
    if done.fault is not None:
        raise done.fault
    yield from zip(group, done.outcomes, strict=True)


def _groups(positions: Sequence[int], size: int) -> list[Sequence[int]]:
    return [positions[at : at + size] for at in range(0, len(positions), size)]
