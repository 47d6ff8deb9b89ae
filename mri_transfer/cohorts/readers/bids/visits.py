"""Diagnoses at visits: a visit's own diagnosis, never the one at study entry instead."""

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

    If a patient has a diagnosis at some visits, the patient-level diagnosis does not apply to the
    others: it was made at study entry and may have changed since.

    Parameters
    ----------
    phenotypes : Phenotypes
    column : str or None
        The label column, if there is one.
    """

    phenotypes: Phenotypes
    column: str | None
    _diagnosed: dict[str, list[str]] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        diagnosed = {} if self.column is None else self.phenotypes.visits(self.column)
        object.__setattr__(self, "_diagnosed", diagnosed)

    def is_withheld(self, image: BidsImage) -> bool:
        """Return whether the patient's diagnosis is not used, as only other visits have one."""
        visits = self._diagnosed.get(image.patient_id)
        known = self.phenotypes.of_scan(image.patient_id, None)
        return visits is not None and image.session_id not in visits and self.column in known

    def of(self, image: BidsImage) -> str | None:
        """Return the cell that applies to an image."""
        if self.column is None or self.is_withheld(image):
            return None
        return self.phenotypes.of_scan(image.patient_id, image.session_id).get(self.column)

    def notes(self, images: Sequence[BidsImage]) -> Iterator[str]:
        """Yield a note on images without a label because only other visits have one."""
        withheld = [image.scan_id for image in images if self.is_withheld(image)]
        if withheld:
            yield (
                f"Without a label: the tables give {self.column} at other visits of these "
                f"patients, and the patient's own may be outdated at this one: {listed(withheld)}. "
                "Add the visits to the session table."
            )


def rival_label_columns(
    phenotypes: Phenotypes, label: str, names: Sequence[str]
) -> Iterator[Fault]:
    """Yield a fault if another column may contain the diagnosis at visits, and `label` does not.

    Parameters
    ----------
    phenotypes : Phenotypes
    label : str
        The column that would be used.
    names : sequence of str
        Common names of diagnosis columns.
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
            "several columns may contain the diagnosis, of the patient and of the visit",
            found=", ".join([label, *rivals]),
            expected="the column with the diagnosis at the time of the scan",
            remedy="Choose one with --label-column",
        )


def visit_notes(phenotypes: Phenotypes, images: Sequence[BidsImage]) -> Iterator[str]:
    """Yield notes on visits in the tables without an image, and on images without a visit."""
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
            "Images of visits that are not in the tables, while other visits of the patient are: "
            f"{listed(without_row)}."
        )
