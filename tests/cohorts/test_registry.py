"""The registry of readers: each kind of source by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mri_transfer.cohorts.readers.reading import CohortReading
from mri_transfer.cohorts.readers.registry import READERS, cohort_reader
from mri_transfer.errors import ConfigurationError


def test_every_reader_takes_a_source_alone(bids_cohort: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    scan = bids_cohort / "sub-A2" / "anat" / "sub-A2_T1w.nii.gz"
    table.write_text(f"patient_id,path\np1,{scan}\n")
    sources = {"bids": bids_cohort, "csv": table}
    for kind in READERS:
        if kind in sources:
            assert isinstance(cohort_reader(kind)(sources[kind]), CohortReading)
    assert set(sources) <= set(READERS)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=", ".join(sorted(READERS))):
        cohort_reader("xnat")
