"""The records of a clean run pass; each record that contradicts another is found."""

from __future__ import annotations

import copy

import pandas as pd
import pytest

from mri_transfer.evaluation.audit.provenance import check_provenance
from tests.audit_records import cohort, failed, records


@pytest.fixture
def run():
    table, folds = cohort(two_sessions=6)
    return copy.deepcopy(records(table, folds))


def _found(run) -> set[str]:
    run = dict(run)
    return failed(check_provenance(run.pop("facts"), **run))


def _test_patient(run) -> str:
    """A patient with two scans whom the fold holds out."""
    scans = run["features"].groupby("patient_id").size()
    held = run["folds"].query("fold == 1")["patient_id"]
    return next(name for name in held if scans[name] == 2)


def _training_patient(run) -> str:
    scans = run["features"].groupby("patient_id").size()
    return next(name for name in run["facts"][0, 1]["training_patients"] if scans[name] == 2)


def test_a_clean_run_passes_every_check(run) -> None:
    assert _found(run) == set()


def test_every_check_says_what_it_looked_for(run) -> None:
    for check in check_provenance(run.pop("facts"), **run):
        assert check.n_checked > 0
        assert check.what
        assert check.expected
        assert check.found == ()


def test_a_test_patient_among_those_a_head_saw_is_found(run) -> None:
    run["facts"][0, 1]["training_patients"].append(_test_patient(run))
    assert _found(run) == {"no_test_patient_seen"}


def test_all_scans_of_a_test_patient_among_those_a_head_saw_are_found(run) -> None:
    own = run["features"].set_index("patient_id").loc[_test_patient(run)]
    run["facts"][0, 1]["training_scans"].update(
        zip(own["scan_id"], own["scan_sha256"], strict=True)
    )
    assert _found(run) == {"no_test_scan_seen", "sessions_together"}


def test_a_forgotten_training_patient_and_scan_are_found(run) -> None:
    facts = run["facts"][0, 1]
    facts["training_patients"].remove(_training_patient(run))
    assert _found(run) == {"all_training_seen"}


def test_a_session_that_was_left_out_is_found(run) -> None:
    owners = run["features"].set_index("patient_id")["scan_id"]
    scan = owners[_training_patient(run)].iloc[0]
    del run["facts"][0, 1]["training_scans"][scan]
    assert _found(run) == {"all_training_seen", "sessions_together"}


def test_a_scan_that_is_not_the_one_of_the_features_is_found(run) -> None:
    scans = run["facts"][0, 1]["training_scans"]
    scans[next(iter(scans))] = "f" * 64
    assert _found(run) == {"scans_as_recorded"}


def test_one_content_under_two_patients_is_found(run) -> None:
    features = run["features"]
    test, train = _test_patient(run), _training_patient(run)
    a, b = (features.index[features["patient_id"] == name][0] for name in (test, train))
    features.loc[a, "scan_sha256"] = features.loc[b, "scan_sha256"]
    for facts in run["facts"].values():
        if features.loc[a, "scan_id"] in facts["training_scans"]:
            facts["training_scans"][features.loc[a, "scan_id"]] = features.loc[a, "scan_sha256"]
    assert _found(run) == {"no_content_on_both_sides", "no_test_scan_seen"}


def test_a_prediction_of_a_training_patient_is_found(run) -> None:
    patients = run["patients"]
    patients.loc[0, "fold"] = (patients.loc[0, "fold"] + 1) % 4
    assert _found(run) == {"predictions_held_out"}


def test_a_scan_that_is_predicted_under_another_patient_is_found(run) -> None:
    run["slices"].loc[0, "scan_id"] = run["slices"].loc[20, "scan_id"]
    assert _found(run) == {"predictions_held_out"}


@pytest.mark.parametrize("source", ["Youden's index on test patients", None, ""])
def test_a_threshold_from_elsewhere_is_found(run, source) -> None:
    run["facts"][0, 2]["threshold_from"] = source
    assert _found(run) == {"thresholds_from_training"}


def test_a_fixed_threshold_is_fine(run) -> None:
    run["facts"][0, 2]["threshold_from"] = "fixed by the configuration"
    assert _found(run) == set()


def test_an_inner_score_of_a_test_patient_is_found(run) -> None:
    run["inner"].loc[len(run["inner"])] = [0, 1, _test_patient(run)]
    assert _found(run) == {"inner_scores_of_training"}


def test_a_patient_in_two_folds_and_one_in_none_are_found(run) -> None:
    folds = run["folds"]
    folds.loc[0, "patient_id"] = folds.loc[1, "patient_id"]
    assert "folds_partition" in _found(run)


def test_a_patient_missing_from_one_repeat_is_found() -> None:
    table, folds = cohort()
    run = records(table, folds)
    again = run["folds"].assign(repeat=1).iloc[1:]
    run["folds"] = pd.concat([run["folds"], again], ignore_index=True)
    assert "folds_partition" in _found(run)


def test_a_fold_without_a_head_is_found(run) -> None:
    del run["facts"][0, 3]
    assert _found(run) == {"one_head_a_fold"}


@pytest.mark.parametrize("name", ["training_patients", "training_scans"])
def test_a_head_that_does_not_say_what_it_saw_is_found(run, name) -> None:
    del run["facts"][0, 1][name]
    assert "all_training_seen" in _found(run)


def test_many_faults_are_counted_and_a_few_are_listed(run) -> None:
    for facts in run["facts"].values():
        facts["training_scans"] = dict.fromkeys(facts["training_scans"], "f" * 64)
    facts = run.pop("facts")
    check = next(c for c in check_provenance(facts, **run) if c.check == "scans_as_recorded")
    assert check.n_found == sum(len(one["training_scans"]) for one in facts.values())
    assert len(check.found) == 20
