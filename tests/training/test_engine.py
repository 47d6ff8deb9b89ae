"""A fit sees its training patients and nobody else, however it looks for others."""

from __future__ import annotations

import dataclasses
import gc
import types

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec, MlpHeadSpec
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.engine import fit_folds, workers
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds, OuterFold
from tests.synthetic import feature_table, folds_of

COMBAT = HarmonisationSpec(kind="combat", preserve=())


def _data(**settings) -> tuple[LabelledFeatures, Folds]:
    table, labels = feature_table(n_slices=4, n_features=12, two_sessions=6, **settings)
    folds = folds_of(table, labels)
    names = pd.Index(folds.patient_ids, name="patient_id")
    sites = pd.DataFrame({"site": [f"site of {name}" for name in names]}, index=names)
    return LabelledFeatures.of_folds({"max": table}, folds, "AD", covariates=sites), folds


def _reachable(start: object) -> list[object]:
    """Return all that can be reached from an object: attributes, elements, bases of arrays."""
    seen: dict[int, object] = {}
    todo = [start]
    while todo:
        one = todo.pop()
        # Classes and modules lead everywhere, and hold no patient.
        if id(one) in seen or isinstance(one, type | types.ModuleType | types.FunctionType):
            continue
        seen[id(one)] = one
        todo += gc.get_referents(one)
        if isinstance(one, np.ndarray) and one.base is not None:
            todo.append(one.base)
        if isinstance(one, pd.DataFrame):
            # Its blocks are C objects, which name no referents.
            todo += [one.index.to_numpy(object), *(one[name].to_numpy(object) for name in one)]
    return list(seen.values())


def _found_of(view: object, names: set[str], rows: set[bytes]) -> set[str]:
    """Say of which patients a name or a slice's features can be reached from a view."""
    found: set[str] = set()
    for one in _reachable(view):
        if isinstance(one, str):
            found |= {name for name in names if name in one}
        elif isinstance(one, np.ndarray) and one.dtype == object:
            found |= {name for value in one.ravel() for name in names if name in str(value)}
        elif isinstance(one, np.ndarray) and one.dtype == np.float32 and one.ndim == 3:
            found |= {"features" for row in one.reshape(-1, one.shape[-1]) if row.tobytes() in rows}
    return found


class _Prying(TransferClassifier):
    """A planted leak: whatever it is handed, it looks for test patients in it."""

    names: frozenset[str] = frozenset()
    rows: frozenset[bytes] = frozenset()

    def fit_view(self, view, **settings):
        self.reached_ = _found_of(view, set(self.names), set(self.rows))
        super().fit_view(view, **settings)
        PRIED.append(self.reached_)
        return self


PRIED: list[set[str]] = []


def test_a_fit_that_looks_for_test_patients_finds_none(monkeypatch) -> None:
    data, folds = _data()
    PRIED.clear()
    for outer in folds:
        names = {data.patient_ids[i] for i in outer.test}
        monkeypatch.setattr(_Prying, "names", frozenset(names))
        monkeypatch.setattr(_Prying, "rows", _rows_of(data, names))
        list(fit_folds(_Prying(head=LinearHeadSpec()), data, [outer], seed=0))
    assert [set()] * 4 == PRIED


def test_the_same_fit_finds_those_that_it_was_handed() -> None:
    """The twin: the search does find whoever is there, in a table, a label or a covariate."""
    data, folds = _data()
    outer = next(iter(folds))
    names = {data.patient_ids[i] for i in outer.test}
    rows = set(_rows_of(data, names))
    train = [data.patient_ids[i] for i in outer.train]
    view = data.view(train)
    assert _found_of(view, names, rows) == set()
    assert _found_of(data, names, rows) == {*names, "features"}
    # Covariates of everybody, beside the features of some.
    whole = dataclasses.replace(view, covariates=data.covariates)
    assert _found_of(whole, names, rows) == names
    # And so would a training patient be found in a view.
    assert _found_of(view, {train[0]}, set(_rows_of(data, {train[0]}))) == {train[0], "features"}


