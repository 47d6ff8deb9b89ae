"""Files on disk: written whole or not at all, and compared by content."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import secrets
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "TEMPORARY_PREFIX",
    "atomic_path",
    "atomic_write_bytes",
    "atomic_write_text",
    "content_sha256",
    "gzip_bytes",
    "identical_files",
    "read_json_object",
    "sha256_of_file",
    "write_json",
]

#: A file named so was being written when the program was killed; it may be deleted.
TEMPORARY_PREFIX = ".tmp-"

_CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
#: How much of two files is compared before the next longer piece is; None stands for all of it.
_COMPARED_BYTES = (1 << 16, 1 << 20, 1 << 24, None)
#: More is in no scan that is accepted, but in a small file that was made to fill a disk.
_MAX_UNPACKED_BYTES = 1 << 30


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` once the block has ended well.

    Whoever looks at `path`, at any moment and after any crash, finds the old file, the new file or
    none, never a part. The temporary name ends like the final one, because some writers choose
    their format by the suffix.

    Parameters
    ----------
    path : str or Path
        The final name; missing parent folders are made.

    Yields
    ------
    Path
        Where to write. If the block raises, this file is removed and `path` is left as it was.

    Raises
    ------
    FileNotFoundError
        If the block ends without having written the file.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # A long name must leave room for the prefix: file systems stop at 255 bytes.
    temporary = final.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{final.name[-120:]}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(final)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            # A write that fails, on a full disk for one, does not say which file it was.
            error.filename = str(final)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(final.parent)


def _sync_folder(folder: Path) -> None:
    # Not every file system lets a folder be opened or synced; the rename has happened all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes under a temporary name and rename; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are in `text`; see `atomic_path`."""
    atomic_write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON that is the same bytes for the same value.

    Keys are sorted, the indent is two blanks, the last line ends with a line feed.

    Raises
    ------
    ValueError
        If the value holds NaN or an infinity, which JSON has no words for; `path` is left alone.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write_text(path, text + "\n")


def read_json_object(path: str | Path) -> dict[str, Any] | None:
    """Return the object that a JSON file holds, or None if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        return content if isinstance(content, dict) else None
    return None


def gzip_bytes(data: bytes) -> bytes:
    """Compress bytes with gzip (level 6); the same data give the same bytes.

    The header holds neither a name nor a time.
    """
    packed = io.BytesIO()
    # Not gzip.compress: what it writes into the header differs between versions of Python.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as file:
        file.write(data)
    return packed.getvalue()


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes, read in pieces.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_sha256(path: str | Path) -> str:
    """Return the SHA-256 (hex) of what a file holds; a gzip file is unpacked.

    A gzip file that is damaged, or that holds more than 1 GiB, counts as it lies.

    Raises
    ------
    OSError
        If the file cannot be read, or is not a regular one.
    """
    return _start_of_content_sha256(Path(path), None)


def identical_files(paths: Sequence[str | Path]) -> list[tuple[int, ...]]:
    """Find files of the same content, whatever they are called.

    A gzip file counts as what it holds, so that a compressed copy of a plain file, or a copy
    compressed by another program, in several members or with padding behind it, is found too.
    Contents are compared from their beginnings, and further only among those that are equal so
    far: most files are told apart by their first 64 KiB.

    Parameters
    ----------
    paths : sequence of str or Path
        Regular files; those that cannot be read are left out of the comparison.

    Returns
    -------
    list of tuple of int
        Groups of two or more positions in `paths`, in rising order. A gzip file that is damaged,
        or that holds more than 1 GiB, is compared as it lies.
    """
    groups = [list(range(len(paths)))]
    for n_bytes in _COMPARED_BYTES:
        groups = [part for group in groups for part in _split(group, paths, n_bytes)]
    return sorted(tuple(group) for group in groups)


def _split(group: list[int], paths: Sequence[str | Path], n_bytes: int | None) -> list[list[int]]:
    """Split positions by how their files begin; groups of one and unreadable files are dropped."""
    parts: defaultdict[str, list[int]] = defaultdict(list)
    for member in group:
        with contextlib.suppress(OSError):
            parts[_start_of_content_sha256(Path(paths[member]), n_bytes)].append(member)
    return [part for part in parts.values() if len(part) > 1]


def _start_of_content_sha256(path: Path, n_bytes: int | None) -> str:
    """Return the SHA-256 of the first unpacked bytes of a file; None stands for all of them."""
    if not path.is_file():
        # Opening a pipe or a device could block for ever.
        raise FileNotFoundError(path)
    with path.open("rb") as stream:
        packed = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        stream.seek(0)
        if not packed and n_bytes is not None:
            return _start_sha256(stream, n_bytes)
    if packed:
        # A damaged archive still is a copy of another one.
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path, "rb") as unpacked:
            whole = _start_sha256(unpacked, n_bytes or _MAX_UNPACKED_BYTES)
            if n_bytes is not None or not unpacked.read(1):
                return whole
    return sha256_of_file(path)


def _start_sha256(stream: BinaryIO | gzip.GzipFile, n_bytes: int) -> str:
    found = hashlib.sha256()
    while n_bytes > 0 and (piece := stream.read(min(n_bytes, _CHUNK_BYTES))):
        found.update(piece)
        n_bytes -= len(piece)
    return found.hexdigest()
