"""Held-out patients, scored again from worse scans, by the heads that never saw them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit import robustness
from mri_transfer.evaluation.audit.held_out import HeldOut
from mri_transfer.evaluation.audit.robustness import robustness_rows, sample_patients
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec, apply_head, fit_head
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail
from mri_transfer.scans.perturbations import Perturbation
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds, make_folds
from mri_transfer.training.settings import FoldSpec
from tests.synthetic import feature_table, folds_of

NOISE = Perturbation(kind="noise", level=3.0)
MOTION = Perturbation(kind="motion", level=2.0)
SETTINGS = {"positive_label": "AD", "n_samples": 200, "seed": 0}
FIGURES = ("auc", "auc_clean", "auc_change", "balanced_accuracy", "balanced_accuracy_clean",
           "score_change", "score_shift", "flip_rate")  # fmt: skip
#: Scores are read as if their log-odds were halved and lowered.
PLATT = {"method": "platt", "parameters": {"slope": [0.5], "intercept": [-0.4]}}
#: Not a half, and another one for each fold.
THRESHOLDS = (0.3, 0.4, 0.45, 0.5)


def _trained(table: FeatureTable, folds: Folds, head=None) -> list[FittedModel]:
    head = head or LinearHeadSpec(inverse_l2=(10.0,), zones=2)
    label_of = dict(zip(folds.patient_ids, folds.labels, strict=True))
    labels = np.array([int(label_of[name] == "AD") for name in table.patient_ids])
    outer = list(folds)
    joining = "attention" if head.kind == "attention" else "mean_logit"
    trained = []
    for i, fold in enumerate(outer):
        names = {folds.patient_ids[k] for k in fold.train}
        seen = np.array([name in names for name in table.patient_ids])
        slices = np.repeat(seen[:, None], table.features.shape[1], axis=1)
        fitted = fit_head(head, table, labels, slices=slices, seed=i)
        facts = {
            "procedure": {
                "pooling": "max",
                "head": {"kind": fitted.kind},
                "aggregation": joining,
            },
            "recalibration": PLATT,
            "threshold": THRESHOLDS[fold.fold],
        }
        trained.append(
            FittedModel(
                repeat=fold.repeat,
                fold=fold.fold,
                head=dataclasses.replace(fitted, facts=facts),
            )
        )
    return trained


def _part(table: FeatureTable, scans: np.ndarray, shift: float = 0.0) -> FeatureTable:
    rng = np.random.default_rng(1)
    features = table.features[scans]
    noise = shift * rng.standard_normal(features.shape).astype(np.float32)
    return FeatureTable(
        scan_ids=tuple(table.scan_ids[i] for i in scans),
        patient_ids=tuple(table.patient_ids[i] for i in scans),
        scan_sha256=tuple(table.scan_sha256[i] for i in scans),
        features=features + noise,
        z_mm=table.z_mm[scans],
    )


@pytest.fixture(scope="module")
def case() -> tuple[list[FittedModel], FeatureTable, Folds]:
    table, labels = feature_table(signal=0.7, two_sessions=3)
    folds = folds_of(table, labels, n_repeats=2)
    return _trained(table, folds), table, folds


def _oracle(trained, table: FeatureTable, folds: Folds, names: list[str]):
    """Scores and calls of held-out patients, (n_repeats, n), patient by patient."""
    score = np.empty((len(folds.assignment), len(names)))
    called = np.empty(score.shape, dtype=bool)
    for repeat, row in enumerate(folds.assignment):
        for column, name in enumerate(names):
            fold = row[folds.patient_ids.index(name)]
            (one,) = (t for t in trained if (t.repeat, t.fold) == (repeat, fold))
            logits = [
                apply_head(one.head, table.features[[i]]).logits.mean()
                for i, owner in enumerate(table.patient_ids)
                if owner == name
            ]
            value = expit(0.5 * np.mean(logits, dtype=np.float64) - 0.4)
            score[repeat, column], called[repeat, column] = value, value >= one.threshold
    return score, called


def test_unperturbed_scans_change_nothing(case) -> None:
    trained, table, folds = case
    row = robustness_rows(trained, {"max": table}, {NOISE: {"max": table}}, folds, **SETTINGS)[0]
    assert (row.kind, row.level, row.n) == ("noise", 3.0, 40)
    assert row.auc == row.auc_clean
    assert row.flip_rate.value == row.score_change.value == 0.0
    assert row.auc_change.value == row.score_shift.value == 0.0
    assert "same value" in row.auc_change.reason


def test_with_tails_each_head_reads_the_features_of_its_own_fold(case) -> None:
    """And of the patients whom the fold held out: there is no other number in its table."""
    frozen, table, folds = case
    worse = _part(table, np.arange(len(table.scan_ids)), shift=1.5)
    tail = Tail(tensors={}, spec=TuningSpec(strategy="some"), cut="c", weights_digest="0" * 64)
    tuned = [dataclasses.replace(one, tail=tail) for one in frozen]

    def own(table: FeatureTable, *, drop: bool) -> dict[str, FeatureTable]:
        tables = {}
        for model in tuned:
            fold_of = dict(zip(folds.patient_ids, folds.assignment[model.repeat], strict=True))
            held = np.array([fold_of[name] == model.fold for name in table.patient_ids])
            if drop:
                tables[model.reads] = _part(table, np.flatnonzero(held))
                continue
            features = np.where(held[:, None, None], table.features, np.nan)
            tables[model.reads] = dataclasses.replace(table, features=features)
        return tables

    expected = robustness_rows(frozen, {"max": table}, {NOISE: {"max": worse}}, folds, **SETTINGS)
    found = robustness_rows(
        tuned, own(table, drop=False), {NOISE: own(worse, drop=True)}, folds, **SETTINGS
    )
    assert found == expected


def test_figures_are_those_of_the_definition(case) -> None:
    trained, table, folds = case
    # The order of heads is without meaning; a later one must not overwrite the right one.
    trained = trained[::-1]
    scans = np.array([i for i, name in enumerate(table.patient_ids) if int(name[1:]) < 22])
    worse = _part(table, scans, shift=2.5)
    names = sorted(set(worse.patient_ids))
    row = robustness_rows(trained, {"max": table}, {NOISE: {"max": worse}}, folds, **SETTINGS)[0]
    truth = np.array([folds.labels[folds.patient_ids.index(name)] == "AD" for name in names])
    before, called_before = _oracle(trained, table, folds, names)
    after, called = _oracle(trained, worse, folds, names)
    areas = [np.mean([roc_auc_score(truth, one) for one in rows]) for rows in (after, before)]
    hits = [np.mean([row[truth].mean() + (~row[~truth]).mean() for row in rows]) / 2
            for rows in (called, called_before)]  # fmt: skip
    assert row.n == 22
    assert [row.auc.value, row.auc_clean.value] == pytest.approx(areas)
    assert row.auc_change.value == pytest.approx(areas[0] - areas[1])
    assert row.score_change.value == pytest.approx(np.abs(after - before).mean(), rel=1e-5)
    assert row.score_shift.value == pytest.approx((after - before).mean(), rel=1e-4)
    assert row.flip_rate.value == pytest.approx((called != called_before).mean())
    assert 0 < row.flip_rate.value < 1
    assert [
        getattr(row, f"balanced_accuracy{end}").value for end in ("", "_clean")
    ] == pytest.approx(hits)


def test_every_figure_counts_patients_and_lies_in_its_interval(case) -> None:
    trained, table, folds = case
    worse = _part(table, np.arange(len(table.scan_ids)), shift=2.0)
    rows = robustness_rows(trained, {"max": table}, {NOISE: {"max": worse}}, folds, **SETTINGS)
    for row in rows:
        for name in FIGURES:
            figure = getattr(row, name)
            assert figure.n == 40, name
            assert figure.ci_low <= figure.value <= figure.ci_high, name


def test_a_row_does_not_move_the_draws_of_another(case) -> None:
    trained, table, folds = case
    worse = {"max": _part(table, np.arange(len(table.scan_ids)), shift=2.0)}
    alone = robustness_rows(trained, {"max": table}, {NOISE: worse}, folds, **SETTINGS)
    both = robustness_rows(
        trained, {"max": table}, {MOTION: worse, NOISE: worse}, folds, **SETTINGS
    )
    assert both[1:] == alone


def test_a_patient_counts_only_with_all_scans(case) -> None:
    trained, table, folds = case
    everything = np.arange(len(table.scan_ids))
    # The last scan is the second one of a patient.
    tables = {NOISE: {"max": _part(table, everything[:-1])}, MOTION: {"max": table}}
    rows = robustness_rows(trained, {"max": table}, tables, folds, **SETTINGS)
    assert [row.n for row in rows[:2]] == [39, 40]
    assert "1 patients left out" in rows[0].note
    assert rows[1].note is None


def test_a_level_that_no_scan_allows_has_a_reason_and_no_figures(case) -> None:
    trained, table, folds = case
    tables = {NOISE: {"max": _part(table, np.arange(0))}, MOTION: {"max": table}}
    row = robustness_rows(trained, {"max": table}, tables, folds, **SETTINGS)[0]
    assert row.n == 0
    assert "40 patients left out" in row.note
    for name in FIGURES:
        assert getattr(row, name).value is None
        assert getattr(row, name).reason == "no patient to score"


def test_patients_of_one_label_have_flips_and_no_auc(case) -> None:
    trained, table, folds = case
    label_of = dict(zip(folds.patient_ids, folds.labels, strict=True))
    scans = np.array([i for i, name in enumerate(table.patient_ids) if label_of[name] == "CN"])
    worse = {NOISE: {"max": _part(table, scans, shift=3.0)}}
    row = robustness_rows(trained, {"max": table}, worse, folds, **SETTINGS)[0]
    assert row.auc.value is row.auc_change.value is None
    assert "one label" in row.auc.reason
    assert row.flip_rate.value > 0


def test_folds_without_a_head_are_refused(case) -> None:
    trained, table, folds = case
    with pytest.raises(EvaluationError, match="held out by no head"):
        robustness_rows(trained[1:], {"max": table}, {}, folds, **SETTINGS)


def test_a_sample_holds_both_labels_in_their_share_and_grows_by_adding() -> None:
    names = [f"p{i:03d}" for i in range(60)]
    labels = ["AD" if i < 20 else "CN" for i in range(60)]
    folds = make_folds(names, labels, spec=FoldSpec(n_folds=2, n_repeats=1), seed=0)
    label_of = dict(zip(names, labels, strict=True))
    smaller: set[str] = set()
    for n in range(1, 61):
        sample = sample_patients(folds, n=n, seed=4)
        assert list(sample) == sorted(set(sample))
        assert len(sample) == n
        assert smaller < set(sample)
        assert abs(sum(label_of[name] == "AD" for name in sample) - n / 3) <= 1
        smaller = set(sample)
    assert sample_patients(folds, n=99, seed=4) == tuple(names)
    assert sample_patients(folds, n=0, seed=4) == ()
    assert sample_patients(folds, n=12, seed=4) != sample_patients(folds, n=12, seed=5)


@pytest.mark.parametrize("kind", robustness._LOST_KINDS)
@pytest.mark.parametrize("n_lost", [1, 3, 7])
def test_lost_slices_are_as_many_as_said_anywhere_in_the_scan(kind: str, n_lost: int) -> None:
    kept = robustness._kept(kind, 400, 8, n_lost, np.random.default_rng(0))
    assert kept.shape == (400, 8 - n_lost)
    assert (np.diff(kept, axis=1) > 0).all()
    lost = [sorted(set(range(8)) - set(row)) for row in kept.tolist()]
    assert {len(row) for row in lost} == {n_lost}
    assert {i for row in lost for i in row} == set(range(8))
    if kind == "lost block of slices":
        assert {row[-1] - row[0] for row in lost} == {n_lost - 1}
    elif n_lost == 3:
        assert len({tuple(row) for row in lost}) > 40


@pytest.mark.parametrize("kind", ["linear", "attention"])
def test_what_is_left_is_joined_as_if_nothing_else_had_been_there(kind: str) -> None:
    table, labels = feature_table(n_patients=12, n_features=10)
    folds = folds_of(table, labels, n_folds=2)
    spec = LinearHeadSpec() if kind == "linear" else AttentionHeadSpec(epochs=2)
    trained = _trained(table, folds, spec)
    held_out = HeldOut(trained, {"max": table}, folds, "AD")
    kept = np.tile([0, 2, 3, 7], (12, 1))
    everybody = np.arange(12)
    found = held_out.scores(held_out.clean_parts, everybody, kept=kept).score[0]
    for patient in everybody:
        (one,) = (t for t in trained if t.fold == folds.assignment[0, patient])
        output = apply_head(one.head, table.features[[patient]])
        logits, weights = output.logits[0, kept[0]], output.weights[0, kept[0]]
        joined = (logits * weights).sum(dtype=np.float64) / weights.sum(dtype=np.float64)
        assert found[patient] == pytest.approx(expit(0.5 * joined - 0.4), rel=1e-5)
    whole = held_out.scores(held_out.clean_parts, everybody, kept=np.tile(np.arange(8), (12, 1)))
    assert np.allclose(whole.score, held_out.clean.score, atol=1e-6)


def test_the_more_slices_are_lost_the_more_scores_change(case) -> None:
    trained, table, folds = case
    rows = robustness_rows(trained, {"max": table}, {}, folds, **SETTINGS)
    assert [row.level for row in rows] == [1, 2, 4] * 2
    for kind in robustness._LOST_KINDS:
        change = [row.score_change.value for row in rows if row.kind == kind]
        assert 0 < change[0] < change[1] < change[2]
    assert all("every patient" in row.note for row in rows)


def test_few_slices_cannot_lose_a_small_share() -> None:
    table, labels = feature_table(n_slices=2, signal=1.0)
    folds = folds_of(table, labels)
    rows = robustness_rows(_trained(table, folds), {"max": table}, {}, folds, **SETTINGS)
    assert [row.n for row in rows] == [0, 0, 40] * 2
    assert "0.125 of 2 slices is none" in rows[0].note
    assert rows[0].flip_rate.value is None
