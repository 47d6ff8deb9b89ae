"""compare: two finished runs become a document and a page; what cannot be compared is refused."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

import pytest

from pipelines.runner import RunOutcome
from tests.pipelines.conftest import SmallJob, run_command


@pytest.fixture(scope="module")
def other_run(
    small_job: SmallJob, finished: RunOutcome, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same cohort and folds with another head."""
    out = tmp_path_factory.mktemp("other") / "other"
    words = [word for one in small_job.settings for word in ("--set", one)]
    cache = finished.workspace.cache
    code = run_command(
        *("run", "--manifest", str(small_job.manifest), "--out", str(out)),
        *("--cache", str(cache), "--until", "evaluate", *words),
        *("--set", "heads.kind=linear", "--set", "heads.inverse_l2=[10.0]"),
    )
    assert code == 0
    return out


def test_two_runs_are_compared_from_document_to_page(
    finished: RunOutcome, other_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = finished.workspace.root
    code = run_command("compare", str(first), str(other_run), "--out", str(tmp_path / "c"))
    document = json.loads((tmp_path / "c" / "comparison.json").read_text(encoding="utf-8"))
    page = (tmp_path / "c" / "index.html").read_text(encoding="utf-8")
    assert code == 0
    assert [run["name"] for run in document["runs"]] == [first.name, "other"]
    assert document["n_common"] == 8
    assert document["pairs"][0]["same_folds"]
    evaluation = json.loads(finished.workspace.evaluation.read_text(encoding="utf-8"))
    whole = document["runs"][0]["auc_all_patients"]
    assert whole["value"] == evaluation["patient"]["auc"]["value"]
    assert "heads.inverse_l2" in page
    shown = capsys.readouterr().out
    assert "8 patients in common" in shown
    # The same warning on every surface.
    [warning] = document["warnings"]
    assert warning["code"] == "synthetic_cohort"
    assert warning["text"] in page
    assert f"{warning['title']} {warning['text']}" in " ".join(shown.split())
    assert "Alzheimer's disease (AD)" in html.unescape(page)


def test_the_same_runs_give_the_same_bytes(
    finished: RunOutcome, other_run: Path, tmp_path: Path
) -> None:
    first = finished.workspace.root
    for name in ("one", "two"):
        run_command("compare", str(first), str(other_run), "--out", str(tmp_path / name))
    for file in ("comparison.json", "index.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_run_is_not_compared_with_itself(
    finished: RunOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(finished.workspace.root)
    assert run_command("compare", root, root, "--out", str(tmp_path)) == 2
    assert "two different run folders" in capsys.readouterr().err


def test_an_unfinished_run_says_which_stage_is_missing(
    finished: RunOutcome, other_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = shutil.copytree(other_run, tmp_path / "begun")
    (begun / "evaluation.json").unlink()
    code = run_command(
        "compare", str(finished.workspace.root), str(begun), "--out", str(tmp_path / "c")
    )
    assert code == 1
    assert "mri-transfer evaluate" in capsys.readouterr().err


def test_runs_of_the_same_folder_name_are_told_apart(
    finished: RunOutcome, other_run: Path, tmp_path: Path
) -> None:
    twin = shutil.copytree(other_run, tmp_path / "b" / finished.workspace.root.name)
    config = twin / "config.toml"
    settings = config.read_text(encoding="utf-8")
    config.write_text(settings.replace('kind = "local"', 'kind = "dask"'), encoding="utf-8")
    run_command("compare", str(finished.workspace.root), str(twin), "--out", str(tmp_path / "c"))
    document = json.loads((tmp_path / "c" / "comparison.json").read_text(encoding="utf-8"))
    assert document["runs"][1]["name"] == f"b/{twin.name}"
    page = (tmp_path / "c" / "index.html").read_text(encoding="utf-8")
    # Where scans were processed is no difference between runs.
    assert "executor.kind" not in page
    assert "heads.inverse_l2" in page
