"""RemoteExecutor: processes scans in chunks on other machines, whatever becomes of these."""

from __future__ import annotations

import abc
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

_REASON = "its worker ended twice while it was processed, probably for lack of memory"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteExecutor(abc.ABC):
    """Processes scans in chunks; subclasses know where.

    A chunk that ends with its worker is divided into its scans, each of which is tried once more:
    what the chunk had finished is found in the cache.

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
    ) -> Iterator[Outcome]:
        """Yield the outcome of each job; see `Executor.map`."""
        if not jobs:
            return
        with laid_probe(self.cache) as probe:
            found: dict[int, Outcome] = {}
            following = 0
            for position, outcome in self._outcomes(batch, jobs, probe, lost, reads):
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
    ) -> Iterator[tuple[int, Outcome]]:
        """Yield outcomes with the positions of their jobs, in any order."""
        left, reasons = list(range(len(jobs))), dict[int, str]()
        for alone in (False, True):
            groups = _groups(left, 1 if alone else self.chunk_size(len(jobs)))
            chunks = [
                self._chunk(batch, [jobs[position] for position in group], probe, reads)
                for group in groups
            ]
            left = []
            for index, done in self.run(chunks, alone=alone):
                if isinstance(done, str):
                    left += groups[index]
                    reasons |= dict.fromkeys(groups[index], done)
                    continue
                if done.fault is not None:
                    raise done.fault
                yield from zip(groups[index], done.outcomes, strict=True)
            left.sort()
            if not left:
                return
            if not alone:
                self.note(f"{len(left)} scans ended with their workers, and are tried once more")
        for position in left:
            reason = f"{_REASON} ({reasons[position]}). {self.memory_remedy}."
            if lost is None:
                raise MachineError(f"{jobs[position]}: {reason}")
            yield position, lost(jobs[position], reason)

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


def _groups(positions: Sequence[int], size: int) -> list[Sequence[int]]:
    return [positions[at : at + size] for at in range(0, len(positions), size)]
