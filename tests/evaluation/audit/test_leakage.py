"""The stress test tells an honest split from a leaky one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from mri_transfer.core.results import ResultStore
from mri_transfer.core.threads import at_most_threads
from mri_transfer.evaluation.audit import stress_test
from mri_transfer.evaluation.audit.arms import ArmRunner
from mri_transfer.evaluation.audit.leakage import ARMS, SESSION_ARMS, _points
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds
from mri_transfer.training.settings import FoldSpec
from tests.synthetic import feature_table, folds_of

SETTINGS = {
    "fold_spec": FoldSpec(n_folds=4),
    "n_permutations": 4,
    "bootstrap_samples": 200,
    "seed": 0,
}
HEAD = LinearHeadSpec(inverse_l2=(100.0,), zones=1)
ESTIMATOR = TransferClassifier(head=HEAD)


def _stress(*, settings=None, n_patients=40, **table_settings):
    table, labels = feature_table(n_patients=n_patients, n_features=60, **table_settings)
    folds = folds_of(table, labels)
    data = LabelledFeatures.of_folds({"max": table}, folds, "AD")
    return stress_test(ESTIMATOR, data, folds, **{**SETTINGS, **(settings or {})})


def _sites(folds: Folds) -> pd.DataFrame:
    """Say of every patient which of two scanners was used, whatever the label."""
    site = np.arange(len(folds.patient_ids)) // 2 % 2
    names = pd.Index(folds.patient_ids, name="patient_id")
    return pd.DataFrame({"site": np.where(site == 1, "south", "north")}, index=names)


def test_the_honest_arm_takes_out_sites_as_cross_validation_does() -> None:
    table, labels = feature_table(n_features=60, signal=0.5)
    folds = folds_of(table, labels)
    data = LabelledFeatures.of_folds({"max": table}, folds, "AD", covariates=_sites(folds))
    found = {}
    for kind in ("none", "combat"):
        spec = HarmonisationSpec(kind=kind, preserve=())
        estimator = clone(ESTIMATOR).set_params(harmonisation=spec)
        arms = stress_test(estimator, data, folds, **SETTINGS).arms
        rows = cross_validate(estimator.without_choices(), data, folds, seed=0).slices.table
        positive = rows.patient_id.map(data.labels) == "AD"
        found[kind] = ((rows.score > 0.5) == positive).mean()
        assert arms["patient_split_true_labels"].slice_accuracy.value == found[kind]
    assert found["none"] != found["combat"]


def test_slices_that_betray_their_patient_inflate_the_slice_split_only() -> None:
    arms = _stress(signal=0.0, identity=2.0).arms
    accuracy = {arm: arms[arm].slice_accuracy.value for arm in ARMS}
    assert accuracy["slice_split_true_labels"] > 0.9
    assert accuracy["slice_split_permuted_labels"] > 0.9
    assert accuracy["patient_split_true_labels"] < 0.68
    assert abs(accuracy["patient_split_permuted_labels"] - 0.5) < 0.12


def test_without_a_patient_of_their_own_slices_inflate_nothing() -> None:
    result = _stress(signal=0.0, identity=0.0)
    assert abs(result.inflation_points) < 12


def test_the_sentence_and_the_points_are_those_of_the_arms() -> None:
    result = _stress(signal=0.5, identity=1.0)
    leaky = 100 * result.arms["slice_split_true_labels"].slice_accuracy.value
    honest = 100 * result.arms["patient_split_true_labels"].slice_accuracy.value
    assert result.inflation_points == pytest.approx(leaky - honest)
    assert f"{leaky:.1f} %" in result.sentence
    assert f"{honest:.1f} %" in result.sentence


@pytest.mark.parametrize(
    ("less", "words"),
    [
        (8.46, "8.5 percentage points less"),
        (-8.46, "8.5 percentage points more"),
        (0.04, "no less"),
        (-0.04, "no less"),
    ],
)
def test_an_honest_split_may_reach_more_in_a_small_cohort(less: float, words: str) -> None:
    assert _points(less) == words


def test_every_figure_lies_inside_its_interval() -> None:
    for arm in _stress(signal=0.5).arms.values():
        for _, figure in arm:
            assert figure.n == 40
            if figure.ci_low is None:
                assert figure.reason == "every resample of patients gives the same value"
            else:
                assert figure.ci_low <= figure.value <= figure.ci_high


def test_the_inflation_of_each_split_is_the_difference_of_its_arms() -> None:
    result = _stress(signal=0.5, two_sessions=20)
    assert set(result.inflation_by_split) == {"slice_split", "session_split"}
    for split, by_labels in result.inflation_by_split.items():
        for labels, figures in by_labels.items():
            for metric, entry in figures.items():
                leaky, honest = (
                    getattr(result.arms[f"{name}_{labels}"], metric).value
                    for name in (split, "patient_split")
                )
                assert entry.value == pytest.approx(100 * (leaky - honest))
                assert entry.ci_low < entry.value < entry.ci_high


def test_second_sessions_inflate_the_session_split_of_the_patients_who_have_them() -> None:
    result = _stress(signal=0.0, identity=3.0, two_sessions=20)
    assert set(result.arms) == {*ARMS, *SESSION_ARMS}
    several = result.several_scans
    assert several.n_patients == 20
    for labels in ("true_labels", "permuted_labels"):
        entry = several.inflation_by_split["session_split"][labels]["slice_accuracy"]
        assert entry.n == 20
        assert entry.ci_low > 15
        # Patients with one scan gain nothing, so that the whole cohort gains about half.
        whole = result.inflation_by_split["session_split"][labels]["slice_accuracy"].value
        assert whole < 0.75 * entry.value


def test_a_session_split_is_not_run_without_second_sessions() -> None:
    result = _stress()
    assert set(result.arms) == set(ARMS)
    assert result.several_scans is None
    assert set(result.inflation_by_split) == {"slice_split"}


def test_permutations_that_never_reach_the_true_labels_give_the_smallest_p() -> None:
    result = _stress(signal=3.0, identity=0.3, settings={"n_permutations": 9})
    for entry in result.p_values.values():
        assert entry.n_at_least == 0
        assert entry.value == pytest.approx(0.1)


def test_p_counts_the_permutations_that_reach_the_true_labels() -> None:
    settings = {"n_permutations": 9}
    result = _stress(signal=0.0, identity=1.0, n_patients=24, settings=settings)
    for metric, entry in result.p_values.items():
        observed = getattr(result.arms["patient_split_true_labels"], metric).value
        assert entry.observed == pytest.approx(observed)
        assert entry.value == pytest.approx((1 + entry.n_at_least) / 10)
    # No signal: the true labels are one permutation among others.
    assert max(entry.value for entry in result.p_values.values()) > 0.1


class _KilledError(Exception):
    pass


def test_a_killed_test_goes_on_and_ends_with_the_same_bits(tmp_path, monkeypatch) -> None:
    whole = _stress(n_patients=16, two_sessions=5)
    kept = {"results": ResultStore(tmp_path), "features_id": "some features"}

    def killed_after_six(done: int, total: int) -> None:
        assert total == 3 * 5
        if done == 6:
            raise _KilledError

    with pytest.raises(_KilledError):
        _stress(n_patients=16, two_sessions=5, settings={**kept, "progress": killed_after_six})
    fitted = []
    run_once = ArmRunner._cross_validate
    monkeypatch.setattr(
        ArmRunner, "_cross_validate", lambda *args: fitted.append(1) or run_once(*args)
    )
    assert _stress(n_patients=16, two_sessions=5, settings=kept) == whole
    # What had begun when it was killed was finished, a few on each core.
    assert 0 < len(fitted) <= 15 - 6
    fitted.clear()
    assert _stress(n_patients=16, two_sessions=5, settings=kept) == whole
    assert not fitted


def test_any_number_of_threads_gives_the_same_bits() -> None:
    with at_most_threads(1):
        alone = _stress(n_patients=16, two_sessions=5)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert _stress(n_patients=16, two_sessions=5) == alone
    finally:
        torch.set_num_threads(before)


def test_a_damaged_result_is_computed_again(tmp_path) -> None:
    kept = {"results": ResultStore(tmp_path), "features_id": "some features"}
    first = _stress(settings=kept, n_patients=16)
    files = sorted(tmp_path.rglob("*.json"))
    assert len(files) == 2 + 2 * 4
    files[0].write_text(files[0].read_text()[:-40])
    files[1].unlink()
    assert _stress(settings=kept, n_patients=16) == first


@pytest.mark.parametrize(
    ("changed", "settings"),
    [
        ({}, {"seed": 1}),
        ({}, {"features_id": "other features"}),
        ({"aggregation": "mean_probability"}, {}),
        ({}, {"fold_spec": FoldSpec(n_folds=5)}),
        ({"positive": "CN"}, {}),
        ({"head": dataclasses.replace(HEAD, zones=2)}, {}),
        ({"harmonisation": HarmonisationSpec(kind="combat", preserve=())}, {}),
    ],
)
def test_nothing_is_taken_from_a_test_that_was_set_up_otherwise(
    tmp_path, changed, settings
) -> None:
    table, labels = feature_table(n_patients=20)
    folds = folds_of(table, labels)
    kept = {**SETTINGS, "n_permutations": 1, "results": ResultStore(tmp_path)}
    kept["features_id"] = "some features"
    data = LabelledFeatures.of_folds({"max": table}, folds, "AD", covariates=_sites(folds))
    stress_test(ESTIMATOR, data, folds, **kept)
    n_files = len(list(tmp_path.rglob("*.json")))
    data = dataclasses.replace(data, positive=changed.pop("positive", "AD"))
    estimator = clone(ESTIMATOR).set_params(**changed)
    stress_test(estimator, data, folds, **{**kept, **settings})
    assert len(list(tmp_path.rglob("*.json"))) == 2 * n_files


def test_more_permutations_reuse_those_that_were_run(tmp_path) -> None:
    kept = {"results": ResultStore(tmp_path), "features_id": "some features"}
    _stress(settings=kept, n_patients=16)
    more = {"n_permutations": 6}
    assert _stress(settings={**kept, **more}, n_patients=16) == _stress(
        settings=more, n_patients=16
    )
    assert len(list(tmp_path.rglob("*.json"))) == 2 + 2 * 6


def test_results_of_unnamed_features_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="features_id"):
        _stress(settings={"results": ResultStore(tmp_path)})


def test_a_large_cohort_is_represented_by_some_of_its_patients(monkeypatch) -> None:
    monkeypatch.setattr("mri_transfer.evaluation.audit.leakage.MAX_PATIENTS", 20)
    found = _stress(n_patients=40, two_sessions=20)
    assert {one.slice_accuracy.n for one in found.arms.values()} == {20}
    assert found.several_scans.n_patients < 20
    assert found.sentence.endswith("The stress test was run on 20 patients drawn from 40.")
