"""Scan files: recognise them by their first bytes, and report their faults."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast

from mri_transfer.core.machine import UNREACHABLE, machine_fault
from mri_transfer.errors import (
    MriTransferError,
    UnreachableScanError,
    UnreadableScanError,
    UnsupportedScanError,
)

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

__all__ = [
    "DAMAGED",
    "file_size",
    "is_named_gzip",
    "open_scan",
    "read_header",
    "scan_faults",
    "scan_name",
    "scan_place",
]

#: The remedy for a damaged file.
DAMAGED = "Copy or convert the file again from its source"

_NOT_NIFTI = "Convert the scan to NIfTI, for example from DICOM with dcm2niix"
_ONE_FILE = "Save header and voxels as one .nii file"
_UNPACK = "Unpack it and use the scan inside"
_REPACK = "Unpack it, and compress the scan with gzip or not at all"
_FETCH = "Fetch the scan itself (datalad get, git annex get, git lfs pull)"
_DOWNLOAD = "Download the scan again: this is usually a login page or an error message"
_SIGNATURES = {348: b"n+1", 540: b"n+2"}
_GZIP_MAGIC = b"\x1f\x8b"
#: Other formats found under the names of scans: offset, signature, description and remedy.
_OTHER_KINDS = (
    (128, b"DICM", "a DICOM file", _NOT_NIFTI),
    (0, _GZIP_MAGIC, "compressed twice", "Unpack it once"),
    (0, b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _REPACK),
    (0, b"\xfd7zXZ", "compressed with xz", _REPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _REPACK),
    (0, b"NRRD0", "an NRRD file", _NOT_NIFTI),
    (0, b"\x89HDF\r\n", "an HDF5 file, such as MINC 2 or MATLAB", _NOT_NIFTI),
    (0, b"CDF", "a netCDF file, such as MINC 1", _NOT_NIFTI),
    (0, b"\0\0\0\1", "a FreeSurfer volume (MGH)", "Convert it with mri_convert"),
    (0, b"\x89PNG", "a PNG picture", _NOT_NIFTI),
    (0, b"\xff\xd8\xff", "a JPEG picture", _NOT_NIFTI),
    (0, b"/annex/objects/", "a git-annex pointer", _FETCH),
    (0, b"version https://git-lfs", "a Git LFS pointer", _FETCH),
    (0, b"<", "an HTML or XML page", _DOWNLOAD),
)

_ByteOrder: TypeAlias = Literal["little", "big"]
_ORDERS: tuple[_ByteOrder, ...] = ("little", "big")


def scan_place(scan_id: str, path: Path) -> str:
    """Return a scan's name in messages, on one line whatever its path contains."""
    text = str(path)
    return f"scan {scan_id} ({text if text.isprintable() else repr(text)})"


@contextlib.contextmanager
def scan_faults(where: str) -> Iterator[None]:
    """Convert any exception from reading a scan's file to a ScanError.

    A damaged file can make the readers raise almost anything (zlib.error, EOFError, struct.error,
    OverflowError, ...), and one bad scan must never stop a batch. Faults of the machine (memory,
    disk space, a missing package) are raised as MachineError.
    """
    try:
        yield
    except MriTransferError:
        raise
    except Exception as error:
        fault = machine_fault(error)
        raise (_scan_fault(error, where) if fault is None else fault) from error


def _scan_fault(error: Exception, where: str) -> UnreadableScanError:
    if isinstance(error, PermissionError):
        return UnreadableScanError(
            "no permission to read the file",
            where=where,
            found=error.strerror,
            remedy="Change the permissions of the file and its folders",
        )
    if isinstance(error, OSError) and error.strerror is not None:
        kind = UnreachableScanError if error.errno in UNREACHABLE else UnreadableScanError
        return kind(
            "the file cannot be read",
            where=where,
            found=error.strerror,
            remedy="Check its disk or network share, and the links in its path",
        )
    return UnreadableScanError(
        "the file is damaged or not NIfTI",
        where=where,
        found=" ".join(f"{type(error).__name__}: {error}".split()),
        remedy=DAMAGED,
    )


def is_named_gzip(path: Path) -> bool:
    """Return whether a file is compressed, by its name."""
    return path.name.casefold().endswith(".gz")


