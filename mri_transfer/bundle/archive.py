"""A bundle as one zip file: packed the same every time, unpacked without trust."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from mri_transfer.core.files import atomic_path
from mri_transfer.core.machine import raise_machine_fault
from mri_transfer.errors import MriTransferError, StoreError

__all__ = ["demand_harmless", "pack", "unpack"]

#: What a bundle is made of.
_SUFFIXES = (".json", ".safetensors", ".md", ".txt")
_MAX_FILES = 2000
_MAX_BYTES = 1 << 30
_MAX_RATIO = 500
_CHUNK_BYTES = 1 << 20
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_REFUSED = "Fetch the bundle again from where it came from; do not unpack this file by hand"


def pack(folder: Path, path: Path) -> None:
    """Pack a folder of files into a zip; the same files give the same bytes."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
                entry = zipfile.ZipInfo(name, date_time=_FIRST_DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.create_system = 3
                archive.writestr(entry, file.read_bytes(), compresslevel=6)


def unpack(path: Path, into: Path) -> Path:
    """Unpack a bundle's zip into an empty folder; return the folder of the bundle.

    Raises
    ------
    StoreError
        If it is no zip, or holds a path that leads elsewhere, a link, a file of a kind that no
        bundle has (a pickle could run code), or more than 1 GiB.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _demand_small(entries, path)
            left = _MAX_BYTES
            for entry in entries:
                target = into / _safe_name(entry, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(archive, entry, target, limit=left)
    except MriTransferError:
        raise
    except Exception as error:
        # A damaged zip makes its readers raise nearly anything: zlib, LZMA, struct, EOF errors.
        raise_machine_fault(error)
        raise StoreError(
            "cannot read the bundle's zip", where=str(path), found=str(error), remedy=_REFUSED
        ) from error
    return _root(into)


def demand_harmless(folder: Path) -> None:
    """Refuse a folder with files of a kind that bundles do not contain.

    Raises
    ------
    StoreError
        Naming the first one.
    """
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink() or not (file.is_dir() or file.is_file()):
            raise _refusal("holds something that is not a plain file", name, folder)
        if file.is_file():
            with file.open("rb") as stream:
                _demand_kind(name, stream.read(4), folder)


def _demand_small(entries: list[zipfile.ZipInfo], path: Path) -> None:
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > _MAX_FILES or total > _MAX_BYTES or total > _MAX_RATIO * max(packed, 4096):
        raise _refusal("is too large unpacked", f"{len(entries)} files, {total} bytes", path)
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise _refusal("holds a name twice", max(names, key=names.count), path)


def _safe_name(entry: zipfile.ZipInfo, path: Path) -> PurePosixPath:
    # The name as stored; zipfile itself would repair some names silently.
    name = entry.orig_filename
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or any(sign in name for sign in ("\\", ":", "\0"))
        or any(part in (".", "..") for part in name.split("/"))
        or len(name) > 200
        or name != entry.filename
    ):
        raise _refusal("holds a path that leads elsewhere", name, path)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _refusal("holds something that is not a plain file", name, path)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refusal("holds a file that is packed in an unknown way", name, path)
    if entry.flag_bits & 1:
        raise _refusal("holds an encrypted file", name, path)
    return PurePosixPath(*parts)


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, *, limit: int) -> int:
    """Unpack one file, trusting none of the sizes the zip declares; return its bytes."""
    size = 0
    with archive.open(entry) as source, target.open("xb") as sink:
        while piece := source.read(_CHUNK_BYTES):
            if not size:
                _demand_kind(entry.filename, piece[:4], Path(archive.filename or "zip"))
            size += len(piece)
            if size > limit:
                raise _refusal("is too large unpacked", entry.filename, target)
            sink.write(piece)
    return size


def _demand_kind(name: str, start: bytes, where: Path) -> None:
    # A safetensors file begins with a length, which can be any bytes; its reader refuses other
    # content.
    is_text = not name.endswith(".safetensors")
    is_foreign = is_text and (start[:1] == b"\x80" or start[:2] in (b"PK", b"\x1f\x8b"))
    if not name.endswith(_SUFFIXES) or is_foreign:
        raise _refusal("holds a file of a kind that no bundle has", name, where)


def _root(into: Path) -> Path:
    inside = sorted(into.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else into


def _refusal(what: str, name: str, where: Path) -> StoreError:
    return StoreError(f"the bundle {what}", where=str(where), found=name[:200], remedy=_REFUSED)
