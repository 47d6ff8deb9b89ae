"""Choices and thresholds come from training patients; a random label cannot be learned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import HeadError
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec, MlpHeadSpec
from mri_transfer.training.cross_validation import CrossValidation, cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds, derive_seed
from mri_transfer.training.score import predict_folds
from mri_transfer.training.search import SearchSpec
from mri_transfer.training.settings import FoldSpec, PredictionSpec
from tests.synthetic import feature_table, folds_of

SPEC = FoldSpec(n_folds=4, n_repeats=1, n_inner_folds=3)
LINEAR = LinearHeadSpec(inverse_l2=(1.0,), zones=1)
COMBAT = HarmonisationSpec(kind="combat", preserve=("age",))
SPACE = {"heads.inverse_l2": [[0.001], [10.0]], "heads.zones": [2]}


def _run(
    table: FeatureTable,
    folds: Folds,
    head=LINEAR,
    *,
    space: dict | str = "none",
    only: set[tuple[int, int]] | None = None,
    margin_se: float = 0.0,
    progress=None,
    covariates: pd.DataFrame | None = None,
    **prediction,
) -> CrossValidation:
    estimator = TransferClassifier(
        head=head,
        predictions=PredictionSpec(**prediction),
        search=SearchSpec(space=space, n_trials=4, margin_se=margin_se),
        harmonisation=None if covariates is None else COMBAT,
        n_inner_folds=SPEC.n_inner_folds,
    )
    data = LabelledFeatures.of_folds({"max": table}, folds, "AD", covariates=covariates)
    return cross_validate(estimator, data, folds, seed=0, only=only, progress=progress)


def _auc(result: CrossValidation) -> float:
    rows = result.patients.table
    return auc((rows["label"] == "AD").to_numpy().astype(int), rows["score"].to_numpy())


def test_every_patient_and_slice_is_scored_once_a_repeat() -> None:
    table, labels = feature_table(two_sessions=4)
    folds = folds_of(table, labels, n_repeats=2)
    result = _run(table, folds)
    assert len(result.patients.table) == 2 * 40
    assert len(result.slices.table) == 2 * 44 * 8
    sessions = result.patients.table.set_index(["repeat", "patient_id"])["n_slices"]
    assert sessions[(0, "p000")] == 16
    assert sessions[(0, "p020")] == 8


def test_every_head_lists_whom_it_saw_and_never_saw_whom_it_scored() -> None:
    table, labels = feature_table(two_sessions=4)
    result = _run(table, folds_of(table, labels))
    owner = dict(zip(table.scan_ids, table.patient_ids, strict=True))
    rows = result.patients.table
    for one in result.trained:
        scored = set(rows[rows["fold"] == one.fold]["patient_id"])
        seen = set(one.head.facts["training_patients"])
        assert not scored & seen
        assert {owner[scan] for scan in one.head.facts["training_scans"]} == seen
        assert len(scored | seen) == 40


@pytest.mark.parametrize(
    ("head", "space"),
    [
        (LINEAR, SPACE),
        (MlpHeadSpec(hidden=6, epochs=3), "none"),
        (AttentionHeadSpec(hidden=4, epochs=3), {"heads.epochs": [6]}),
    ],
    ids=["linear", "mlp", "attention"],
)
def test_nothing_of_a_fold_depends_on_its_test_patients(head, space) -> None:
    """All that is chosen and fitted is the same when test patients' labels and scans are not."""
    table, labels = feature_table()
    folds = folds_of(table, labels)
    held = folds.assignment[0] == 2
    spoiled = table.features.copy()
    spoiled[held] = 7.0
    swapped = tuple(
        ("CN" if label == "AD" else "AD") if out else label
        for label, out in zip(folds.labels, held, strict=True)
    )
    before = _run(table, folds, head, space=space).trained[2].head
    after = (
        _run(
            dataclasses.replace(table, features=spoiled),
            dataclasses.replace(folds, labels=swapped),
            head,
            space=space,
        )
        .trained[2]
        .head
    )
    assert before.facts == after.facts
    for name, values in before.tensors.items():
        assert np.array_equal(values, after.tensors[name])


def test_random_labels_are_predicted_at_chance() -> None:
    scores = []
    for seed in range(12):
        table, _ = feature_table(n_patients=60, signal=0, seed=seed)
        labels = np.random.default_rng(seed).permutation(np.arange(60) % 2)
        scores.append(_auc(_run(table, folds_of(table, labels))))
    assert abs(np.mean(scores) - 0.5) < 0.07


def test_a_real_signal_is_found() -> None:
    table, labels = feature_table(n_patients=80, signal=1.5)
    assert _auc(_run(table, folds_of(table, labels))) > 0.8


