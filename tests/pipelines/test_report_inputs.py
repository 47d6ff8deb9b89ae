"""What the report reads of a run folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.opening import open_run
from pipelines.runner import RunOutcome
from pipelines.stages.report import report_inputs


def test_patients_and_scans_may_be_called_by_numbers_or_na(
    finished: RunOutcome, tmp_path: Path
) -> None:
    run = shutil.copytree(finished.workspace.root, tmp_path / "run")
    quality = run / "quality.csv"
    head, *rows = quality.read_text(encoding="utf-8").splitlines()
    names = [("007", "NA"), ("0012", "0012"), *((f"0{i}", f"0{i}") for i in range(len(rows)))]
    renamed = [
        ",".join((*name, *row.split(",")[2:])) for name, row in zip(names, rows, strict=False)
    ]
    quality.write_text("\n".join([head, *renamed]) + "\n", encoding="utf-8")
    folds = run / "folds.csv"
    text = folds.read_text(encoding="utf-8").replace("sub-001", "NA").replace("sub-002", "007")
    folds.write_text(text, encoding="utf-8")
    inputs = report_inputs(*open_run(run, cache=finished.workspace.cache))
    assert inputs.quality is not None
    assert inputs.folds is not None
    assert inputs.quality["scan_id"].tolist()[:2] == ["007", "0012"]
    assert inputs.quality["patient_id"].tolist()[:2] == ["NA", "0012"]
    assert {"NA", "007"} <= set(inputs.folds["patient_id"])
