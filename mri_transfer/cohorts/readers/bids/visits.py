"""What holds at a visit: its own diagnosis, never one from entry in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from mri_transfer.cohorts.readers.bids.images import BidsImage
from mri_transfer.cohorts.readers.bids.tables import Phenotypes
from mri_transfer.cohorts.words import listed
from mri_transfer.errors import Fault

__all__ = ["VisitLabels", "rival_label_columns", "visit_notes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisitLabels:
    """The values of the label column at visits.

    A patient with a diagnosis of his own at some visits has no other diagnosis at the rest: what
    was found at entry, the value of the patient, may have changed since.

    Parameters
    ----------
    phenotypes : Phenotypes
    column : str or None
        The label column, if there is one.
    """

    phenotypes: Phenotypes
    column: str | None
    _told: dict[str, list[str]] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        told = {} if self.column is None else self.phenotypes.visits(self.column)
        object.__setattr__(self, "_told", told)

    def is_withheld(self, image: BidsImage) -> bool:
        """Return whether only other visits have a diagnosis, and the patient's is passed over."""
        told = self._told.get(image.patient_id)
        known = self.phenotypes.of_scan(image.patient_id, None)
        return told is not None and image.session_id not in told and self.column in known

    def of(self, image: BidsImage) -> str | None:
        """Return the cell that holds for an image."""
        if self.column is None or self.is_withheld(image):
            return None
        return self.phenotypes.of_scan(image.patient_id, image.session_id).get(self.column)

    def notes(self, images: Sequence[BidsImage]) -> Iterator[str]:
        """Say which images get no label because only other visits have one."""
        withheld = [image.scan_id for image in images if self.is_withheld(image)]
        if withheld:
            yield (
                f"Without a label: the tables give {self.column} at other visits of these "
                f"patients, and that of the patient may not hold at this one: {listed(withheld)}. "
                "Add the visits to the table of sessions."
            )


def rival_label_columns(
    phenotypes: Phenotypes, label: str, names: Sequence[str]
) -> Iterator[Fault]:
    """Yield a fault if another column may hold the diagnosis at visits, and `label` does not.

    Parameters
    ----------
    phenotypes : Phenotypes
    label : str
        The column that would be taken.
    names : sequence of str
        How columns of diagnoses are called.
    """
    if phenotypes.visits(label):
        return
    rivals = [
        column
        for column in phenotypes.columns
        if column != label
        and column.rpartition(".")[2].casefold() in names
        and phenotypes.visits(column)
    ]
    if rivals:
        yield Fault(
            "the diagnosis may stand in several columns, one of the patient and one of the visit",
            found=", ".join([label, *rivals]),
            expected="the column that holds at the time of the scan",
            remedy="Choose one with --label-column",
        )


def visit_notes(phenotypes: Phenotypes, images: Sequence[BidsImage]) -> Iterator[str]:
    """Say which visits of the tables have no image, and which images have no such visit."""
    visits = phenotypes.visits()
    scanned: dict[str, set[str | None]] = {}
    for image in images:
        scanned.setdefault(image.patient_id, set()).add(image.session_id)
    without_image = [
        f"{patient_id} {session_id}"
        for patient_id, sessions in visits.items()
        for session_id in sessions
        if patient_id in scanned and session_id not in scanned[patient_id]
    ]
    if without_image:
        yield f"Visits in the tables without an image, left out: {listed(without_image)}."
    without_row = [
        image.scan_id
        for image in images
        if image.patient_id in visits and image.session_id not in visits[image.patient_id]
    ]
    if without_row:
        yield (
            "Images of visits that the tables do not describe, though they describe others of "
            f"the patient: {listed(without_row)}."
        )