def test_a_fixed_threshold_is_used_as_it_is() -> None:
    table, labels = feature_table()
    result = _run(table, folds_of(table, labels), threshold=0.3)
    rows = result.patients.table
    assert {one.threshold for one in result.trained} == {0.3}
    assert ((rows["score"] >= 0.3) == (rows["predicted"] == "AD")).all()


def test_the_same_seed_gives_the_same_scores() -> None:
    table, labels = feature_table()
    folds = folds_of(table, labels)
    head = MlpHeadSpec(hidden=6, epochs=3)
    first, second = (_run(table, folds, head, threshold=0.5) for _ in range(2))
    assert first.patients.table.equals(second.patients.table)


def test_seeds_of_places_are_distinct() -> None:
    seeds = {derive_seed(s, r, f) for s in range(3) for r in range(5) for f in range(5)}
    assert len(seeds) == 75


@pytest.mark.parametrize(
    ("head", "space"),
    [
        (LINEAR, SPACE),
        (MlpHeadSpec(hidden=6, epochs=3), "none"),
        (AttentionHeadSpec(hidden=5, epochs=8), "none"),
    ],
    ids=["linear", "mlp", "attention"],
)
def test_one_fold_alone_is_the_same_as_among_the_others(head, space) -> None:
    table, labels = feature_table(two_sessions=3)
    folds = folds_of(table, labels)
    every = _run(table, folds, head, space=space)
    alone = _run(table, folds, head, space=space, only={(0, 2)})
    (head,) = (one.head for one in alone.trained)
    assert head.facts == every.trained[2].head.facts
    assert all(np.array_equal(v, every.trained[2].head.tensors[k]) for k, v in head.tensors.items())


def test_a_fold_lists_what_it_tried_and_chose_the_best_inner_auc() -> None:
    table, labels = feature_table(n_patients=60)
    for one in _run(table, folds_of(table, labels), space=SPACE).trained:
        trials = one.head.facts["trials"]
        assert trials[0]["configured"]
        assert len(trials) > 1
        (chosen,) = (trial for trial in trials if trial["chosen"])
        means = [np.mean(trial["inner_auc"]) for trial in trials]
        assert np.mean(chosen["inner_auc"]) == pytest.approx(max(means), abs=1e-6)
        assert one.head.facts["procedure"] == chosen["procedure"]
        assert all(len(trial["inner_auc"]) == SPEC.n_inner_folds for trial in trials)


def test_a_setting_that_spoils_the_head_is_left() -> None:
    """The penalty as configured leaves nothing of the features; the search finds a better one."""
    table, labels = feature_table(n_patients=80, signal=1.5)
    table = dataclasses.replace(table, features=table.features + 0)
    strangled = LinearHeadSpec(inverse_l2=(10.0,), zones=1, scaling="feature")
    attention = {"heads": [{"kind": "linear", "inverse_l2": [1.0], "zones": 1}]}
    found = _run(table, folds_of(table, labels), strangled, space=attention)
    assert any(one.head.facts["trials"][1]["chosen"] for one in found.trained)


def test_the_configured_procedure_stays_unless_clearly_beaten() -> None:
    table, labels = feature_table(n_patients=60)
    folds = folds_of(table, labels)
    chosen = [
        sum(one.head.facts["trials"][0]["chosen"] for one in result.trained)
        for result in (_run(table, folds, space=SPACE, margin_se=m) for m in (0.0, 50.0))
    ]
    assert chosen[0] < chosen[1] == SPEC.n_folds


def test_inner_scores_are_of_training_patients_held_out_inside() -> None:
    table, labels = feature_table()
    folds = folds_of(table, labels)
    result = _run(table, folds)
    rows = result.inner.table
    for one in result.trained:
        mine = rows[rows["fold"] == one.fold]
        assert sorted(mine["patient_id"]) == one.head.facts["training_patients"]
        assert mine["inner_fold"].nunique() == SPEC.n_inner_folds


def test_the_threshold_is_youdens_on_the_inner_scores_written_down() -> None:
    table, labels = feature_table()
    folds = folds_of(table, labels)
    result = _run(table, folds)
    label = dict(zip(folds.patient_ids, folds.labels, strict=True))
    rows = result.inner.table
    for one in result.trained:
        mine = rows[rows["fold"] == one.fold]
        truth = mine["patient_id"].map(label).to_numpy() == "AD"
        score = mine["score"].to_numpy()

        def youden(cut: float, truth=truth, score=score) -> float:
            return (score >= cut)[truth].mean() + (score < cut)[~truth].mean()

        assert youden(one.threshold) == pytest.approx(max(youden(cut) for cut in score))


