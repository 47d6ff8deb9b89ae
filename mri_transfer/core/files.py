"""Atomic file writes, and comparison of files by content."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import secrets
import shutil
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
    "link_or_copy",
    "read_json_object",
    "sha256_of_file",
    "write_json",
]

#: Prefix of temporary files. One left behind by a killed program can be deleted.
TEMPORARY_PREFIX = ".tmp-"

_CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
#: Lengths at which files are compared in turn; None is the whole file.
_COMPARED_BYTES = (1 << 16, 1 << 20, 1 << 24, None)
#: Larger than any accepted scan; protects against decompression bombs.
_MAX_UNPACKED_BYTES = 1 << 30


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` when the block succeeds.

    At any time, even after a crash, `path` is the old file, the new file or missing, never
    incomplete. The temporary name ends like the final one, as some writers choose their format by
    the suffix.

    Parameters
    ----------
    path : str or Path
        The final name; missing parent folders are created.

    Yields
    ------
    Path
        The path to write to. If the block raises, this file is removed and `path` is not changed.

    Raises
    ------
    FileNotFoundError
        If the block does not write the file.
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
            # A failed write, for example on a full disk, does not name the file.
            error.filename = str(final)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(final.parent)


def _sync_folder(folder: Path) -> None:
    # Not every file system can open or sync folders; the rename has happened anyway.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes atomically; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, without converting line endings; see `atomic_path`."""
    atomic_write_bytes(path, text.encode())


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no links; `target` is replaced."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON; the same value gives the same bytes.

    Keys are sorted, the indent is two spaces, and the file ends with a line feed.

    Raises
    ------
    ValueError
        If the value contains NaN or infinity, which JSON cannot represent; `path` is not changed.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write_text(path, text + "\n")


def read_json_object(path: str | Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None if it is missing or unreadable."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        return content if isinstance(content, dict) else None
    return None


def gzip_bytes(data: bytes) -> bytes:
    """Compress bytes with gzip (level 6); the same data give the same bytes.

    The header has no name and no time.
    """
    packed = io.BytesIO()
    # Not gzip.compress: its header differs between Python versions.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as file:
        file.write(data)
    return packed.getvalue()


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes, read in chunks.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_sha256(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a file's content; a gzip file is decompressed.

    A gzip file that is damaged or larger than 1 GiB when decompressed is hashed as it is.

    Raises
    ------
    OSError
        If the file cannot be read or is not a regular file.
    """
    return _start_of_content_sha256(Path(path), None)


def identical_files(paths: Sequence[str | Path]) -> list[tuple[int, ...]]:
    """Find files with the same content.

    Gzip files are compared decompressed, so that a compressed copy of a plain file, or a copy
    compressed differently (by another program, in several members, with trailing padding), is
    found too. Files are compared by increasing lengths, as most differ within the first 64 KiB.

    Parameters
    ----------
    paths : sequence of str or Path
        Regular files; unreadable ones are left out of the comparison.

    Returns
    -------
    list of tuple of int
        Groups of two or more indices into `paths`, in ascending order. A gzip file that is damaged
        or larger than 1 GiB when decompressed is compared as it is.
    """
    groups = [list(range(len(paths)))]
    for n_bytes in _COMPARED_BYTES:
        groups = [part for group in groups for part in _split(group, paths, n_bytes)]
    return sorted(tuple(group) for group in groups)


def _split(group: list[int], paths: Sequence[str | Path], n_bytes: int | None) -> list[list[int]]:
    """Split indices by the beginning of their files; drop groups of one and unreadable files."""
    parts: defaultdict[str, list[int]] = defaultdict(list)
    for member in group:
        with contextlib.suppress(OSError):
            parts[_start_of_content_sha256(Path(paths[member]), n_bytes)].append(member)
    return [part for part in parts.values() if len(part) > 1]


def _start_of_content_sha256(path: Path, n_bytes: int | None) -> str:
    """Return the SHA-256 of the first `n_bytes` of a file, decompressed; None means all."""
    if not path.is_file():
        # Opening a pipe or a device could block forever.
        raise FileNotFoundError(path)
    with path.open("rb") as stream:
        packed = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        stream.seek(0)
        if not packed and n_bytes is not None:
            return _start_sha256(stream, n_bytes)
    if packed:
        # A damaged archive can still be a copy of another one.
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path, "rb") as unpacked:
            whole = _start_sha256(unpacked, n_bytes or _MAX_UNPACKED_BYTES)
            if n_bytes is not None or not unpacked.read(1):
                return whole
    return sha256_of_file(path)


def _start_sha256(stream: BinaryIO | gzip.GzipFile, n_bytes: int) -> str:
    sha = hashlib.sha256()
    while n_bytes > 0 and (chunk := stream.read(min(n_bytes, _CHUNK_BYTES))):
        sha.update(chunk)
        n_bytes -= len(chunk)
    return sha.hexdigest()
