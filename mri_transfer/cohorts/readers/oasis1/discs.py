"""The discs of OASIS-1 as distributed: their sessions and files.

A session's folder contains several volumes, each a pair of an Analyze 7.5 header (.hdr) and its
voxels (.img)::

    disc1/OAS1_0001_MR1/PROCESSED/MPRAGE/T88_111/OAS1_0001_MR1_mpr_n4_anon_111_t88_masked_gfc.hdr
    disc1/OAS1_0001_MR1/PROCESSED/MPRAGE/T88_111/OAS1_0001_MR1_mpr_n4_anon_111_t88_gfc.hdr
    disc1/OAS1_0001_MR1/PROCESSED/MPRAGE/SUBJ_111/OAS1_0001_MR1_mpr_n4_anon_sbj_111.hdr

``n4`` is the number of averaged acquisitions; some sessions have ``n3``. Files are identified by
name, so that a single disc, a folder of discs and a folder of all files are read alike.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from mri_transfer.errors import Fault, ManifestError

__all__ = ["VOLUMES", "Oasis1Volume", "SessionKey", "VolumePair", "find_sessions"]

#: A session's volumes: in Talairach space without or with skull, or in native space.
Oasis1Volume = Literal["t88_masked", "t88", "raw"]
#: The end of the file names of each volume.
VOLUMES: Mapping[str, str] = MappingProxyType(
    {"t88_masked": "111_t88_masked_gfc", "t88": "111_t88_gfc", "raw": "sbj_111"}
)
#: Patient and session, such as ("OAS1_0001", "MR1").
SessionKey = tuple[str, str]

_SESSION = r"(?P<patient>OAS1_\d{4})_(?P<session>MR\d+)"
_SUFFIXES = (".hdr", ".img")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumePair:
    """The files of a session's volume.

    Parameters
    ----------
    header, voxels : Path or None
        The .hdr and the .img, None if missing.
    problem : str, optional
        Why the pair cannot be used.
    """

    header: Path | None = None
    voxels: Path | None = None
    problem: str | None = None


def find_sessions(root: Path, volume: Oasis1Volume) -> dict[SessionKey, VolumePair]:
    """Find every session below a folder and the files of one of its volumes.

    Symbolic links to folders are not followed.

    Parameters
    ----------
    root : Path
        The folder with the discs, a disc, or any folder with sessions or their files.
    volume : {"t88_masked", "t88", "raw"}

    Returns
    -------
    dict
        Sorted by patient and session. A session with missing or ambiguous files has a `problem`.

    Raises
    ------
    ManifestError
        If the folder does not exist or has no session.
    """
    if not root.is_dir():
        fault = Fault("no such folder", remedy="Give the folder with the discs")
        raise ManifestError(str(root), [fault])
    files: dict[SessionKey, list[Path]] = {}
    pattern = re.compile(rf"{_SESSION}_mpr_n\d+_anon_{VOLUMES[volume]}\.(hdr|img)")
    for folder, folders, names in os.walk(root):
        folders.sort()
        own = re.fullmatch(_SESSION, Path(folder).name)
        if own is not None:
            files.setdefault((own["patient"], own["session"]), [])
        for name in sorted(names):
            match = pattern.fullmatch(name)
            if match is not None:
                key = (match["patient"], match["session"])
                files.setdefault(key, []).append(Path(folder) / name)
    if not files:
        raise ManifestError(str(root), [_nothing(root)])
    return {key: _pair(files[key], key, root, volume) for key in sorted(files)}


def _nothing(root: Path) -> Fault:
    links = [path.name for path in sorted(root.iterdir()) if path.is_symlink() and path.is_dir()]
    return Fault(
        "the folder has no OASIS-1 session",
        found=f"links to folders, which are not followed: {', '.join(links)}" if links else None,
        expected="folders such as disc1/OAS1_0001_MR1",
        remedy="Give the folder with the discs, or one disc",
    )


def _pair(paths: list[Path], key: SessionKey, root: Path, volume: str) -> VolumePair:
    problem = next(_problems(paths, key, root, volume), None)
    by_suffix = {path.suffix: path for path in paths}
    return VolumePair(header=by_suffix.get(".hdr"), voxels=by_suffix.get(".img"), problem=problem)


def _problems(paths: list[Path], key: SessionKey, root: Path, volume: str) -> Iterator[str]:
    ending = f"*_{VOLUMES[volume]}"
    if not paths:
        yield f"no file {ending}.hdr and no {ending}.img in its folder"
        return
    for suffix in _SUFFIXES:
        files = [path for path in paths if path.suffix == suffix]
        if not files:
            yield f"the file {paths[0].with_suffix(suffix).name} is missing"
        elif len(files) > 1:
            names = ", ".join(str(path.relative_to(root)) for path in files)
            yield f"{len(files)} files for one volume: {names}"
    stems = sorted({path.with_suffix("") for path in paths})
    if len(stems) > 1:
        names = ", ".join(str(stem.relative_to(root)) for stem in stems)
        yield f"header and voxels do not belong together: {names}"
    for path in paths:
        inside = re.search(rf"(?:^|/){_SESSION}/", path.relative_to(root).as_posix())
        if inside is not None and (inside["patient"], inside["session"]) != key:
            folder = f"{inside['patient']}_{inside['session']}"
            yield f"the file {path.name} is in the folder of another session, {folder}"
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
            yield f"the file {path.name} is a symbolic link that leaves the folder"
