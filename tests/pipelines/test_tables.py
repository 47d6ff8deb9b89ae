"""The tables of a run: written whole, described column by column, and never out of date."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.errors import RunFolderError
from mri_transfer.evaluation import EvaluationDocument
from mri_transfer.evaluation.audit import AuditDocument
from pipelines.stages.tables import write_tables
from pipelines.workspace import Workspace
from tests.documents import ODD_NAME, audit_document, bare_audit_document, evaluation_document

R_TYPES = {"logical": "boolean", "integer": "Int64", "numeric": "float64", "character": "str"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A run that has come as far as its audit."""
    made = Workspace(root=tmp_path / "run", cache=tmp_path / "cache")
    EvaluationDocument.model_validate(evaluation_document()).write(made.evaluation)
    AuditDocument.model_validate(audit_document()).write(made.audit)
    return made


def _read(folder: Path, name: str) -> pd.DataFrame:
    """Read a table as the README tells R to."""
    columns = pd.read_csv(folder / "columns.csv", keep_default_na=False)
    known = columns[columns["table"] == name]
    return pd.read_csv(
        folder / f"{name}.csv",
        keep_default_na=False,
        na_values=[""],
        dtype={row.column: R_TYPES[row.type] for row in known.itertuples()},
        true_values=["TRUE"],
        false_values=["FALSE"],
    )


def test_every_table_lies_in_the_folder_and_in_the_dictionary(workspace: Workspace) -> None:
    written = write_tables(workspace)
    assert sorted(workspace.tables.iterdir()) == sorted(written)
    columns = pd.read_csv(workspace.tables / "columns.csv", keep_default_na=False)
    assert (columns["description"].str.len() > 5).all()
    for path in written:
        name = path.stem
        if path.suffix == ".csv" and name != "columns":
            listed = columns.loc[columns["table"] == name, "column"].tolist()
            assert list(_read(workspace.tables, name).columns) == listed
    assert set(columns["type"]) == set(R_TYPES)
    text = (workspace.tables / "README.md").read_text(encoding="utf-8")
    for name in set(columns["table"]):
        assert f"\n## {name}\n" in text
    assert "| `auc_difference` | numeric | AUC of the model minus that of the baseline" in text
    assert "`auc_difference_ci_low`" not in text


def test_what_is_read_back_is_what_the_documents_hold(workspace: Workspace) -> None:
    write_tables(workspace)
    content = evaluation_document()
    patients = _read(workspace.tables, "figures").query("section == 'patient'")
    assert dict(zip(patients["metric"], patients["value"], strict=True)) == pytest.approx(
        {name: entry["value"] for name, entry in content["patient"].items()}, rel=0, abs=0
    )
    failures = _read(workspace.tables, "failures")
    assert failures["patient_id"].tolist() == [row["patient_id"] for row in content["failures"]]
    assert ODD_NAME in set(failures["patient_id"])
    checks = _read(workspace.tables, "checks")
    assert checks["passed"].tolist() == [one["passed"] for one in audit_document()["checks"]]


def test_writing_again_changes_nothing(workspace: Workspace) -> None:
    first = {path: path.read_bytes() for path in write_tables(workspace)}
    assert {path: path.read_bytes() for path in write_tables(workspace)} == first


def test_tables_that_the_run_no_longer_has_are_removed(workspace: Workspace) -> None:
    write_tables(workspace)
    own = workspace.tables / "notes.csv"
    own.write_text("mine\n")
    AuditDocument.model_validate(bare_audit_document()).write(workspace.audit)
    assert (workspace.tables / "robustness.csv").exists()
    written = write_tables(workspace)
    assert not (workspace.tables / "robustness.csv").exists()
    assert sorted(workspace.tables.iterdir()) == sorted([*written, own])
    workspace.audit.unlink()
    write_tables(workspace)
    assert not (workspace.tables / "checks.csv").exists()
    assert (workspace.tables / "figures.csv").exists()


def test_without_an_evaluation_there_are_no_tables(workspace: Workspace) -> None:
    workspace.evaluation.unlink()
    with pytest.raises(RunFolderError, match="mri-transfer evaluate"):
        write_tables(workspace)
    assert not workspace.tables.exists()
