"""Runs from Python."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mri_transfer
from mri_transfer.errors import ConfigurationError, RunFolderError
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob


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
