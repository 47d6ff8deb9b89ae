"""Files on disk: written whole or not at all, and compared by content."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import secrets
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "TEMPORARY_PREFIX",
    "atomic_path",
    "atomic_write_bytes",
    "atomic_write_text",
    "identical_files",
    "sha256_of_file",
    "write_json",
]

#: A file named so was being written when the program was killed; it may be deleted.
TEMPORARY_PREFIX = ".tmp-"

_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"


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
    except BaseException:
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


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes, read in pieces.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def identical_files(paths: Sequence[str | Path]) -> list[tuple[int, ...]]:
    """Find files of the same content, whatever they are called.

    A gzip file counts as what it holds, so that a compressed copy of a plain file, or a copy
    compressed by another program, is found too. Most files are told apart by their size and
    checksum alone (gzip files carry both at their end); only those left over are hashed.

    Parameters
    ----------
    paths : sequence of str or Path
        Files; those that cannot be read are left out of the comparison.

    Returns
    -------
    list of tuple of int
        Groups of two or more positions in `paths`, in rising order.
    """
    by_size = _grouped(_content_size, range(len(paths)), paths)
    by_sample = [part for group in by_size for part in _split_by_sample(group, paths)]
    identical = [part for group in by_sample for part in _grouped(_content_sha256, group, paths)]
    return sorted(tuple(group) for group in identical)


def _grouped(key: Any, members: Iterable[int], paths: Sequence[str | Path]) -> list[list[int]]:
    """Group positions by a key of their files; groups of one and unreadable files are dropped."""
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for member in members:
        with contextlib.suppress(OSError, EOFError, zlib.error):
            groups[key(Path(paths[member]))].append(member)
    return [group for group in groups.values() if len(group) > 1]


def _split_by_sample(group: list[int], paths: Sequence[str | Path]) -> list[list[int]]:
    """Split files of one content size by a cheap checksum."""
    # A sample from the middle suffices among plain files; beside a gzip file, whose checksum
    # covers everything, the plain ones need theirs in full.
    packed = [_is_gzip(Path(paths[member])) for member in group]
    if any(packed):
        return _grouped(_content_crc32, group, paths)
    return _grouped(_middle_crc32, group, paths)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP_MAGIC


def _gzip_trailer(path: Path) -> tuple[int, int]:
    """Return the CRC-32 and the size (modulo 2**32) that a gzip file states of its content."""
    with path.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        crc, size = struct.unpack("<II", stream.read(8))
    return crc, size


def _content_size(path: Path) -> int:
    if _is_gzip(path):
        return _gzip_trailer(path)[1]
    return path.stat().st_size % (1 << 32)


def _content_crc32(path: Path) -> int:
    if _is_gzip(path):
        return _gzip_trailer(path)[0]
    crc = 0
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            crc = zlib.crc32(piece, crc)
    return crc


def _middle_crc32(path: Path) -> int:
    with path.open("rb") as stream:
        stream.seek(path.stat().st_size // 2)
        return zlib.crc32(stream.read(_SAMPLE_BYTES))


def _content_sha256(path: Path) -> str:
    if _is_gzip(path):
        # A damaged archive still is a copy of another one: it is compared as it lies.
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    return sha256_of_file(path)
