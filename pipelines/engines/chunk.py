"""Chunk: some scans to process on another machine, and what to make sure of there."""

from __future__ import annotations

import dataclasses
import multiprocessing
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from mri_transfer.core.files import atomic_write_text
from mri_transfer.core.machine import machine_faults
from mri_transfer.core.threads import at_most_threads
from mri_transfer.errors import MachineError, MriTransferError
from mri_transfer.version import __version__
from pipelines.engines.executor import Batch

__all__ = ["Chunk", "Done", "Probe", "laid_probe"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

#: Network file systems show new files late.
_PATIENCE_S = 30.0
_LOOK_S = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """A file that the driver laid into the cache, for other machines to find.

    Attributes
    ----------
    path : Path
    nonce : str
        Its content, which no other file has.
    version : str
        Version of the package that the driver runs.
    patience_s : float
        How long to wait for the file, in seconds.
    """

    path: Path
    nonce: str
    version: str
    patience_s: float = _PATIENCE_S


@contextmanager
def laid_probe(cache: Path) -> Iterator[Probe]:
    """Lay a probe into the cache for the duration of the block."""
    nonce = secrets.token_hex(16)
    probe = Probe(
        path=cache.absolute() / "jobs" / f"probe-{nonce}", nonce=nonce, version=__version__
    )
    atomic_write_text(probe.path, nonce)
    try:
        yield probe
    finally:
        probe.path.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done(Generic[Outcome]):
    """What comes back of a chunk: outcomes in the order of its jobs, or an error for all jobs."""

    outcomes: tuple[Outcome, ...] = ()
    fault: MriTransferError | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk(Generic[Job, Outcome]):
    """Some scans to process.

    Attributes
    ----------
    batch : callable
        See `pipelines.engines.executor.Batch`.
    jobs : tuple
    cores : int
        Cores to use.
    probe : Probe
    files : tuple of str
        Files outside the cache that the driver sees and the jobs read.
    """

    batch: Batch[Job, Outcome]
    jobs: tuple[Job, ...]
    cores: int
    probe: Probe
    files: tuple[str, ...]

    def run(self) -> Done[Outcome]:
        """Process the scans; errors of the package are returned, with the machine's name."""
        try:
            with machine_faults(), at_most_threads(self.cores):
                self._demand_same_surroundings()
                return Done(outcomes=tuple(self.batch(self.jobs, self.cores)))
        except MriTransferError as error:
            error.where = f"{error.where or ''} on {socket.gethostname()}".strip()
            return Done(fault=error)

    def _demand_same_surroundings(self) -> None:
        """Refuse a machine on which the results would be lost or different."""
        if self.probe.version != __version__:
            raise MachineError(
                "another version of mri-transfer",
                found=__version__,
                expected=self.probe.version,
                remedy="Install the same version on all machines",
            )
        if multiprocessing.current_process().daemon:
            raise MachineError(
                "this worker may not start processes of its own, which scans are prepared in",
                remedy="Set DASK_DISTRIBUTED__WORKER__DAEMON=False where the workers are started",
            )
        deadline = time.monotonic() + self.probe.patience_s
        _demand(self._sees_cache, deadline, f"does not see the cache {self.probe.path.parents[1]}")
        for file in self.files:
            _demand(Path(file).exists, deadline, f"does not see the scan {file}")

    def _sees_cache(self) -> bool:
        try:
            return self.probe.path.read_text(encoding="utf-8") == self.probe.nonce
        except OSError:
            return False


def _demand(seen: Callable[[], bool], deadline: float, what: str) -> None:
    while not seen():
        if time.monotonic() > deadline:
            raise MachineError(
                f"this machine {what}, which the machine that started the run sees",
                remedy="Put cache and scans on a file system that all machines mount at the same "
                "path, or leave out this machine",
            )
        time.sleep(_LOOK_S)
