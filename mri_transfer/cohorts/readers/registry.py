"""Readers of cohorts: one per kind of source; each returns a checked Manifest and notes.

``csv``     any table with one row per scan (`mri_transfer.cohorts.readers.csv`)
``bids``    a BIDS data set with participants.tsv (`mri_transfer.cohorts.readers.bids.reader`)
``caps``    Clinica's t1-linear images (`mri_transfer.cohorts.readers.caps.reader`)
``dicom``   a folder of DICOM series, converted (`mri_transfer.cohorts.readers.dicom.reader`)
``oasis1``  the discs of OASIS-1 (`mri_transfer.cohorts.readers.oasis1.reader`)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.readers.caps.reader import read_caps_cohort
from mri_transfer.cohorts.readers.csv import read_csv_cohort
from mri_transfer.cohorts.readers.dicom.reader import read_dicom_cohort
from mri_transfer.cohorts.readers.oasis1.reader import read_oasis1_cohort
from mri_transfer.cohorts.readers.reading import CohortReading
from mri_transfer.errors import ConfigurationError

__all__ = [
    "READERS",
    "CohortReading",
    "cohort_reader",
    "read_bids_cohort",
    "read_caps_cohort",
    "read_csv_cohort",
    "read_dicom_cohort",
    "read_oasis1_cohort",
]


class CohortReader(Protocol):
    """A reader: a function of one source; all other parameters have defaults."""

    def __call__(self, source: Path, /) -> CohortReading:
        """Read the cohort, or raise ManifestError with every fault."""
        ...


#: Readers by kind of source, as named on the command line.
READERS: Mapping[str, CohortReader] = MappingProxyType(
    {
        "bids": read_bids_cohort,
        "caps": read_caps_cohort,
        "csv": read_csv_cohort,
        "dicom": read_dicom_cohort,
        "oasis1": read_oasis1_cohort,
    }
)


def cohort_reader(kind: str) -> CohortReader:
    """Return the reader of a kind of source.

    Raises
    ------
    ConfigurationError
        If there is no such kind.
    """
    if kind not in READERS:
        raise ConfigurationError(
            "no such kind of cohort", found=kind, expected=", ".join(sorted(READERS))
        )
    return READERS[kind]