def test_scores_are_recalibrated_by_what_training_patients_asked_for() -> None:
    table, labels = feature_table(n_patients=80, signal=0.7)
    folds = folds_of(table, labels)
    raw = _run(table, folds, recalibration=("none",)).patients.table
    platt = _run(table, folds, recalibration=("platt",))
    for one in platt.trained:
        assert one.head.facts["recalibration"]["method"] == "platt"
        mine = platt.patients.table["fold"] == one.fold
        # The same ranking within a fold, other numbers.
        assert np.array_equal(
            raw["score"][mine].argsort().to_numpy(),
            platt.patients.table["score"][mine].argsort().to_numpy(),
        )
    assert not np.allclose(raw["score"], platt.patients.table["score"])


def test_nothing_to_choose_fits_one_head_a_fold() -> None:
    table, labels = feature_table()
    counts = []
    result = _run(
        table,
        folds_of(table, labels),
        threshold=0.5,
        recalibration=("none",),
        progress=lambda done, total: counts.append((done, total)),
    )
    assert counts == [(i, SPEC.n_folds) for i in range(1, SPEC.n_folds + 1)]
    assert result.inner.table.empty


def test_progress_ends_at_its_total() -> None:
    table, labels = feature_table()
    counts = []
    _run(
        table,
        folds_of(table, labels),
        space=SPACE,
        progress=lambda done, total: counts.append((done, total)),
    )
    assert counts[-1][0] == counts[-1][1]
    assert [done for done, _ in counts] == sorted(done for done, _ in counts)


def test_the_search_may_choose_another_pooling_and_the_fold_is_scored_with_it() -> None:
    """The configured pooling holds no signal, the other one does."""
    noise, _ = feature_table(signal=0)
    table, labels = feature_table(signal=2.0)
    folds = folds_of(table, labels)
    search = SearchSpec(space={"features.pooling": ["average"]}, margin_se=0.0)
    result = cross_validate(
        TransferClassifier(head=LINEAR, search=search, n_inner_folds=SPEC.n_inner_folds),
        LabelledFeatures.of_folds({"max": noise, "average": table}, folds, "AD"),
        folds,
        seed=0,
    )
    assert {one.pooling for one in result.trained} == {"average"}
    assert _auc(result) > 0.85


def test_a_kind_of_head_can_be_chosen_inside_training_patients() -> None:
    table, labels = feature_table(n_patients=60, signal=1.5)
    strangled = AttentionHeadSpec(hidden=2, epochs=1, learning_rate=1e-9)
    space = {"heads": [{"kind": "linear", "inverse_l2": [1.0], "zones": 1}]}
    result = _run(table, folds_of(table, labels), strangled, space=space)
    kinds = {one.head.kind for one in result.trained}
    assert "linear" in kinds
    for one in result.trained:
        assert one.head.facts["procedure"]["head"]["kind"] == one.head.kind
        expected = "mean_logit" if one.head.kind == "linear" else "attention"
        assert one.head.facts["procedure"]["aggregation"] == expected


