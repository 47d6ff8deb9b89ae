"""Faults of the machine rather than of a scan: a full disk, too little memory."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mri_transfer.core.files import TEMPORARY_PREFIX
from mri_transfer.errors import MachineError

__all__ = [
    "UNREACHABLE",
    "demand_writable",
    "machine_fault",
    "machine_faults",
    "raise_machine_fault",
]

_AGAIN = "Then run the same command again: finished work is kept"
_ROOM = f"Free disk space, or choose folders on another disk (--cache, --out). {_AGAIN}"
_LIMIT = f"Raise the limit (see ulimit -a). {_AGAIN}"
_MEMORY = (
    "Use fewer --jobs, close other programs, raise the memory limit (see ulimit -v), or use a "
    f"machine with more memory. {_AGAIN}"
)
#: Errors that concern the system, not the file in question.
_FAULTS = {
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EDQUOT: ("the disk quota is exceeded", _ROOM),
    errno.EROFS: (
        "the disk is read-only",
        f"Choose writable folders (--cache, --out). {_AGAIN}",
    ),
    errno.EFBIG: ("the system does not allow files of this size", _LIMIT),
    errno.EMFILE: ("too many files are open", _LIMIT),
    errno.ENFILE: ("too many files are open", _LIMIT),
    errno.ENOMEM: ("not enough memory", _MEMORY),
    errno.EAGAIN: ("the system allows no more processes", _LIMIT),
}
#: Errors of a disk or network share that does not respond.
UNREACHABLE = frozenset(
    getattr(errno, name)
    for name in (
        "EIO",
        "EBUSY",
        "ENXIO",
        "ENODEV",
        "ESTALE",
        "EREMOTEIO",
        "ENOTCONN",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)
#: Messages of libraries that fail to allocate memory without raising MemoryError.
_NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "failed to map segment",
    "can't start new thread",
    "std::bad_alloc",
)
#: Enough to detect a full disk.
_TRIED_BYTES = 1 << 20
#: Length at which a library's message is truncated, in characters.
_SHOWN = 200


def machine_fault(error: BaseException) -> MachineError | None:
    """Return the machine fault behind an exception, or None if it is not the machine's.

    Parameters
    ----------
    error : BaseException
        Its causes are examined too. An OSError is judged by its number: a missing or unreadable
        file is a fault of the file.
    """
    if isinstance(error, MachineError):
        return error
    if isinstance(error, OSError) and error.errno in _FAULTS:
        what, remedy = _FAULTS[error.errno]
        return MachineError(what, where=_file_name(error), found=error.strerror, remedy=remedy)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError)
        and any(words in text.casefold() for words in _NO_MEMORY)
    ):
        return MachineError("not enough memory", found=text[:_SHOWN] or None, remedy=_MEMORY)
    if isinstance(error, ImportError):
        return MachineError(
            "a package cannot be loaded",
            found=text[:_SHOWN],
            remedy=f"Reinstall mri-transfer with its dependencies. {_AGAIN}",
        )
    # A scan's fault may have been raised from a library's failure.
    return None if error.__cause__ is None else machine_fault(error.__cause__)


def raise_machine_fault(error: BaseException) -> None:
    """Raise the machine fault behind an exception, if there is one.

    Parameters
    ----------
    error : BaseException
        An exception that would otherwise be reported as a scan's fault.

    Raises
    ------
    MachineError
    """
    fault = machine_fault(error)
    if fault is not None:
        raise fault from error


def _file_name(error: OSError) -> str | None:
    names = (error.filename2, error.filename)
    return next((os.fsdecode(name) for name in names if isinstance(name, str | bytes)), None)


@contextlib.contextmanager
def machine_faults() -> Iterator[None]:
    """Raise MachineError for any system error inside the block.

    For work on the program's own folders, where no error is the fault of an input file.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        fault = machine_fault(error)
        if fault is None and isinstance(error, OSError):
            fault = MachineError(
                "a system call failed",
                where=_file_name(error),
                found=error.strerror or f"{type(error).__name__}: {error}",
                remedy=f"Check that its folder exists and is writable. {_AGAIN}",
            )
        if fault is None:
            raise
        raise fault from error


def demand_writable(folder: Path, *, option: str) -> None:
    """Check that a folder is writable, creating it if it is missing.

    Parameters
    ----------
    folder : Path
    option : str
        The command line option that sets it.

    Raises
    ------
    MachineError
        If it is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Where the system supports it, the file has no name: nothing remains even after a kill.
        with tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX) as stream:
            stream.write(bytes(_TRIED_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        fault = machine_fault(error)
        raise MachineError(
            f"the folder of {option} is not writable" if fault is None else fault.what,
            where=str(folder),
            found=error.strerror or str(error),
            remedy=f"Free disk space, change its permissions, or choose another folder with "
            f"{option}. {_AGAIN}",
        ) from error