def _rows_of(data: LabelledFeatures, names: set[str]) -> frozenset[bytes]:
    scans = [i for i, name in enumerate(data.scans.patient_ids) if name in names]
    features = data.scans.features[scans]
    return frozenset(row.tobytes() for row in features.reshape(-1, features.shape[-1]))


def test_a_window_into_a_larger_table_is_no_view() -> None:
    data, _ = _data()
    table = data.scans
    window = dataclasses.replace(
        table,
        scan_ids=table.scan_ids[:20],
        patient_ids=table.patient_ids[:20],
        scan_sha256=table.scan_sha256[:20],
        features=table.features[:20],
        z_mm=table.z_mm[:20],
    )
    labels = {name: data.labels[name] for name in window.patient_ids}
    with pytest.raises(ValueError, match="must be its own"):
        TrainingView(
            tables={"max": window},
            labels=labels,
            positive="AD",
            slices=np.ones((20, 4), dtype=bool),
        )


def test_a_view_of_a_view_holds_its_patients_alone() -> None:
    data, _ = _data()
    outer = data.view(data.patient_ids[:20])
    inner = outer.view(data.patient_ids[:10])
    assert inner.patient_ids == data.patient_ids[:10]
    assert set(inner.covariates.index) == set(inner.patient_ids)
    # Who is not in a view cannot be asked for through it.
    assert outer.view(data.patient_ids[15:25]).patient_ids == data.patient_ids[15:20]


def test_a_view_does_not_change_with_what_it_was_made_of() -> None:
    data, _ = _data()
    view = data.view(data.patient_ids[:20])
    before = view.scans.features.copy()
    data.scans.features[:] = 0.0
    data.covariates["site"] = "elsewhere"
    np.testing.assert_array_equal(view.scans.features, before)
    assert "elsewhere" not in set(view.covariates["site"])


def test_a_view_is_in_the_order_of_names_whatever_the_tables_is() -> None:
    data, _ = _data()
    scans = list(zip(data.scans.patient_ids, data.scans.scan_ids, strict=True))
    assert scans != sorted(scans)
    view = data.view(data.patient_ids).scans
    assert list(zip(view.patient_ids, view.scan_ids, strict=True)) == sorted(scans)


def test_slices_that_may_not_be_seen_are_not_there() -> None:
    """The stress test's leaky views: what is left out of a patient has no features."""
    data, _ = _data()
    rng = np.random.default_rng(0)
    slices = rng.random((len(data.scans.scan_ids), 4)) < 0.5
    slices[3] = False
    view = data.view_of_slices(slices)
    assert data.scans.scan_ids[3] not in view.scans.scan_ids
    by_scan = dict(zip(data.scans.scan_ids, slices, strict=True))
    for scan, seen, features in zip(
        view.scans.scan_ids, view.slices, view.scans.features, strict=True
    ):
        np.testing.assert_array_equal(seen, by_scan[scan])
        assert not features[~seen].any()
        assert features[seen].all()
    hidden = data.scans.features[~slices]
    rows = {row.tobytes() for row in hidden}
    assert _found_of(view, set(), rows) == set()


def test_harmonisation_learns_from_the_slices_that_may_be_seen() -> None:
    """With all hidden slices spoilt, a leaky view leads to the same ComBat and head."""
    data, _ = _data()
    sites = pd.DataFrame(
        {"site": [f"site{i // 2 % 2}" for i in range(40)]}, index=data.covariates.index
    )
    data = dataclasses.replace(data, covariates=sites)
    slices = np.random.default_rng(0).random((46, 4)) < 0.7
    spoilt = data.scans.features.copy()
    spoilt[~slices] = 99.0
    other = dataclasses.replace(
        data, tables={"max": dataclasses.replace(data.scans, features=spoilt)}
    )
    estimator = TransferClassifier(harmonisation=COMBAT).without_choices()
    first, second = (
        estimator.fit_view(one.view_of_slices(slices), seed=0, place=()).model_
        for one in (data, other)
    )
    for name, values in first.harmoniser.combat.tensors.items():
        np.testing.assert_array_equal(values, second.harmoniser.combat.tensors[name])
    for name, values in first.head.tensors.items():
        np.testing.assert_array_equal(values, second.head.tensors[name])


