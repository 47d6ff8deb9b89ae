"""Runs from Python."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mri_transfer
from mri_transfer.errors import ConfigurationError, RunFolderError
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_readmes_example_runs_as_a_script(
    own: Workspace, small_job: SmallJob, tmp_path: Path
) -> None:
    """At the top level, with nothing around it, although worker processes prepare scans."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(import mri_transfer\n\nrun = .*?)```", text, re.DOTALL)
    small = block.replace('settings=["heads.kind=attention"]', f"settings={small_job.settings}")
    assert small != block
    script = tmp_path / "script.py"
    script.write_text(f"print('once')\n{small}\nprint(len(scores), len(earlier.predictions()))\n")
    shutil.copy(small_job.manifest, tmp_path / "cohort.csv")
    shutil.copytree(small_job.cohort, tmp_path / "cohort")
    own.root.rename(tmp_path / "another_run")
    # With them no scan would have to be prepared.
    shutil.rmtree(own.cache / "prepared")
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MRI_TRANSFER_CACHE": str(own.cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "once\n16 16\n"


def test_the_package_offers_what_its_docstring_lists() -> None:
    for name in mri_transfer.__all__:
        assert getattr(mri_transfer, name) is not None
        assert name == "__version__" or f"`{name}`" in (mri_transfer.__doc__ or "")
    assert set(dir(mri_transfer)) == set(mri_transfer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod_bundle'"):
        _ = mri_transfer.lod_bundle


def test_results_are_tables(own: Workspace) -> None:
    run = mri_transfer.load_run(own.root, cache=own.cache)
    scores = run.predictions()
    assert len(scores) == 2 * run.evaluation.n_patients
    assert len(run.predictions("slices")) > len(scores)
    assert set(run.folds()["patient_id"]) == set(scores["patient_id"])
    assert run.excluded().empty
    assert run.report.is_file()
    assert list(run.manifest.scans["scan_id"]) == list(run.features().scan_ids)
    auc = run.evaluation.patient.auc.value
    assert f"{auc:.3f}" in run._repr_html_()
    figures = run.tables()["figures"]
    (row,) = figures.query("section == 'patient' and metric == 'auc'").to_dict("records")
    assert row["value"] == auc
    frame, table = run.features_frame(), run.features()
    assert len(frame) == table.features.shape[0] * table.features.shape[1]
    assert set(frame["scan_id"]) == set(run.manifest.scans["scan_id"])
    assert [stack.scan_id for stack in run.slices()] == list(table.scan_ids)


def test_notebooks_show_what_runs_manifests_and_features_hold(own: Workspace) -> None:
    run = mri_transfer.load_run(own.root, cache=own.cache)
    assert "Synthetic cohort." in run._repr_html_()
    shown = run.manifest._repr_html_()
    assert run.manifest.scans["scan_id"][0] in shown
    assert "/cohort/" not in shown.partition("</table>")[2]  # long paths say nothing
    assert "slices per scan" in run.features()._repr_html_()
    own.evaluation.write_text("{}")
    assert (
        "evaluation.json has changed"
        in mri_transfer.load_run(own.root, cache=own.cache)._repr_html_()
    )


def test_an_edited_result_is_refused(own: Workspace) -> None:
    table = pd.read_csv(own.patient_scores, dtype=str)
    table["score"] = "0.5"
    table.to_csv(own.patient_scores, index=False)
    with pytest.raises(RunFolderError, match=r"patients\.csv"):
        mri_transfer.load_run(own.root, cache=own.cache).predictions()


def test_a_run_is_made_once_and_a_setting_cannot_change_a_ready_configuration(
    own: Workspace, small_job: SmallJob
) -> None:
    before = own.patient_scores.stat().st_mtime_ns
    run = mri_transfer.run(
        small_job.manifest, own.root, settings=small_job.settings, cache=own.cache
    )
    assert own.patient_scores.stat().st_mtime_ns == before
    with pytest.raises(ConfigurationError, match="with a RunConfig"):
        mri_transfer.run(small_job.manifest, own.root, config=run.config, settings=["seed=1"])


def test_a_scan_encoded_alone_has_the_features_of_the_run(own: Workspace) -> None:
    run = mri_transfer.load_run(own.root, cache=own.cache)
    config, row = run.config, run.manifest.scans.iloc[0]
    scan = mri_transfer.encode_scan(
        Path(row["path"]),
        preparation=config.preparation,
        slices=config.slices,
        features=config.features,
    )
    known = run.features().scans()[0]
    assert known.scan_id == row["scan_id"]
    np.testing.assert_array_equal(scan.features, known.features)


def test_reading_a_name_imports_its_module_only() -> None:
    module = importlib.import_module("mri_transfer")
    assert set(module._MODULE_OF) | {"MriTransferError", "__version__"} == set(module.__all__)
