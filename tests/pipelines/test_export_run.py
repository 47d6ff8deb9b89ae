"""A run's features and slices as files, a dry run, and the log, on a real small run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mri_transfer
from pipelines.names import STAGE_HELP
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob, run_command


def test_features_are_written_as_the_run_has_them(own: Workspace, tmp_path: Path) -> None:
    out, cache = tmp_path / "out", ("--cache", str(own.cache))
    words = ("export-features", str(own.root), "--out", str(out), *cache)
    assert run_command(*words, "--npz", "--parquet", "--quiet") == 0
    table = mri_transfer.load_run(own.root, cache=own.cache).features()
    with np.load(out / "features.npz") as found:
        np.testing.assert_array_equal(found["features"], table.features)
    rows = pd.read_parquet(out / "features.parquet")
    assert len(rows) == table.features.shape[0] * table.features.shape[1]
    assert sorted(path.name for path in out.iterdir()) == ["features.npz", "features.parquet"]
    assert run_command(*words) == 2


def test_slices_are_written_as_the_trunk_is_given_them(
    own: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cache = tmp_path / "out", ("--cache", str(own.cache))
    first, *_ = mri_transfer.load_run(own.root, cache=own.cache).slices()
    words = ("export-slices", str(own.root), "--out", str(out), "--png", *cache)
    assert run_command(*words, "--scan", first.scan_id) == 0
    table = pd.read_csv(out / "slices.csv")
    assert set(table["scan_id"]) == {first.scan_id}
    assert table["z_mm"].tolist() == pytest.approx(first.z_mm.tolist())
    pictures = [np.asarray(Image.open(out / name)) for name in table["file"]]
    np.testing.assert_array_equal(pictures, first.pixels)
    assert run_command(*words, "--scan", "nobody") == 2
    assert "nobody" in capsys.readouterr().err


def test_a_dry_run_says_what_would_run_and_changes_nothing(
    own: Workspace, small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [part for setting in small_job.settings for part in ("--set", setting)]

    def dry(out: Path, *more: str) -> str:
        words = ("run", "--manifest", str(small_job.manifest), "--out", str(out))
        assert run_command(*words, *settings, "--cache", str(own.cache), "--dry-run", *more) == 0
        return capsys.readouterr().out

    before = {path: path.stat().st_mtime_ns for path in own.root.rglob("*")}
    assert "every stage would run" in dry(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    said = dry(own.root)
    assert said.count("current, nothing to do") == len(STAGE_HELP)
    assert "in all" not in said
    said = dry(own.root, "--overwrite", "--set", "folds.n_repeats=3")
    by_stage = dict(line.split(maxsplit=1) for line in said.splitlines() if line[:1].isalpha())
    assert by_stage["features"] == "current, nothing to do"
    assert "different folds.n_repeats" in by_stage["folds"]
    assert by_stage["train"].startswith("would run again")
    # Ten scans were prepared when the run was made: their rate is known.
    assert "measured on" in dry(tmp_path / "new", "--until", "features")
    assert {path: path.stat().st_mtime_ns for path in own.root.rglob("*")} == before


def test_the_log_holds_why_and_how_long(own: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    own.log.unlink(missing_ok=True)
    words = (str(own.root), "--cache", str(own.cache))
    assert run_command("folds", *words) == 0
    assert not own.log.exists()
    assert "nothing to do" in capsys.readouterr().out
    own.folds.unlink()
    assert run_command("folds", *words, "--quiet") == 0
    assert capsys.readouterr().out == ""
    text = own.log.read_text()
    assert "folds: runs, since folds.csv has changed since `folds` wrote it" in text
    assert "patients in 2 folds" in text
    assert text.rstrip().endswith("finished")
    own.folds.unlink()
    assert run_command("folds", *words, "--verbose") == 0
    said = capsys.readouterr().out
    assert "runs, since" in said
    assert " s)" in said