@pytest.mark.parametrize(
    "head",
    [
        LinearHeadSpec(),
        MlpHeadSpec(hidden=6, epochs=3),
        AttentionHeadSpec(hidden=4, epochs=3),
    ],
    ids=["linear", "mlp", "attention"],
)
def test_folds_beside_each_other_are_those_one_after_the_other(head) -> None:
    data, folds = _data()
    estimator = TransferClassifier(head=head, n_inner_folds=2)
    together = list(fit_folds(estimator, data, folds, seed=4))
    alone = [next(iter(fit_folds(estimator, data, [outer], seed=4))) for outer in folds]
    assert [one.outer.fold for one in together] == [0, 1, 2, 3]
    assert not hasattr(estimator, "result_")
    for one, other in zip(together, alone, strict=True):
        assert one.fit.model.head.facts == other.fit.model.head.facts
        for name, values in one.fit.model.head.tensors.items():
            assert values.tobytes() == other.fit.model.head.tensors[name].tobytes()
        np.testing.assert_array_equal(one.held_out.output.logits, other.held_out.output.logits)


def test_a_fold_that_holds_nobody_out_is_fitted_all_the_same() -> None:
    data, _ = _data()
    everybody = OuterFold(repeat=0, fold=0, train=np.arange(40), test=np.zeros(0, dtype=np.int64))
    (result,) = fit_folds(TransferClassifier(), data, [everybody], seed=0)
    assert result.fit.patient_ids == data.patient_ids
    assert result.held_out.output.logits.shape == (0, 4)


def test_a_fault_in_one_fold_is_told() -> None:
    data, folds = _data()
    healthy = np.array([i for i, name in enumerate(data.patient_ids) if data.labels[name] == "CN"])
    one_label = dataclasses.replace(next(iter(folds)), train=healthy)
    for head in (LinearHeadSpec(), AttentionHeadSpec(hidden=2, epochs=1)):
        estimator = TransferClassifier(head=head).without_choices()
        with pytest.raises(HeadError, match="both labels"):
            list(fit_folds(estimator, data, [one_label], seed=0))


def test_sites_cannot_be_taken_out_of_features_without_covariates() -> None:
    data, folds = _data()
    bare = dataclasses.replace(data, covariates=None)
    with pytest.raises(ConfigurationError, match="covariates of the patients are not known"):
        list(fit_folds(TransferClassifier(harmonisation=COMBAT), bare, folds, seed=0))


def test_threads_are_left_as_they_were() -> None:
    import torch

    before = torch.get_num_threads()
    with workers() as run:
        assert list(run(lambda _: torch.get_num_threads(), range(3))) == [1, 1, 1]
    assert torch.get_num_threads() == before


def test_an_inner_score_owes_nothing_to_those_held_out_with_it() -> None:
    """With another patient of the same inner fold spoilt, it is the same to the last bit."""
    data, _ = _data()
    spoilt = data.scans.features.copy()
    spoilt[[name == "p002" for name in data.scans.patient_ids]] += 9.0
    other = dataclasses.replace(
        data, tables={"max": dataclasses.replace(data.scans, features=spoilt)}
    )
    before, after = (
        TransferClassifier(n_inner_folds=3).fit_view(one.view(one.patient_ids), seed=0, place=())
        for one in (data, other)
    )
    fold, where = before.result_.inner_folds, data.patient_ids.index("p002")
    scores, changed = before.result_.inner_scores, after.result_.inner_scores
    beside = (fold == fold[where]) & (np.arange(40) != where)
    np.testing.assert_array_equal(changed[beside], scores[beside])
    assert not np.array_equal(changed[fold != fold[where]], scores[fold != fold[where]])