def _two_sites(n_patients: int = 80, *, offset: float = 6.0, signal: float = 1.0):
    """Features of two scanners, one of which lifts half of them, whatever the label."""
    table, labels = feature_table(n_patients=n_patients, signal=signal, identity=0.3)
    site = np.random.default_rng(1).permutation(np.arange(n_patients) // 2 % 2)
    shift = np.zeros_like(table.features[:1])
    shift[..., ::2] = offset
    features = table.features + site[:, None, None] * shift
    covariates = pd.DataFrame(
        {"site": np.where(site == 1, "south", "north"), "age": 70.0 + np.arange(n_patients) % 9},
        index=pd.Index(table.patient_ids, name="patient_id"),
    )
    return dataclasses.replace(table, features=features), folds_of(table, labels), covariates


def test_combat_takes_a_sites_shift_out_of_slices_and_patients() -> None:
    table, folds, covariates = _two_sites()
    before, after = _run(table, folds), _run(table, folds, covariates=covariates)
    site = before.slices.table["patient_id"].map(covariates["site"]) == "south"
    logit = [
        np.log(one.slices.table["score"] / (1 - one.slices.table["score"]))
        for one in (before, after)
    ]
    gap = [abs(values[site].mean() - values[~site].mean()) / values.std() for values in logit]
    assert gap[1] < gap[0] / 2
    assert _auc(after) > _auc(before)


def test_without_a_difference_between_sites_combat_changes_little() -> None:
    table, folds, covariates = _two_sites(offset=0.0)
    before, after = _run(table, folds), _run(table, folds, covariates=covariates)
    assert abs(_auc(after) - _auc(before)) < 0.05


def test_harmonisation_of_a_fold_does_not_depend_on_its_test_patients() -> None:
    table, folds, covariates = _two_sites(n_patients=40)
    held = folds.assignment[0] == 2
    features = table.features.copy()
    features[held] = 7.0
    covariates = covariates.copy()
    covariates.loc[held, "age"] += 40
    covariates.loc[held, "site"] = "north"
    labels = tuple(
        {"AD": "CN", "CN": "AD"}[label] if out else label
        for label, out in zip(folds.labels, held, strict=True)
    )
    before = _run(table, folds, space=SPACE, covariates=covariates, only={(0, 2)}).trained[0]
    after = _run(
        dataclasses.replace(table, features=features),
        dataclasses.replace(folds, labels=labels),
        space=SPACE,
        covariates=covariates,
        only={(0, 2)},
    ).trained[0]
    assert before.head.facts == after.head.facts
    for one, other in (
        (before.head.tensors, after.head.tensors),
        (before.harmoniser.combat.tensors, after.harmoniser.combat.tensors),
    ):
        assert all(np.array_equal(values, other[name]) for name, values in one.items())


def test_a_harmonised_fold_reads_back_and_predicts_the_same(tmp_path: Path) -> None:
    table, folds, covariates = _two_sites(n_patients=40)
    result = _run(table, folds, covariates=covariates, recalibration=("platt",))
    again = []
    for one in result.trained:
        stem = tmp_path / f"r{one.repeat}_f{one.fold}"
        files = one.write(stem)
        assert sorted(files) == sorted(tmp_path.glob(f"{stem.name}*"))
        assert len(files) == 4
        again.append(
            FittedModel.read(stem, repeat=one.repeat, fold=one.fold, covariates=covariates)
        )
    patients, slices = predict_folds(
        again, {"max": table}, folds, positive_label="AD", negative_label="CN"
    )
    assert patients.table.equals(result.patients.table)
    assert slices.table.equals(result.slices.table)


def test_a_fold_without_harmonisation_has_two_files(tmp_path: Path) -> None:
    table, labels = feature_table()
    one = _run(table, folds_of(table, labels)).trained[1]
    assert sorted(one.write(tmp_path / "r0_f1")) == sorted(tmp_path.iterdir())
    again = FittedModel.read(tmp_path / "r0_f1", repeat=0, fold=1)
    assert again.head.facts == one.head.facts
    assert again.harmoniser is None
    with pytest.raises(Exception, match="r0_f1_combat"):
        FittedModel.read(tmp_path / "r0_f1", repeat=0, fold=1, covariates=pd.DataFrame())


def test_a_site_that_no_training_patient_is_from_is_refused_by_name() -> None:
    table, folds, covariates = _two_sites(n_patients=40)
    covariates = covariates.copy()
    held = folds.assignment[0] == 1
    covariates.loc[held, "site"] = "elsewhere"
    with pytest.raises(HeadError, match=r"no training patient is from.*elsewhere"):
        _run(
            table,
            folds,
            covariates=covariates,
            only={(0, 1)},
        )


def test_test_patients_are_told_apart_by_the_folds_own_threshold() -> None:
    table, labels = feature_table()
    result = _run(table, folds_of(table, labels))
    assert len({one.threshold for one in result.trained}) > 1
    rows = result.patients.table
    for one in result.trained:
        mine = rows[rows["fold"] == one.fold]
        assert ((mine["score"] >= one.threshold) == (mine["predicted"] == "AD")).all()


def test_operating_points_are_set_on_inner_scores() -> None:
    """The lowest rate that still reaches the target, on training patients."""
    table, labels = feature_table(n_patients=60)
    folds = folds_of(table, labels)
    result = _run(table, folds, targets=("sensitivity 0.8", "specificity 0.8"))
    label = dict(zip(folds.patient_ids, folds.labels, strict=True))
    rows = result.inner.table
    for one in result.trained:
        mine = rows[rows["fold"] == one.fold]
        truth = mine["patient_id"].map(label).to_numpy() == "AD"
        score = mine["score"].to_numpy()
        at = one.head.facts["target_thresholds"]
        assert set(at) == {"sensitivity 0.8", "specificity 0.8"}
        assert (score >= at["sensitivity 0.8"])[truth].mean() >= 0.8
        assert (score < at["specificity 0.8"])[~truth].mean() >= 0.8
        # And no more than needed: the next threshold misses it.
        higher = score[score > at["sensitivity 0.8"]].min()
        assert (score >= higher)[truth].mean() < 0.8
