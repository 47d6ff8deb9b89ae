"""A planted leak of each kind is caught by its check, and its clean twin passes."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest

from mri_transfer.cohorts.circular_covariates import refuse_circular
from mri_transfer.errors import ConfigurationError, FoldError
from mri_transfer.evaluation import BaselineSpec, baseline_scores, find_caveats
from mri_transfer.evaluation.audit import ScanIdentity, find_duplicates
from mri_transfer.evaluation.audit.blinding import blinded_refit
from mri_transfer.evaluation.audit.preprocessing import check_preprocessing
from mri_transfer.evaluation.audit.provenance import check_provenance
from mri_transfer.evaluation.audit.similarity import similar_scans
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.task import Task
from mri_transfer.models.features import FeatureTable, ScanFeatures
from mri_transfer.training.folds import Folds, make_folds
from mri_transfer.training.settings import FoldSpec
from tests.audit_records import STEPS, cohort, failed, procedure, reader, records
from tests.documents import evaluation_with
from tests.synthetic import feature_table, folds_of


def _provenance(run: dict) -> set[str]:
    run = dict(run)
    return failed(check_provenance(run.pop("facts"), **run))


def _blinded(refit) -> list[dict]:
    table, folds = cohort()
    trained = [refit(reader(table), folds, (one.repeat, one.fold)) for one in folds]
    return blinded_refit(
        refit, reader(table), folds, trained, labels=("AD", "CN"), n_checked=2, seed=0
    )


# What is fitted or chosen with the test patients in view -------------------------------------


def test_clean_twin_of_every_step_fitted_outside_the_fold() -> None:
    assert failed(_blinded(procedure())) == set()


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("scaler", "tensor weight"),
        ("harmonisation", "tensor weight"),
        ("selection", "tensor weight"),
        ("threshold", "fact threshold"),
        ("inner scores", "fact recalibration"),
    ],
)
def test_a_step_that_sees_the_test_patients_changes_when_they_are_blinded(step, what) -> None:
    assert step in STEPS
    checks = _blinded(procedure(step))
    assert failed(checks) == {"test_patients_blinded"}
    assert what in {found["what"] for found in checks[1].found}


def test_a_head_fitted_on_its_test_patients_changes_when_they_are_blinded() -> None:
    clean = procedure()

    def trained_on_all(read, folds, place):
        # Nobody is held out: the fold that is asked for does not exist.
        one = clean(read, folds, (place[0], -1))
        return dataclasses.replace(one, fold=place[1])

    assert "test_patients_blinded" in failed(_blinded(trained_on_all))


def test_a_threshold_that_says_it_was_chosen_on_the_test_patients_is_caught_by_its_record() -> None:
    table, folds = cohort()
    run = records(table, folds)
    assert _provenance(run) == set()
    leaky = procedure("threshold")
    run["facts"] = {
        place: dict(leaky(reader(table), folds, place).head.facts) for place in run["facts"]
    }
    assert _provenance(run) == {"thresholds_from_training"}


def test_an_inner_score_of_a_test_patient_is_caught_by_its_record() -> None:
    table, folds = cohort()
    run = records(table, folds)
    assert _provenance(run) == set()
    name = run["folds"].query("fold == 2")["patient_id"].iloc[0]
    run["inner"].loc[len(run["inner"])] = [0, 2, name]
    assert _provenance(run) == {"inner_scores_of_training"}


# One person on both sides ---------------------------------------------------------------------


def test_a_patient_in_training_and_in_test_is_caught_by_the_records() -> None:
    table, folds = cohort()
    run = records(table, folds)
    assert _provenance(run) == set()
    shared = run["folds"].query("fold == 0")["patient_id"].iloc[0]
    scan = run["features"].query("patient_id == @shared").iloc[0]
    run["facts"][0, 0]["training_patients"].append(shared)
    run["facts"][0, 0]["training_scans"][scan["scan_id"]] = scan["scan_sha256"]
    assert {"no_test_patient_seen", "no_test_scan_seen"} <= _provenance(run)


def test_a_patient_in_two_folds_cannot_be_written_down_or_is_caught() -> None:
    with pytest.raises(FoldError):
        make_folds(["p1", "p1", "p2", "p3"], ["AD", "AD", "CN", "CN"], spec=FoldSpec(), seed=0)
    with pytest.raises(FoldError):
        Folds(patient_ids=("p1", "p1"), labels=("AD", "CN"), assignment=np.zeros((1, 2), int))
    table, folds = cohort()
    run = records(table, folds)
    extra = run["folds"].iloc[[0]].assign(fold=lambda row: (row["fold"] + 1) % 4)
    run["folds"] = pd.concat([run["folds"], extra], ignore_index=True)
    assert "folds_partition" in _provenance(run)


def test_sessions_of_one_patient_on_both_sides_are_caught_by_the_records() -> None:
    table, folds = cohort(two_sessions=6)
    run = copy.deepcopy(records(table, folds))
    assert _provenance(run) == set()
    scans = run["features"].groupby("patient_id")["scan_id"].agg(list)
    held = run["folds"].query("fold == 1")["patient_id"]
    first = next(scans[name][0] for name in held if len(scans[name]) == 2)
    sha256 = run["features"].set_index("scan_id")["scan_sha256"][first]
    run["facts"][0, 1]["training_scans"][first] = sha256
    assert {"sessions_together", "no_test_scan_seen"} <= _provenance(run)


def _with_a_copy(noise: float) -> tuple[FeatureTable, Folds, Folds]:
    """A cohort in which `copy` is `p000` again; folds that part them, and folds that do not."""
    table, labels = feature_table(n_patients=24, n_slices=4, n_features=40, identity=2.0)
    rng = np.random.default_rng(0)
    again = table.features[:1] + noise * rng.standard_normal(table.features[:1].shape)
    same = noise == 0.0
    copied = FeatureTable(
        scan_ids=(*table.scan_ids, "copied_scan"),
        patient_ids=(*table.patient_ids, "copy"),
        scan_sha256=(*table.scan_sha256, table.scan_sha256[0] if same else "f" * 64),
        features=np.concatenate([table.features, again.astype(np.float32)]),
        z_mm=np.concatenate([table.z_mm, table.z_mm[:1]]),
    )
    folds = folds_of(copied, np.append(labels, labels[0]))
    a, b = (folds.patient_ids.index(name) for name in ("p000", "copy"))
    together, apart = folds.assignment.copy(), folds.assignment.copy()
    together[:, b], apart[:, b] = folds.assignment[:, a], (folds.assignment[:, a] + 1) % 4
    return copied, *(dataclasses.replace(folds, assignment=one) for one in (apart, together))


def test_a_duplicated_scan_under_another_id_is_caught_by_content() -> None:
    table, apart, together = _with_a_copy(noise=0.0)
    caught = {"no_content_on_both_sides", "no_test_scan_seen"}
    assert _provenance(records(table, apart)) == caught
    assert _provenance(records(table, together)) == set()
    scans = [
        ScanIdentity(scan_id=scan, patient_id=owner, content_sha256=sha256)
        for scan, owner, sha256 in zip(
            table.scan_ids, table.patient_ids, table.scan_sha256, strict=True
        )
    ]
    assert [pair.across_patients for pair in find_duplicates(scans)] == [True]
    assert find_duplicates(scans[:-1]) == []


def test_a_disguised_copy_under_another_id_is_caught_by_its_features() -> None:
    table, apart, together = _with_a_copy(noise=0.7)
    assert _provenance(records(table, apart)) == set()
    for folds, across in ((apart, True), (together, False)):
        (pair,) = similar_scans(table, folds=folds)
        assert {pair.patient_a, pair.patient_b} == {"p000", "copy"}
        assert pair.across_folds is across
    clean, labels = feature_table(n_patients=24, n_slices=4, n_features=40, identity=2.0)
    assert similar_scans(clean, folds=folds_of(clean, labels)) == ()


# The label where it does not belong -----------------------------------------------------------


def test_a_covariate_that_the_label_is_made_from_is_refused_by_name() -> None:
    for name in ("cdr", "MMSE", "diagnosis"):
        with pytest.raises(ConfigurationError):
            refuse_circular([name])
    refuse_circular(["age", "nwbv"])


def _baseline_caveats(covariate: np.ndarray) -> set[str]:
    _, folds = cohort()
    patients = pd.DataFrame({"scanner_code": covariate}, index=list(folds.patient_ids))
    scores = baseline_scores(
        BaselineSpec(covariates=("scanner_code",)),
        patients=patients,
        folds=folds.table(),
        task=Task(positive="AD", negative="CN"),
        seed=0,
    )
    value = auc((scores["label"] == "AD").astype(int), scores["score"])
    known = {"value": 0.7, "ci_low": 0.6, "ci_high": 0.8}
    fitted = {"value": 0.0, "ci_low": -1.0, "ci_high": 2.0}
    difference = {"value": 0.1, "ci_low": 0.05, "ci_high": 0.2}
    document = {
        "synthetic": False,
        "trunk_weights": "imagenet",
        "positive_label": "AD",
        "negative_label": "CN",
        "n_patients": 24,
        "n_positive": 12,
        "patient": {
            "auc": known,
            "calibration_intercept": fitted,
            "calibration_slope": fitted,
        },
        "baselines": {
            "scanner_code": {"auc": {**known, "value": value}, "auc_difference": difference}
        },
    }
    found = find_caveats(evaluation_with(document), patients.assign(label="AD"))
    return {caveat.code for caveat in found}


def test_a_covariate_that_encodes_the_label_under_another_name_is_flagged() -> None:
    _, folds = cohort()
    rng = np.random.default_rng(0)
    encoded = np.array([7.0 if label == "AD" else 3.0 for label in folds.labels])
    assert "baseline_suspicious" in _baseline_caveats(encoded)
    assert "baseline_suspicious" not in _baseline_caveats(rng.standard_normal(len(encoded)))


def _prepared(label: str | None, *, uses_label: bool, cohort_mean: float = 0.0) -> ScanFeatures:
    """A preparation that brightens what it knows to be ill, or takes off the cohort's mean."""
    rng = np.random.default_rng(3)
    features = rng.standard_normal((4, 6)) - cohort_mean
    if uses_label and label == "AD":
        features[2] += 1e-4
    return ScanFeatures(
        scan_id="one", features=features.astype(np.float32), z_mm=np.arange(4, dtype=np.float32)
    )


def test_a_preparation_that_depends_on_the_label_is_caught_when_the_label_is_hidden() -> None:
    for uses_label in (True, False):
        run = _prepared("AD", uses_label=uses_label)
        alone = _prepared(None, uses_label=uses_label)
        check = check_preprocessing([(run, alone)])
        assert check.passed is not uses_label
    leaky = [_prepared(label, uses_label=True) for label in ("AD", None)]
    check = check_preprocessing([(leaky[0], leaky[1])])
    assert check.found[0]["slice"] == 2


def test_a_preparation_that_depends_on_the_cohort_is_caught_when_the_patient_is_alone() -> None:
    alone = _prepared("AD", uses_label=False)
    among_others = _prepared("AD", uses_label=False, cohort_mean=1e-3)
    assert not check_preprocessing([(among_others, alone)]).passed
    assert check_preprocessing([(alone, alone)]).passed
