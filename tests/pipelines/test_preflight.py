"""What the manifest cannot give is told before scans are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.errors import ConfigurationError, WeightsError
from pipelines import runner
from pipelines.config import read_config
from pipelines.plan.order import stage_named, stages_until
from pipelines.preflight import demand_possible, site_notes
from pipelines.runner import begin_run, run_pipeline
from tests.pipelines.conftest import SmallJob, run_command

COMBAT = ["harmonisation.kind=combat", 'harmonisation.preserve=["age"]']


def _cohort(folder: Path, *, labels: str = "AAAAAACCCCCC", sites: str = "ns" * 6) -> Manifest:
    rows = [
        {
            "patient_id": f"p{i:02d}",
            "session_id": "1",
            "path": f"s{i}.nii.gz",
            "label": {"A": "AD", "C": "CN", "M": "MCI"}[label],
            "age": 60 + i,
            "sex": "FM"[i % 2],
            "site": site.strip(),
            "volume": "",
        }
        for i, (label, site) in enumerate(zip(labels, sites, strict=True))
    ]
    path = folder / "manifest.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return read_manifest(path, check_files=False)


def _refused(manifest: Manifest, settings: Sequence[str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        demand_possible(manifest, read_config(None, settings))
    return str(caught.value)


def test_a_cohort_that_can_be_evaluated_passes(tmp_path: Path) -> None:
    demand_possible(_cohort(tmp_path), read_config(None, COMBAT))


@pytest.mark.parametrize(
    ("changes", "settings", "says"),
    [
        ({"labels": "AAACCCCCCCCM"}, [], "a label has fewer patients than folds (found AD: 3"),
        ({"labels": "AACCCCCCCCCC"}, ["folds.n_folds=2"], "too few training patients"),
        ({"labels": "M" * 12}, [], "no scan is labelled CN or AD"),
        ({}, ['evaluation.covariates=["agee"]'], "Did you mean age?"),
        ({}, ['evaluation.covariates=["volume"]'], "volume is missing for every patient"),
        ({}, [*COMBAT, "harmonisation.site_column=centre"], "not in the manifest (found centre"),
        ({}, [COMBAT[0], 'harmonisation.preserve=["agee"]'], "Did you mean age?"),
        ({"sites": " s" * 6}, COMBAT, "ComBat needs the site of every patient"),
        ({"sites": "s" * 12}, COMBAT, "ComBat needs two sites or more"),
        ({"sites": "n" + "s" * 11}, COMBAT, "a site has fewer than two training patients"),
        ({}, [COMBAT[0], 'harmonisation.preserve=["sex"]'], "sites cannot be told apart"),
        (
            {},
            ["explanation.atlas=gone.nii.gz", "explanation.atlas_labels=gone.csv"],
            "gone.nii.gz, gone.csv: cannot read the atlas",
        ),
    ],
)
def test_what_the_manifest_cannot_give_is_named(
    tmp_path: Path, changes: dict[str, str], settings: list[str], says: str
) -> None:
    assert says in _refused(_cohort(tmp_path, **changes), settings)


def test_an_atlas_is_not_missed_where_no_map_is_drawn(tmp_path: Path) -> None:
    settings = ["explanation.atlas=gone.nii.gz", "explanation.maps=false"]
    demand_possible(_cohort(tmp_path), read_config(None, settings))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    manifest = _cohort(tmp_path, labels="AAACCCCCCCCC", sites="s" * 12)
    said = _refused(manifest, [*COMBAT, 'evaluation.covariates=["agee"]'])
    assert "3 settings that the manifest does not support" in said
    for part in ("fewer patients than folds", "Did you mean age?", "two sites or more"):
        assert part in said


def test_a_site_that_occurs_at_a_second_visit_only_is_refused(tmp_path: Path) -> None:
    manifest = _cohort(tmp_path)
    scans = manifest.scans
    again = scans.iloc[[0, 3]].assign(session_id="2", scan_id=["x", "y"], site=["west", "s"])
    pd.concat([scans, again]).to_csv(tmp_path / "two.csv", index=False)
    two = read_manifest(tmp_path / "two.csv", check_files=False)
    said = _refused(two, COMBAT)
    assert "one site a patient" in said
    assert "p00: n, west" in said
    assert "p03" not in said
    demand_possible(two, read_config(None, []))
    assert any("1 patient was scanned at several sites" in note for note in site_notes(two))


def test_runs_that_end_with_the_features_need_no_folds(tmp_path: Path) -> None:
    manifest = _cohort(tmp_path, labels="A" * 12)
    demand_possible(manifest, read_config(None, ["labels.unlabelled=keep"]))


def _few(small_job: SmallJob, tmp_path: Path, *, folds: int) -> runner.Workspace:
    settings = [*small_job.settings, f"folds.n_folds={folds}"]
    config = read_config(None, settings)
    return begin_run(small_job.manifest, tmp_path / "run", config, cache=tmp_path / "cache")


def test_a_run_stops_before_anything_is_checked_and_the_command_check_tells_it_too(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [part for setting in small_job.settings for part in ("--set", setting)]
    words += ["--set", "folds.n_folds=7", "--manifest", str(small_job.manifest)]
    out = tmp_path / "run"
    cache = ["--cache", str(tmp_path / "cache")]
    assert run_command("run", *words, "--out", str(out), *cache) == 2
    assert "fewer patients than folds" in capsys.readouterr().err
    assert not list((out / "records").glob("*.json"))
    workspace = _few(small_job, tmp_path, folds=7)
    assert run_command("check", str(workspace.root), *cache) == 2
    assert "fewer patients than folds" in capsys.readouterr().err
    # A run that ends before the folds has no need of them.
    config = read_config(workspace.config)
    assert run_pipeline(workspace, config, stages=stages_until("check")[:0]).records == ()


def test_scans_that_cannot_be_read_may_leave_too_few(small_job: SmallJob, tmp_path: Path) -> None:
    table = pd.read_csv(small_job.manifest, dtype=str, keep_default_na=False)
    table["path"] = [str(small_job.manifest.parent / path) for path in table["path"]]
    patients = table[table["label"] == "AD"]["patient_id"].unique()
    n = len(patients)
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    table.loc[table["patient_id"] == patients[0], "path"] = str(bad)
    table = table[~table.duplicated("patient_id")]
    table.to_csv(tmp_path / "m.csv", index=False)
    config = read_config(None, [*small_job.settings, f"folds.n_folds={n}"])
    workspace = begin_run(tmp_path / "m.csv", tmp_path / "run", config, cache=tmp_path / "cache")
    with pytest.raises(
        ConfigurationError, match=rf"found AD: {n - 1}.*1 scans were refused.*refused\.csv"
    ):
        run_pipeline(workspace, config, stages=[stage_named("check")])


def test_missing_weights_are_told_at_the_start(small_job: SmallJob, tmp_path: Path) -> None:
    workspace = _few(small_job, tmp_path, folds=2)
    missing = tmp_path / "none.onnx"
    with pytest.raises(WeightsError, match="no such weights file"):
        run_pipeline(workspace, read_config(workspace.config), weights=missing)
    assert not list((workspace.root / "records").glob("*.json"))
