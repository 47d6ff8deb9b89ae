"""CohortReading: the result of a reader."""

from __future__ import annotations

import dataclasses

from mri_transfer.cohorts.manifest.manifest import Manifest

__all__ = ["CohortReading", "label_notes"]


@dataclasses.dataclass(frozen=True, eq=False)
class CohortReading:
    """A checked manifest, with notes for the user.

    Parameters
    ----------
    manifest : Manifest
    notes : tuple of str
        Full sentences on what was left out or is missing. None of them is a fault.
    """

    manifest: Manifest
    notes: tuple[str, ...] = ()


def label_notes(manifest: Manifest) -> tuple[str, ...]:
    """Return a note on the number of scans without a label, if any."""
    missing = int(manifest.scans["label"].isna().sum())
    if not missing:
        return ()
    return (
        f"{missing} of {len(manifest.scans)} scans have no label: "
        "they can be scored, but not used to train or test a model.",
    )
