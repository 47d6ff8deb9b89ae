"""Readers of cohorts: one a kind of source, each gives a checked Manifest and notes.

``csv``   any CSV or TSV table with one row a scan (`mri_transfer.cohorts.csv`)
``bids``  a BIDS data set with participants.tsv (`mri_transfer.cohorts.bids`)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from mri_transfer.cohorts.bids import read_bids_cohort
from mri_transfer.cohorts.csv import read_csv_cohort
from mri_transfer.cohorts.reading import CohortReading
from mri_transfer.errors import ConfigurationError

__all__ = [
    "READERS",
    "CohortReader",
    "CohortReading",
    "cohort_reader",
    "read_bids_cohort",
    "read_csv_cohort",
]


class CohortReader(Protocol):
    """What every reader is: a function of one source; whatever else it takes has a default."""

    def __call__(self, source: Path, /) -> CohortReading:
        """Read the cohort, or raise ManifestError with every fault found."""
        ...


#: Every kind of source by its name on the command line.
READERS: Mapping[str, CohortReader] = MappingProxyType(
    {"bids": read_bids_cohort, "csv": read_csv_cohort}
)


def cohort_reader(kind: str) -> CohortReader:
    """Return the reader of a kind of source.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    if kind not in READERS:
        raise ConfigurationError(
            "no such kind of cohort", found=kind, expected=", ".join(sorted(READERS))
        )
    return READERS[kind]
