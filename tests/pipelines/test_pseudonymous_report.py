"""The report that may leave the hospital: no file of it names a patient of the run."""

from __future__ import annotations

import dataclasses
import html
import shutil
from pathlib import Path

import pypdf
import pytest

from pipelines.names import STAGE_HELP
from pipelines.opening import open_run
from pipelines.runner import RunOutcome
from pipelines.workspace import Workspace
from tests.pipelines.conftest import run_command
from tests.pipelines.planted import vouch

#: Ids of the small cohort, and what they are renamed to. None is a word or a short number: those
#: are told apart by place, which the tests of the library look at.
ODD = {
    "sub-001": "<script>alert(1)<script>",
    "sub-002": "..&x",
    "sub-003": "OAS-7",
    "sub-004": "OAS-77",
    "sub-005": "20481733",
}


def renamed_copy(workspace: Workspace, root: Path) -> Workspace:
    """Copy a run and rename its patients in every table and document that a report reads."""
    shutil.copytree(workspace.root, root)
    for file in root.rglob("*"):
        if file.suffix in (".csv", ".json") and "records" not in file.parts:
            text = file.read_text(encoding="utf-8")
            for old, new in ODD.items():
                text = text.replace(old, new)
            file.write_text(text, encoding="utf-8")
    renamed = dataclasses.replace(workspace, root=root)
    vouch(renamed, open_run(root)[1], *STAGE_HELP)
    return renamed


def texts(folder: Path) -> dict[str, str]:
    """Return what each file says, without the escapes of its format."""
    found = {}
    for file in sorted(folder.iterdir()):
        if file.suffix == ".pdf":
            pages = pypdf.PdfReader(file).pages
            found[file.name] = "".join(page.extract_text() for page in pages)
        else:
            found[file.name] = html.unescape(file.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def job(finished: RunOutcome, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    folder = tmp_path_factory.mktemp("pseudonymous")
    workspace = renamed_copy(finished.workspace, folder / "run")
    words = ("--pseudonymise", str(folder / "key"), "--cache", str(workspace.cache))
    assert run_command("report", str(workspace.root), *words) == 0
    return workspace, folder / "key"


def test_no_id_of_the_run_is_in_any_file(job: tuple[Workspace, Path]) -> None:
    workspace, _ = job
    manifest = workspace.manifest.read_text(encoding="utf-8")
    ids = {line.split(",")[0] for line in manifest.splitlines()[1:]}
    assert set(ODD.values()) <= ids
    found = texts(workspace.pseudonymous_report)
    assert set(found) == {
        path.name
        for path in (workspace.report, workspace.report_pdf, workspace.report_summary,
                     workspace.report_json,
                     workspace.model_card, workspace.data_sheet)
    }  # fmt: skip
    for name, text in found.items():
        for patient in ids:
            assert patient not in text, (name, patient)
        for place in (str(workspace.root), "quality/", "../", "/cohort/"):
            assert place not in text, (name, place)
    assert "P-" in found["index.html"]


def test_the_same_key_makes_the_same_bytes(job: tuple[Workspace, Path]) -> None:
    workspace, key = job
    folder = workspace.pseudonymous_report
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    words = ("--pseudonymise", str(key), "--cache", str(workspace.cache))
    assert run_command("report", str(workspace.root), *words) == 0
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_key_inside_the_run_is_wrong_usage(
    job: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = job
    inside = workspace.root / "key"
    assert run_command("report", str(workspace.root), "--pseudonymise", str(inside)) == 2
    assert "inside the run" in capsys.readouterr().err
    assert not inside.exists()
