"""Find the images of a BIDS data set and filter them by their entities."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mri_transfer.cohorts.common_faults import misplaced_image
from mri_transfer.cohorts.readers.quiet import silenced
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.errors import Fault, ManifestError

__all__ = [
    "BidsImage",
    "EntityFilters",
    "find_images",
]

EntityFilters = Mapping[str, str | Sequence[str]]

_EXTENSIONS = (".nii.gz", ".nii")
#: Folders that may contain other data sets, or unsorted images.
_NOT_RAW = frozenset({"code", "derivatives", "rawdata", "sourcedata", "stimuli"})
#: Entities whose values are numbers: 1 and 01 are the same.
_COUNTED = frozenset({"chunk", "echo", "flip", "inv", "run", "split"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class BidsImage:
    """One image.

    Parameters
    ----------
    path : str
        Relative to the data set, with ``/`` between folders.
    patient_id, session_id : str
        ``sub-X`` and ``ses-Y``; the session may be missing.
    scan_id : str
        The file's name without suffix and extension.
    entities : mapping
        Values by entity, from the file name, such as ``{"sub": "01", "acq": "mprage"}``.
    """

    path: str
    patient_id: str
    session_id: str | None
    scan_id: str
    entities: Mapping[str, str] = dataclasses.field(repr=False)


def find_images(
    root: Path, *, suffix: str, filters: EntityFilters | None = None
) -> tuple[list[BidsImage], tuple[str, ...]]:
    """Find the images with a suffix, in any folder that BIDS allows.

    Images matched by ``.bidsignore`` and those below folders named derivatives, sourcedata,
    rawdata, code or stimuli are left out.

    Parameters
    ----------
    root : Path
        The data set's folder.
    suffix : str
        Such as ``T1w``.
    filters : mapping, optional
        Value or values by entity, ``{"ses": "01", "run": ["1", "2"]}``; a value may include the
        entity (``ses-01``), and an empty one selects images without the entity.

    Returns
    -------
    images : list of BidsImage
        Sorted by path.
    notes : tuple of str
        What was left out.

    Raises
    ------
    ManifestError
        Listing every fault: no images, an image in another patient's folder, a filter that matches
        nothing.
    """
    if not root.is_dir():
        fault = Fault("no such folder", remedy="Give the BIDS data set's folder")
        raise ManifestError(str(root), [fault])
    participants = _wanted("sub", (filters or {}).get("sub", ()))
    if absent := [*_absent(root, participants)]:
        raise ManifestError(str(root), absent)
    images = sorted(_indexed(root, suffix, participants), key=lambda image: image.path)
    ignored = ignored_by_bids(root, [image.path for image in images])
    present = [image for image in images if image.path not in ignored]
    faults = [*_misplaced(present)]
    if present:
        faults += _filter_faults(present, filters or {})
    else:
        faults.append(_no_images(suffix, participants, n_ignored=len(ignored)))
    if faults:
        raise ManifestError(str(root), faults)
    kept = [image for image in present if _passes(image, filters or {})]
    if not kept:
        raise ManifestError(str(root), [_nothing_passes(present, filters or {})])
    return kept, (*_ignored_notes(ignored), *_filter_notes(len(present), len(kept)))


def _absent(root: Path, participants: Sequence[str]) -> Iterator[Fault]:
    """Yield a fault for each participant without a folder."""
    for label in participants:
        if not (root / f"sub-{label}").is_dir():
            present = sorted(path.name for path in root.glob("sub-*") if path.is_dir())
            yield Fault(
                "no such participant",
                found=f"sub-{label}",
                expected=listed(present, shown=20) if present else None,
            )


def _indexed(root: Path, suffix: str, participants: Sequence[str]) -> Iterator[BidsImage]:
    """Yield the images of some participants; of all if none is named.

    Indexing takes milliseconds a participant: a job on one of thousands must not index them all.
    """
    import bids2table  # slow: it pulls in pyarrow

    # bids2table treats brackets in the folder's name as a pattern, skips folders with a dot in
    # their name, and caches folders it has seen; a new link with a plain name avoids all three.
    with tempfile.TemporaryDirectory() as folder, silenced("bids2table"):
        alias = Path(folder) / "dataset"
        alias.symlink_to(root, target_is_directory=True)
        columns = ["path", "sub", "ses", "suffix", "ext"]
        only = [f"sub-{label}" for label in participants] or None
        rows = bids2table.index_dataset(alias, only).select(columns).to_pylist()
    for row in rows:
        path = PurePosixPath(Path(row["path"]).as_posix())
        is_scan = row["suffix"] == suffix and row["ext"] in _EXTENSIONS and row["sub"] is not None
        if is_scan and not _NOT_RAW.intersection(path.parts[:-1]):
            special = ("datatype", "suffix", "ext")
            entities = bids2table.parse_bids_entities(path.name)
            yield BidsImage(
                path=str(path),
                patient_id=f"sub-{row['sub']}",
                session_id=None if row["ses"] is None else f"ses-{row['ses']}",
                scan_id=path.name.split(".", 1)[0].removesuffix(f"_{suffix}"),
                entities={name: entities[name] for name in entities if name not in special},
            )


def ignored_by_bids(root: Path, paths: Sequence[str]) -> frozenset[str]:
    """Return the paths matched by ``.bidsignore``, with the syntax of ``.gitignore``.

    Parameters
    ----------
    root : Path
        The data set's folder; without a ``.bidsignore`` nothing is ignored.
    paths : sequence of str
        Relative to the folder.

    Raises
    ------
    ManifestError
        If a line of the file is not a pattern.
    """
    import pathspec

    file = root / ".bidsignore"
    if not file.is_file():
        return frozenset()
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    patterns, faults = [], []
    for number, line in enumerate(lines, start=1):
        try:
            pathspec.GitIgnoreSpec.from_lines([line])
        except ValueError:
            faults.append(Fault("not a pattern", row=number, found=repr(line)))
        else:
            patterns.append(line)
    if faults:
        raise ManifestError(str(file), faults)
    return frozenset(pathspec.GitIgnoreSpec.from_lines(patterns).match_files(paths))


def _misplaced(images: Sequence[BidsImage]) -> Iterator[Fault]:
    for image in images:
        folders = image.path.split("/")[:-1]
        session = next((part for part in folders if part.startswith("ses-")), None)
        if (image.patient_id, image.session_id) != (folders[0], session):
            yield misplaced_image(image.path)


def _no_images(suffix: str, participants: Sequence[str], *, n_ignored: int) -> Fault:
    whose = f" of {listed([f'sub-{label}' for label in participants])}" if participants else ""
    return Fault(
        f"the data set has no {suffix} image{whose}",
        found=f"{n_ignored} matched by .bidsignore" if n_ignored else None,
        expected=f"sub-X/[ses-Y/]anat/sub-X[_ses-Y]_{suffix}.nii.gz, where X and Y are "
        "letters and digits",
        remedy="Give the folder that contains the sub-X folders",
    )


def _wanted(entity: str, values: str | Sequence[str]) -> tuple[str, ...]:
    every = (values,) if isinstance(values, str) else values
    return tuple(value.removeprefix(f"{entity}-") for value in every)


def _matches(image: BidsImage, entity: str, value: str) -> bool:
    own = image.entities.get(entity, "")
    if entity in _COUNTED and own.isdecimal() and value.isdecimal():
        return int(own) == int(value)
    return own == value


def _passes(image: BidsImage, filters: EntityFilters) -> bool:
    return all(
        any(_matches(image, entity, value) for value in _wanted(entity, values))
        for entity, values in filters.items()
    )


def _filter_faults(images: Sequence[BidsImage], filters: EntityFilters) -> Iterator[Fault]:
    """Yield a fault for each value that no image has: it is probably misspelt."""
    present = dict.fromkeys(entity for image in images for entity in image.entities)
    for entity, values in filters.items():
        for value in _wanted(entity, values):
            if any(_matches(image, entity, value) for image in images):
                continue
            if entity not in present:
                yield Fault(
                    "no image has the entity of the filter",
                    found=entity,
                    expected=", ".join(sorted(present)),
                    remedy="Use the entity's short name, as in the file names",
                )
                break
            yield Fault(
                "no image has the value of the filter",
                found=f"{entity}-{value}" if value else f"images without {entity}-",
                expected=_values(images, entity),
                remedy="Choose one of these values",
            )


def _values(images: Sequence[BidsImage], entity: str) -> str:
    own = {image.entities.get(entity) for image in images}
    names = [f"{entity}-{value}" for value in sorted(value for value in own if value is not None)]
    every = [listed(names, shown=20)] if names else []
    return ", ".join([*every, *(["images without it"] if None in own else [])])


def _nothing_passes(images: Sequence[BidsImage], filters: EntityFilters) -> Fault:
    return Fault(
        "each filter matches some images, but no image matches all filters",
        found="; ".join(
            f"{entity}-{' or '.join(_wanted(entity, values))}" for entity, values in filters.items()
        ),
        expected="; ".join(_values(images, entity) for entity in filters),
        remedy="Use fewer filters",
    )


def _ignored_notes(ignored: frozenset[str]) -> Iterator[str]:
    if ignored:
        yield f"Left out, as .bidsignore matches them: {counted(len(ignored), 'image')}."


def _filter_notes(n_images: int, n_kept: int) -> Iterator[str]:
    if n_kept < n_images:
        yield f"The filters keep {n_kept} of {n_images} images."