def open_scan(path: Path) -> BinaryIO:
    """Open a scan's file, decompressing it if needed."""
    opener = gzip.open if is_named_gzip(path) else open
    return cast(BinaryIO, opener(path, "rb"))


def file_size(path: Path, *, where: str) -> int:
    """Return the size in bytes of a regular, non-empty file with a NIfTI name.

    Raises
    ------
    UnreadableScanError, UnsupportedScanError
        If the file is anything else.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise UnreadableScanError(
            "the file is missing",
            where=where,
            remedy="Correct its path (in the manifest, if there is one)",
        ) from None
    if not stat.S_ISREG(status.st_mode):
        # Opening a pipe or a device could block forever.
        raise UnreadableScanError(
            "not a regular file", where=where, remedy="Give the NIfTI file itself"
        )
    if status.st_size == 0:
        raise UnreadableScanError("the file is empty", where=where, remedy=DAMAGED)
    if not path.name.casefold().endswith((".nii", ".nii.gz")):
        is_pair = path.name.casefold().endswith((".hdr", ".img", ".hdr.gz", ".img.gz"))
        raise UnsupportedScanError(
            "the file does not have a NIfTI name",
            where=where,
            found=f"one half of a pair, {path.suffix}" if is_pair else f"suffix {path.suffix}",
            expected=".nii or .nii.gz",
            remedy=_ONE_FILE if is_pair else _NOT_NIFTI,
        )
    return status.st_size


def read_header(path: Path, *, where: str) -> Nifti1Header:
    """Return the NIfTI-1 or NIfTI-2 header, from the file's first bytes only.

    Header extensions are not read, as their declared size cannot be trusted.

    Raises
    ------
    UnreadableScanError
        If the file does not begin with such a header, or its compression does not match its name.
    """
    import nibabel as nib

    start, is_gzip = _first_bytes(path)
    for order in _ORDERS:
        size = int.from_bytes(start[:4], order)
        if size in _SIGNATURES and len(start) >= size:
            signature = start[344:347] if size == 348 else start[4:7]
            if signature != _SIGNATURES[size]:
                raise _wrong_signature(signature, where)
            if is_gzip != is_named_gzip(path):
                raise _wrong_name(where, is_gzip=is_gzip)
            kind: Any = nib.Nifti1Header if size == 348 else nib.Nifti2Header
            endianness = "<" if order == "little" else ">"
            header = kind(start[:size], endianness=endianness, check=False)
            return cast("Nifti1Header", header)
    raise _not_nifti(start, where)


def _first_bytes(path: Path) -> tuple[bytes, bool]:
    """Return the first bytes, decompressed, and whether the file is compressed."""
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == _GZIP_MAGIC
    opener: Any = gzip.open if is_gzip else open
    with opener(path, "rb") as stream:
        return stream.read(max(_SIGNATURES)), is_gzip


def _not_nifti(start: bytes, where: str) -> UnreadableScanError:
    found, remedy = f"a file that begins with {start[:8]!r}", _NOT_NIFTI
    for offset, mark, kind, kind_remedy in _OTHER_KINDS:
        if start[offset:].startswith(mark):
            found, remedy = kind, kind_remedy
            break
    return UnreadableScanError("not a NIfTI file", where=where, found=found, remedy=remedy)


def _wrong_name(where: str, *, is_gzip: bool) -> UnreadableScanError:
    return UnreadableScanError(
        "the file is compressed, but its name does not end in .gz"
        if is_gzip
        else "the name ends in .gz, but the file is not compressed",
        where=where,
        remedy="Rename the file",
    )


def _wrong_signature(signature: bytes, where: str) -> UnreadableScanError:
    what, remedy = "the header lacks the NIfTI signature", DAMAGED
    if signature in (b"ni1", b"ni2"):
        what, remedy = "the header of a NIfTI pair (.hdr and .img)", _ONE_FILE
    elif signature == bytes(3):
        what = "an Analyze file, which does not define left and right"
        remedy = _NOT_NIFTI
    return UnreadableScanError(
        what, where=where, found=repr(signature), expected="'n+1' or 'n+2'", remedy=remedy
    )


def scan_name(path: str | Path) -> str:
    """Return the default id of a scan: its file's name without ``.nii`` or ``.nii.gz``."""
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")
