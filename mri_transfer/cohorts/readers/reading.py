"""CohortReading: what a reader gives back."""

from __future__ import annotations

import dataclasses

from mri_transfer.cohorts.manifest.manifest import Manifest

__all__ = ["CohortReading", "label_notes"]


@dataclasses.dataclass(frozen=True, eq=False)
class CohortReading:
    """A checked manifest and what the user should know about how it came about.

    Parameters
    ----------
    manifest : Manifest
    notes : tuple of str
        Full sentences: what was left out, what is missing. None of them is a fault.
    """

    manifest: Manifest
    notes: tuple[str, ...] = ()


def label_notes(manifest: Manifest) -> tuple[str, ...]:
    """Say how many scans have no label, if any."""
    missing = int(manifest.scans["label"].isna().sum())
    if not missing:
        return ()
    return (
        f"{missing} of {len(manifest.scans)} scans have no label: "
        "they can be scored, but neither train nor test a model.",
    )
