"""One image per scan: derivatives contain a scan in several spaces, resolutions and versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mri_transfer.cohorts.readers.bids.images import BidsImage
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.errors import Fault, ManifestError

__all__ = ["one_image_a_scan"]

#: The name for images without the entity space.
NATIVE = "native"
#: Entities that distinguish images of one scan, not scans.
_VERSIONS = ("space", "cohort", "res", "den", "desc")


def one_image_a_scan(
    images: Sequence[BidsImage], *, space: str | None = None, where: str
) -> tuple[list[BidsImage], tuple[str, ...]]:
    """Keep one image of each scan.

    Images belong to one scan if their names differ only in space, cohort, res, den or desc. Of
    several, those in the requested space are kept, by default the native ones; of these, those
    without ``res``.

    Parameters
    ----------
    images : sequence of BidsImage
    space : str, optional
        Keep only images in this space, such as ``MNI152NLin2009cAsym``; ``native`` for those
        without the entity.
    where : str
        What to call the data set in messages.

    Returns
    -------
    images : list of BidsImage
    notes : tuple of str
        What was left out, and by which rule.

    Raises
    ------
    ManifestError
        If no image is in the space, or several images of a scan remain.
    """
    wanted = None if space is None else space.removeprefix("space-")
    if wanted is not None:
        present = [image for image in images if _space(image) == wanted]
        if not present:
            raise ManifestError(where, [_no_such_space(images, wanted)])
    else:
        present = list(images)
    kept, faults = [], []
    for group in _scans(present):
        chosen = _chosen(group)
        kept += chosen
        if len(chosen) > 1:
            faults.append(_several(chosen))
    if faults:
        raise ManifestError(where, faults)
    return kept, tuple(_notes(images, kept, wanted))


def _space(image: BidsImage) -> str:
    return image.entities.get("space") or NATIVE


def _scan(image: BidsImage) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in image.entities.items() if name not in _VERSIONS)


def _scans(images: Sequence[BidsImage]) -> list[list[BidsImage]]:
    groups: dict[tuple[tuple[str, str], ...], list[BidsImage]] = {}
    for image in images:
        groups.setdefault(_scan(image), []).append(image)
    return list(groups.values())


def _chosen(group: list[BidsImage]) -> list[BidsImage]:
    for entity in ("space", "res"):
        group = [image for image in group if not image.entities.get(entity)] or group
    return group


def _several(group: Sequence[BidsImage]) -> Fault:
    differ = [name for name in _VERSIONS if len({i.entities.get(name) for i in group}) > 1]
    remedy = "Choose one with --space" if "space" in differ else "Choose one with --filter"
    if "space" not in differ and differ:
        remedy += f" {differ[0]}={group[0].entities.get(differ[0]) or ''}"
    return Fault(
        f"several images of one scan, which differ in {' and '.join(differ) or 'nothing'}",
        column="path",
        found=listed([image.path for image in group]),
        expected="one image per scan",
        remedy=remedy,
    )


def _no_such_space(images: Sequence[BidsImage], wanted: str) -> Fault:
    return Fault(
        "no image is in the requested space",
        found=wanted,
        expected=", ".join(sorted({_space(image) for image in images})),
        remedy="Choose one of these with --space",
    )


def _notes(
    images: Sequence[BidsImage], kept: Sequence[BidsImage], wanted: str | None
) -> Iterator[str]:
    left_out = len(images) - len(kept)
    if left_out:
        rule = f"space {wanted}" if wanted else "native space preferred"
        yield (
            f"{counted(left_out, 'image')} left out, to keep one per scan: {rule}, and full "
            "resolution (without res-) preferred. Choose another with --space."
        )
    spaces = Counter(map(_space, kept))
    if len(spaces) > 1:
        every = ", ".join(f"{space} ({count})" for space, count in sorted(spaces.items()))
        yield (
            f"The images are in several spaces: {every}. If the space depends on the label, the "
            "label leaks."
        )
    if wanted is not None:
        scans = {_scan(image) for image in kept}
        lost = sorted({image.scan_id for image in images if _scan(image) not in scans})
        if lost:
            yield f"Scans without an image in space {wanted}, left out: {listed(lost)}."
