"""Parts of a cohort, made by several jobs on one cache: together they are the whole."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import ConfigurationError
from pipelines.shards import Shard
from tests.pipelines.conftest import SmallJob, run_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "1/2/3", "-1/2", ""])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--shard"):
        Shard.parse(text)


def test_parts_are_disjoint_and_together_the_cohort_in_whatever_order(small_job: SmallJob) -> None:
    cohort = read_manifest(small_job.manifest)
    parts = [set(Shard.parse(f"{i}/3").of(cohort).scans["scan_id"]) for i in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == sorted(cohort.scans["scan_id"])
    assert {len(part) for part in parts} <= {3, 4}
    other = dataclasses.replace(cohort, scans=cohort.scans.iloc[::-1].reset_index(drop=True))
    assert set(Shard.parse("2/3").of(other).scans["scan_id"]) == parts[1]
    with pytest.raises(ConfigurationError, match="11 parts"):
        Shard.parse("1/11").of(cohort)


def test_a_part_has_no_folds(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--manifest", str(small_job.manifest), "--out", str(tmp_path / "run"), "--shard"]
    assert run_command("run", *words, "1/2", "--cache", str(tmp_path / "cache")) == 2
    assert "--until features" in capsys.readouterr().err


@pytest.mark.slow
def test_parts_made_at_the_same_time_are_what_one_run_makes(
    small_job: SmallJob, tmp_path: Path
) -> None:
    settings = [word for text in small_job.settings for word in ("--set", text)]

    def run(out: str, cache: str, *more: str) -> subprocess.Popen[str]:
        given = {"--manifest": small_job.manifest, "--out": tmp_path / out}
        given |= {"--cache": tmp_path / cache, "--until": "features", "--jobs": 1}
        words = [str(word) for pair in given.items() for word in pair]
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.commands.cli", "run", *words, *settings, *more],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    # Two for the same part: they do the same work twice, and harm nobody.
    parts = [run("run", "cache", "--shard", f"{i}/2") for i in (1, 2)]
    parts.append(run("again", "cache", "--shard", "2/2"))
    for part in parts:
        printed, _ = part.communicate(timeout=600)
        assert part.returncode == 0, printed
    whole = run("run", "cache")
    printed, _ = whole.communicate(timeout=600)
    assert whole.returncode == 0, printed
    assert "0 computed" in printed
    alone = run("alone", "other")
    assert alone.wait(600) == 0
    assert _files(tmp_path / "cache") == _files(tmp_path / "other")
    for name in ("manifest.csv", "prepared.csv", "slices.csv", "features.csv", "quality.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    part = pd.read_csv(tmp_path / "run" / "shards" / "1_of_2" / "manifest.csv")
    assert len(part) == len(read_manifest(small_job.manifest).scans) / 2


def _files(cache: Path) -> dict[str, bytes]:
    """Every entry of a cache but for how long it took."""
    return {
        path.relative_to(cache).as_posix(): path.read_bytes()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.parent.name != "rates"
    }
