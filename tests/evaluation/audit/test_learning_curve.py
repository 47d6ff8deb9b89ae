"""Learning curve: by patients, on the same draws for every table, and resumed where it stopped."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mri_transfer.core.results import ResultStore
from mri_transfer.core.threads import at_most_threads
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.audit.learning_curve import LearningCurveSpec, learning_curve
from mri_transfer.models.aggregation import join_slices
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import LinearHeadSpec, apply_head, fit_head
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds, make_folds
from mri_transfer.training.one_fit import fit_model
from mri_transfer.training.settings import FoldSpec
from tests.synthetic import feature_table, folds_of

HEAD = LinearHeadSpec(inverse_l2=(10.0,), zones=1)
#: With so few sizes no curve is fitted, which would take most of the time.
SPEC = LearningCurveSpec(sizes=(8, 16, 24), n_draws=2, bootstrap_samples=100)


def _tables(**settings) -> tuple[dict[str, FeatureTable], Folds]:
    table, labels = feature_table(**{"signal": 0.8, "n_features": 12, **settings})
    return {"imagenet": table}, folds_of(table, labels, n_repeats=2)


def _data(tables: dict[str, FeatureTable], folds: Folds) -> dict[str, LabelledFeatures]:
    return {
        name: LabelledFeatures.of_folds({"max": table}, folds, "AD")
        for name, table in tables.items()
    }


def _curve(tables, folds, spec=SPEC, **settings):
    estimator = TransferClassifier(head=HEAD)
    return learning_curve(
        estimator, _data(tables, folds), folds, spec=spec, **{"seed": 0, **settings}
    )


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> list[TrainingView]:
    """What every fit is handed, in the order of the fits."""
    handed: list[TrainingView] = []

    def spy(view: TrainingView, *args, **settings):
        handed.append(view)
        return fit_model(view, *args, **settings)

    monkeypatch.setattr("mri_transfer.training.estimator.fit_model", spy)
    return handed


def test_draws_are_of_the_size_stratified_nested_and_never_tested(views) -> None:
    tables, folds = _tables(two_sessions=5)
    # One after the other, so that views come in the order of folds.
    with at_most_threads(1):
        _curve(tables, folds)
    table, outer = tables["imagenet"], list(folds)
    assert len(views) == len(outer) * (3 * 2 + 1)
    label_of = dict(zip(folds.patient_ids, folds.labels, strict=True))
    by_draw: dict[tuple[int, int], list[set[str]]] = {}
    for i, view in enumerate(views):
        place, run = i % len(outer), i // len(outer)
        patients = set(view.patient_ids)
        held_out = {folds.patient_ids[k] for k in outer[place].test}
        assert not patients & held_out
        # All slices of all scans of a patient, or none.
        assert view.slices.all()
        assert sorted(view.scans.scan_ids) == sorted(
            scan
            for scan, owner in zip(table.scan_ids, table.patient_ids, strict=True)
            if owner in patients
        )
        size = [*SPEC.sizes, 30][run // 2]
        assert len(patients) == size
        assert sum(label_of[name] == "AD" for name in patients) == size / 2
        by_draw.setdefault((place, run % 2), []).append(patients)
    for draws in by_draw.values():
        grown = draws[:3]
        assert all(small < large for small, large in itertools.pairwise(grown))
    # Folds, repeats and draws draw differently.
    assert len({frozenset(draws[0]) for draws in by_draw.values()}) == len(by_draw)


def test_all_training_patients_give_the_plain_cross_validation() -> None:
    tables, folds = _tables()
    table = tables["imagenet"]
    truth = np.array([label == "AD" for label in folds.labels])
    areas, within = [], []
    for row in folds.assignment:
        scores = np.empty(len(truth))
        for fold in np.unique(row):
            mask = np.repeat((row != fold)[:, None], 8, axis=1)
            head = fit_head(HEAD, table, truth.astype(int), slices=mask)
            test = np.flatnonzero(row == fold)
            joined = join_slices(
                apply_head(head, table.features[test]), [str(i) for i in test], "mean_logit"
            )
            scores[test] = list(joined.values())
        areas.append(roc_auc_score(truth, scores))
        within += [
            float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])
            for i in np.flatnonzero(truth)
            for j in np.flatnonzero(~truth)
            if row[i] == row[j]
        ]
    found = _curve(tables, folds).tables["imagenet"].curve[-1]
    assert found.size is None
    assert found.n_train == 30
    assert found.auc.value == pytest.approx(np.mean(areas))
    assert found.auc_within_folds == pytest.approx(np.mean(within))
    assert found.draws.n == 2
    assert found.draws.lowest == pytest.approx(min(areas))
    assert found.draws.sd == pytest.approx(np.std(areas, ddof=1))


@pytest.mark.slow
def test_more_patients_teach_more_and_nothing_is_learned_from_noise() -> None:
    tables, folds = _tables(n_patients=80, n_features=30, signal=0.9)
    noise, _ = _tables(n_patients=80, n_features=30, signal=0.0, seed=1)
    spec = dataclasses.replace(SPEC, sizes=(8, 16, 24, 40))
    found = _curve({**tables, "random": noise["imagenet"]}, folds, spec)
    values = [row.auc.value for row in found.tables["imagenet"].curve]
    assert values[-1] > values[0] + 0.05
    assert abs(found.tables["random"].curve[-1].auc.value - 0.5) < 0.2
    assert found.tables["imagenet"].extrapolation.at == 120
    gain = found.transfer["random"][-1]
    assert gain.n_train == 60
    assert gain.auc_difference.ci_low > 0


def test_a_control_learns_from_the_same_draws() -> None:
    tables, folds = _tables()
    found = _curve({**tables, "copy": tables["imagenet"]}, folds)
    assert found.tables["copy"].curve == found.tables["imagenet"].curve
    rows = found.transfer["copy"]
    assert [row.size for row in rows] == [8, 16, 24, None]
    for row in rows:
        assert row.auc_difference.value == 0.0
        assert "same value" in row.auc_difference.reason


def test_intervals_count_patients_not_draws() -> None:
    tables, folds = _tables()
    for row in _curve(tables, folds).tables["imagenet"].curve:
        assert row.auc.n == 40
        assert row.auc.ci_low < row.auc.value < row.auc.ci_high


def test_sizes_that_are_too_small_or_too_large_are_left_out_with_a_reason() -> None:
    names = [f"p{i:03d}" for i in range(40)]
    labels = ["AD" if i < 10 else "CN" for i in range(40)]
    folds = make_folds(names, labels, spec=FoldSpec(n_folds=4, n_repeats=1), seed=0)
    table, _ = feature_table(n_features=6)
    table = dataclasses.replace(table, patient_ids=tuple(names))
    spec = LearningCurveSpec(sizes=(200, 8, 20, 30), n_draws=1, bootstrap_samples=100)
    found = _curve({"imagenet": table}, folds, spec)
    curve = found.tables["imagenet"].curve
    assert [row.size for row in curve] == [20, None]
    assert [one.size for one in found.sizes_left_out] == [8, 30, 200]
    assert "4 needed" in found.sizes_left_out[0].reason
    assert "30 training patients" in found.sizes_left_out[2].reason
    # One repeat, one draw: no spread; two sizes: no curve.
    assert curve[-1].draws.sd is None
    assert "2 sizes" in found.tables["imagenet"].extrapolation.reason


def test_what_was_computed_is_not_computed_again(tmp_path: Path, views) -> None:
    tables, folds = _tables()
    tables["control"] = _tables(seed=5)[0]["imagenet"]
    kept = {"results": ResultStore(tmp_path), "identities": {"imagenet": "a", "control": "b"}}
    unkept = _curve(tables, folds)
    views.clear()
    first = _curve(tables, folds, **kept)
    n_all = len(views)
    assert n_all == 8 * 7 * 2
    files = sorted(path for path in tmp_path.rglob("*.json"))
    assert len(files) == 7 * 2
    views.clear()
    assert _curve(tables, folds, **kept) == first == unkept
    assert views == []
    files[3].unlink()
    assert _curve(tables, folds, **kept) == first
    assert len(views) == 8


@pytest.mark.parametrize("change", ["seed", "identity", "head", "folds", "aggregation"])
def test_results_of_another_question_are_not_taken(tmp_path: Path, views, change: str) -> None:
    tables, folds = _tables()
    results = ResultStore(tmp_path)
    spec = dataclasses.replace(SPEC, sizes=(8,), n_draws=1)

    def run(head=HEAD, folds=folds, aggregation="mean_logit", seed=0, identity="a"):
        return learning_curve(
            TransferClassifier(head=head, aggregation=aggregation), _data(tables, folds), folds,
            spec=spec, seed=seed, results=results, identities={"imagenet": identity},
        )  # fmt: skip

    run()
    views.clear()
    other_folds = Folds(
        patient_ids=folds.patient_ids, labels=folds.labels, assignment=folds.assignment[::-1].copy()
    )
    run(**{
        "seed": {"seed": 1},
        "identity": {"identity": "b"},
        "head": {"head": dataclasses.replace(HEAD, zones=2)},
        "folds": {"folds": other_folds},
        "aggregation": {"aggregation": "mean_probability"},
    }[change])  # fmt: skip
    assert len(views) == 16


def test_progress_counts_to_the_end() -> None:
    tables, folds = _tables()
    seen: list[tuple[int, int]] = []
    _curve(tables, folds, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 7) for i in range(7)]


@pytest.mark.parametrize("identities", [None, {"other": "a"}])
def test_results_are_kept_only_of_tables_with_an_identity(tmp_path: Path, identities) -> None:
    tables, folds = _tables()
    with pytest.raises(EvaluationError, match="identity"):
        _curve(tables, folds, results=ResultStore(tmp_path), identities=identities)
    with pytest.raises(EvaluationError, match="needs tables"):
        _curve({}, folds)
