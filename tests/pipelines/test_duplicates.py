"""What the prepare stage says of scans that belong together, or that should and do not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipelines.config import read_config
from pipelines.plan.order import stages_until
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from tests.pipelines.conftest import Notes, SmallJob


def test_two_people_under_one_id_are_told_and_listed(
    small_job: SmallJob, finished: RunOutcome, tmp_path: Path
) -> None:
    """A second site has given an id that the first has given already."""
    table = pd.read_csv(finished.workspace.manifest, dtype=str, keep_default_na=False)
    first, second = table.drop_duplicates("patient_id")["patient_id"][:2]
    same = table["patient_id"] == second
    for column in ("label", "sex"):
        table.loc[same, column] = table[table["patient_id"] == first][column].iloc[0]
    table.loc[same, "patient_id"] = first
    table.to_csv(tmp_path / "m.csv", index=False)
    # Phantoms are more alike than people.
    config = read_config(None, [*small_job.settings, "duplicates.other_brain=0.97"])
    cache, notes = finished.workspace.cache, Notes()
    workspace = begin_run(tmp_path / "m.csv", tmp_path / "run", config, cache=cache)
    run_pipeline(workspace, config, stages=stages_until("prepare"), reporter=notes)
    told = [note for note in notes.notes if "one id, two people?" in note]
    assert len(told) == 1
    assert first in told[0]
    listed = pd.read_csv(workspace.duplicates)
    assert first in set(listed[listed["kind"] == "sessions that differ"]["patient_a"])
