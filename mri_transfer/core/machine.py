"""The machine's own faults: a full disk, too little memory. They are no scan's fault."""

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

_AGAIN = "Then run the same command again: what is done is kept"
_ROOM = f"Make room, or name folders on another disk (--cache, --out). {_AGAIN}"
_LIMIT = f"Raise the limit (see ulimit -a). {_AGAIN}"
_MEMORY = (
    "Use fewer --jobs, close other programs, raise the limit if one is set (see ulimit -v), or use "
    f"a machine with more memory. {_AGAIN}"
)
#: What the system says of itself, whichever file it was asked for.
_FAULTS = {
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EDQUOT: ("the disk quota is used up", _ROOM),
    errno.EROFS: (
        "the disk is read-only",
        f"Name folders that can be written to (--cache, --out). {_AGAIN}",
    ),
    errno.EFBIG: ("the system does not allow files of this size", _LIMIT),
    errno.EMFILE: ("too many files are open", _LIMIT),
    errno.ENFILE: ("too many files are open", _LIMIT),
    errno.ENOMEM: ("there is not enough memory", _MEMORY),
    errno.EAGAIN: ("the system allows no further process", _LIMIT),
}
#: What a disk or a network share says that does not answer.
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
#: How libraries say that they got no memory, where they do not raise MemoryError.
_NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "failed to map segment",
    "can't start new thread",
    "std::bad_alloc",
)
#: Enough that a full disk shows.
_TRIED_BYTES = 1 << 20
#: Letters of what a library says.
_SHOWN = 200


def machine_fault(error: BaseException) -> MachineError | None:
    """Return what an exception says of the machine, or None if it does not speak of it.

    Parameters
    ----------
    error : BaseException
        Or what caused it. An OSError speaks of the machine by its number alone: that a file is
        missing or may not be read says something of the file.
    """
    if isinstance(error, MachineError):
        return error
    if isinstance(error, OSError) and error.errno in _FAULTS:
        what, remedy = _FAULTS[error.errno]
        return MachineError(what, where=_place(error), found=error.strerror, remedy=remedy)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError)
        and any(words in text.casefold() for words in _NO_MEMORY)
    ):
        return MachineError(
            "there is not enough memory", found=text[:_SHOWN] or None, remedy=_MEMORY
        )
    if isinstance(error, ImportError):
        return MachineError(
            "a package cannot be loaded",
            found=text[:_SHOWN],
            remedy=f"Install mri-transfer again with all it needs. {_AGAIN}",
        )
    # A library's failure may have been taken for that of the scan it worked on.
    return None if error.__cause__ is None else machine_fault(error.__cause__)


def raise_machine_fault(error: BaseException) -> None:
    """Raise what an exception says of the machine, and return if it does not speak of it.

    Parameters
    ----------
    error : BaseException
        About to be taken for the fault of a scan.

    Raises
    ------
    MachineError
    """
    fault = machine_fault(error)
    if fault is not None:
        raise fault from error


def _place(error: OSError) -> str | None:
    names = (error.filename2, error.filename)
    return next((os.fsdecode(name) for name in names if isinstance(name, str | bytes)), None)


@contextlib.contextmanager
def machine_faults() -> Iterator[None]:
    """Raise MachineError for whatever the system refuses within the block.

    For work on the program's own folders, where no refusal is the fault of anybody's file.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        fault = machine_fault(error)
        if fault is None and isinstance(error, OSError):
            fault = MachineError(
                "the system refuses the work",
                where=_place(error),
                found=error.strerror or f"{type(error).__name__}: {error}",
                remedy=f"See that its folder exists and may be written to. {_AGAIN}",
            )
        if fault is None:
            raise
        raise fault from error


def demand_writable(folder: Path, *, option: str) -> None:
    """Try whether files can be written to a folder, which is made if it is missing.

    Parameters
    ----------
    folder : Path
    option : str
        What names it on the command line.

    Raises
    ------
    MachineError
        If they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Where the system can, the file has no name: nothing is left of it even after a kill.
        with tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX) as stream:
            stream.write(bytes(_TRIED_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        fault = machine_fault(error)
        raise MachineError(
            f"nothing can be written to the folder of {option}" if fault is None else fault.what,
            where=str(folder),
            found=error.strerror or str(error),
            remedy=f"Make room or give yourself permission there, or name another folder with "
            f"{option}. {_AGAIN}",
        ) from error
