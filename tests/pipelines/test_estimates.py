"""Estimates: measured rates first, a reference else, and nothing where nothing is known."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest

from pipelines.config import read_config
from pipelines.estimates import PlannedWork, estimate_lines, estimate_stages
from pipelines.jobs.plan import plan_cohort, plan_lines
from pipelines.plan.models import EXPLAIN, TRAIN
from pipelines.plan.scans import FEATURES, PREPARE
from pipelines.rates import keep_rate, known_rate
from tests.pipelines.conftest import run_command


@pytest.fixture
def work(tmp_path: Path) -> PlannedWork:
    return PlannedWork(
        config=read_config(None), n_scans=100, n_patients=80, cache=tmp_path / "cache", workers=4
    )


def _seconds(work: PlannedWork, stage) -> float | None:
    (estimate,) = estimate_stages(work, [stage])
    return estimate.seconds


def test_a_measured_rate_is_scaled_to_scans_and_workers(work: PlannedWork) -> None:
    # 50 scans took 100 s on 2 cores: 4 processor seconds each.
    keep_rate(work.cache, FEATURES, work.config, seconds=100, n=50, workers=2)
    assert known_rate(work.cache, FEATURES, work.config).core_s == 4
    (estimate,) = estimate_stages(work, [FEATURES])
    assert estimate.seconds == pytest.approx(100 * 4 / 4)
    assert socket.gethostname() in estimate.source


def test_stages_after_the_folds_go_by_patients(work: PlannedWork) -> None:
    keep_rate(work.cache, TRAIN, work.config, seconds=10, n=20, workers=1)
    assert _seconds(work, TRAIN) == pytest.approx(10 / 20 * 80 / 4)


def test_a_rate_holds_for_its_settings_alone(work: PlannedWork) -> None:
    keep_rate(work.cache, FEATURES, work.config, seconds=100, n=50, workers=2)
    other = read_config(None, ["slices.size_px=96"])
    assert known_rate(work.cache, FEATURES, other) is None
    same = read_config(None, ["heads.kind=attention"])
    assert known_rate(work.cache, FEATURES, same) is not None


def test_a_few_scans_say_nothing(work: PlannedWork) -> None:
    keep_rate(work.cache, FEATURES, work.config, seconds=100, n=3, workers=2)
    assert known_rate(work.cache, FEATURES, work.config) is None


def test_an_edited_rate_is_not_used(work: PlannedWork) -> None:
    keep_rate(work.cache, FEATURES, work.config, seconds=100, n=50, workers=2)
    (file,) = (work.cache / "rates").iterdir()
    file.write_text(file.read_text().replace('"core_s": 4.0', '"core_s": "fast"'))
    assert known_rate(work.cache, FEATURES, work.config) is None


def test_the_reference_grows_with_the_operations_of_the_trunk(work: PlannedWork) -> None:
    half = read_config(None, ["slices.n_slices=16"])
    assert _seconds(dataclasses.replace(work, config=half), FEATURES) == pytest.approx(
        _seconds(work, FEATURES) / 2
    )
    quick = read_config(None, ["explanation.maps=false"])
    assert _seconds(dataclasses.replace(work, config=quick), EXPLAIN) < 1


def test_what_was_never_measured_is_not_made_up(work: PlannedWork) -> None:
    attention = read_config(None, ["heads.kind=attention"])
    other = dataclasses.replace(work, config=attention)
    assert _seconds(other, TRAIN) is None
    lines = list(estimate_lines(estimate_stages(other)))
    assert any(line.split()[:2] == ["train", "unknown"] for line in lines)
    assert any(line.startswith("at least") for line in lines)


def test_ready_scans_take_less_preparation(work: PlannedWork) -> None:
    ready = dataclasses.replace(work, config=read_config(None, ["preparation.scans=none"]))
    assert _seconds(ready, PREPARE) < _seconds(work, PREPARE) / 3


def _manifest(path: Path, n: int) -> Path:
    rows = "".join(f"p{i // 2},p{i // 2}_{i % 2},scan{i}.nii,CN\n" for i in range(n))
    path.write_text("patient_id,scan_id,path,label\n" + rows)
    return path


def test_a_plan_is_linear_in_scans_and_reads_none(tmp_path: Path) -> None:
    config, cache = read_config(None), tmp_path / "cache"
    plans = [
        plan_cohort(_manifest(tmp_path / "m.csv", n), config, cache=cache, workers=8, task_s=3600)
        for n in (2_000, 4_000)
    ]
    one, two = plans
    assert (one.work.n_scans, one.work.n_patients) == (2_000, 1_000)
    assert two.scan_core_s == pytest.approx(2 * one.scan_core_s)
    assert two.cache_bytes == 2 * one.cache_bytes
    # Every task takes an hour at most, and none is left over.
    assert one.scan_core_s / one.array_size <= 3600
    assert one.scan_core_s / (one.array_size - 1) > 3600
    assert one.scans_per_task * one.array_size >= 2_000
    text = "\n".join(plan_lines(one))
    assert f"{one.array_size} tasks of {one.scans_per_task} scans" in text


def test_slices_and_features_are_counted_in_bytes(tmp_path: Path) -> None:
    settings = ["preparation.scans=none", "search.space=none", "slices.n_slices=10"]
    manifest = _manifest(tmp_path / "m.csv", 100)
    sizes = [
        plan_cohort(
            manifest, read_config(None, [*settings, more]), cache=tmp_path, workers=1, task_s=60
        ).cache_bytes
        for more in ("slices.size_px=64", "slices.size_px=128")
    ]
    assert sizes[1] - sizes[0] == 100 * 10 * (128**2 - 64**2)


def test_the_command_prints_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = _manifest(tmp_path / "m.csv", 60)
    words = ["plan", str(manifest), "--workers", "16", "--cache", str(tmp_path / "cache")]
    assert run_command(*words) == 0
    said = capsys.readouterr().out
    assert "60 scans of 30 patients" in said
    assert "16 cores" in said
    assert not (tmp_path / "cache").exists()


def test_a_large_cohort_needs_features_once_where_linear_heads_are_not_searched(
    tmp_path: Path,
) -> None:
    manifest = _manifest(tmp_path / "m.csv", 60_000)
    once, several = (
        plan_cohort(
            manifest, read_config(None, settings), cache=tmp_path, workers=1, task_s=60
        ).memory_bytes
        for settings in (["search.space=none"], ["search.space=none", "heads.zones=3"])
    )
    features = 60_000 * 32 * 512 * 4
    assert several - once == 2 * features
