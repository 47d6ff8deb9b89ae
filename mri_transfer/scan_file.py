"""The file of a scan: what it is by its first bytes, and how its failures are told."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast

from mri_transfer.errors import ScanError, UnreadableScanError, UnsupportedScanError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

__all__ = ["DAMAGED", "file_size", "is_named_gzip", "open_scan", "read_header", "scan_faults"]

#: What to do about a damaged file.
DAMAGED = "Copy or convert the file again from its source"

_NOT_NIFTI = "Convert the scan to NIfTI, for example from DICOM with dcm2niix"
_SIGNATURES = {348: b"n+1", 540: b"n+2"}
_GZIP_MAGIC = b"\x1f\x8b"

_ByteOrder: TypeAlias = Literal["little", "big"]
_ORDERS: tuple[_ByteOrder, ...] = ("little", "big")


@contextlib.contextmanager
def scan_faults(where: str) -> Iterator[None]:
    """Turn whatever goes wrong with a scan's file into a ScanError.

    A damaged file can make the readers raise nearly anything (zlib.error, EOFError, struct.error,
    OverflowError, ...), and one bad scan must never stop a batch. A package that cannot be
    imported is no fault of the scan, and passes through.
    """
    try:
        yield
    except (ScanError, ImportError):
        raise
    except PermissionError as error:
        raise UnreadableScanError(
            "the file may not be read",
            where=where,
            found=str(error),
            remedy="Give yourself permission to read the file",
        ) from error
    except MemoryError as error:
        raise UnsupportedScanError(
            "the volume does not fit into memory",
            where=where,
            remedy="Resample the scan, or use a machine with more memory",
        ) from error
    except Exception as error:
        raise UnreadableScanError(
            "the file is damaged or not NIfTI",
            where=where,
            found=f"{type(error).__name__}: {error}",
            remedy=DAMAGED,
        ) from error


def is_named_gzip(path: Path) -> bool:
    """Return whether a file claims to be compressed."""
    return path.name.casefold().endswith(".gz")


def open_scan(path: Path) -> BinaryIO:
    """Open a scan's bytes, unpacked."""
    opener = gzip.open if is_named_gzip(path) else open
    return cast(BinaryIO, opener(path, "rb"))


def file_size(path: Path, *, where: str) -> int:
    """Return the size in bytes of a regular, non-empty file that is named like NIfTI.

    Raises
    ------
    UnreadableScanError, UnsupportedScanError
        If it is not one.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise UnreadableScanError(
            "the file is missing", where=where, remedy="Correct the path in the manifest"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        # Opening a pipe or a device could block for ever.
        raise UnreadableScanError(
            "not a regular file", where=where, remedy="Name the NIfTI file itself"
        )
    if status.st_size == 0:
        raise UnreadableScanError("the file is empty", where=where, remedy=DAMAGED)
    if not path.name.casefold().endswith((".nii", ".nii.gz")):
        raise UnsupportedScanError(
            "the file is not named like NIfTI",
            where=where,
            found=path.name,
            expected=".nii or .nii.gz",
            remedy=_NOT_NIFTI,
        )
    return status.st_size


def read_header(path: Path, *, where: str) -> Nifti1Header:
    """Return the NIfTI-1 or NIfTI-2 header, built from the file's first bytes alone.

    Extensions of the header are not read: their declared size is not to be trusted either.

    Raises
    ------
    UnreadableScanError
        If the file does not begin with such a header.
    """
    import nibabel as nib

    start = _first_bytes(path, where=where)
    for order in _ORDERS:
        size = int.from_bytes(start[:4], order)
        if size in _SIGNATURES and len(start) >= size:
            signature = start[344:347] if size == 348 else start[4:7]
            if signature != _SIGNATURES[size]:
                raise _wrong_signature(signature, where)
            kind: Any = nib.Nifti1Header if size == 348 else nib.Nifti2Header
            endianness = "<" if order == "little" else ">"
            header = kind(start[:size], endianness=endianness, check=False)
            return cast("Nifti1Header", header)
    is_dicom = start[128:132] == b"DICM"
    raise UnreadableScanError(
        "a DICOM file with the name of a NIfTI file" if is_dicom else "not a NIfTI file",
        where=where,
        remedy=_NOT_NIFTI,
    )


def _first_bytes(path: Path, *, where: str) -> bytes:
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == _GZIP_MAGIC
    if is_gzip != is_named_gzip(path):
        raise UnreadableScanError(
            "the file is compressed, but its name does not end in .gz"
            if is_gzip
            else "the name ends in .gz, but the file is not compressed",
            where=where,
            remedy="Rename the file",
        )
    with open_scan(path) as stream:
        return stream.read(max(_SIGNATURES))


def _wrong_signature(signature: bytes, where: str) -> UnreadableScanError:
    if signature in (b"ni1", b"ni2"):
        what = "the header of a NIfTI pair (.hdr and .img)"
    elif signature == b"\0\0\0":
        what = "an Analyze file, which does not say where left and right are"
    else:
        what = "the header lacks the NIfTI signature"
    return UnreadableScanError(
        what,
        where=where,
        found=repr(signature),
        expected="'n+1' or 'n+2'",
        remedy=_NOT_NIFTI,
    )
