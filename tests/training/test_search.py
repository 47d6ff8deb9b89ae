"""The search asks what is configured first, tries what it was told to, and is slow to leave."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from mri_transfer.errors import ConfigurationError
from mri_transfer.metrics.paired import corrected_standard_error
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec, MlpHeadSpec
from mri_transfer.training.search import (
    FoldSearch,
    Hyperparameters,
    SearchSpec,
    check_space,
    searched_poolings,
)

BASE = Hyperparameters(pooling="max", head=LinearHeadSpec(), aggregation="auto")
SPACE = {
    "features.pooling": ["average"],
    "heads.zones": [1, 4],
    "predictions.aggregation": ["mean_probability"],
}


def _asked(
    spec: SearchSpec, base: Hyperparameters = BASE, *, seed: int = 0
) -> list[Hyperparameters]:
    """Let a search run whose figures favour more zones and the average."""
    search = FoldSearch(spec, base, seed=seed)
    asked = []
    for _ in range(search.n_trials):
        procedure = search.ask()
        worth = 0.6 + 0.1 * (procedure.pooling == "average") + 0.02 * procedure.head.zones
        search.tell(procedure, [worth, worth])
        asked.append(procedure)
    return asked


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
@pytest.mark.parametrize("seed", range(3))
def test_the_configured_procedure_is_asked_first(sampler, seed: int) -> None:
    assert _asked(SearchSpec(space=SPACE, sampler=sampler), seed=seed)[0] == BASE


def test_the_grid_tries_every_combination_once() -> None:
    asked = _asked(SearchSpec(space=SPACE, sampler="grid", n_trials=1))
    tried = {(one.pooling, one.head.zones, one.aggregation) for one in asked}
    assert len(asked) == len(tried) == 2 * 3 * 2
    assert tried == {
        (pooling, zones, aggregation)
        for pooling in ("max", "average")
        for zones in (1, 2, 4)
        for aggregation in ("auto", "mean_probability")
    }


def test_no_more_trials_than_wanted() -> None:
    assert len(_asked(SearchSpec(space=SPACE, n_trials=5))) == 5


@pytest.mark.parametrize("seed", range(5))
def test_a_space_no_larger_than_the_trials_is_tried_in_whole(seed: int) -> None:
    asked = _asked(SearchSpec(space={"heads.zones": [1, 4]}, n_trials=50), seed=seed)
    assert sorted(one.head.zones for one in asked) == [1, 2, 4]


def test_the_same_seed_asks_the_same_and_another_seed_does_not() -> None:
    spec = SearchSpec(space=SPACE, n_trials=8)
    assert _asked(spec, seed=3) == _asked(spec, seed=3)
    assert len({tuple(_asked(spec, seed=seed)) for seed in range(4)}) > 1


def _told(base: list[float], other: list[float], *, margin_se: float) -> Hyperparameters:
    spec = SearchSpec(space={"heads.zones": [4]}, sampler="grid", margin_se=margin_se)
    search = FoldSearch(spec, BASE, seed=0)
    for aucs in (base, other):
        search.tell(search.ask(), aucs)
    return search.choose(n_train=20, n_test=10)


def test_the_margin_is_counted_in_corrected_standard_errors() -> None:
    """Ahead by 0.1 on average; the corrected error is 0.2 * sqrt(1/3 + 10/20) = 0.183."""
    base, other = [0.5, 0.7, 0.6], [0.8, 0.6, 0.7]
    assert _told(base, other, margin_se=0.54).head.zones == 4
    assert _told(base, other, margin_se=0.56) == BASE
    assert _told(base, other, margin_se=0.0).head.zones == 4


def test_of_equals_the_configured_procedure_stays() -> None:
    assert _told([0.7, 0.8], [0.8, 0.7], margin_se=0.0) == BASE
    assert _told([0.8, 0.8], [0.7, 0.7], margin_se=0.0) == BASE


def test_the_corrected_standard_error_has_its_hand_value() -> None:
    """Variance 0.04; over 4 folds of 25 of 100 patients: 0.04 * (1/4 + 1/3)."""
    values = [0.1, 0.1, 0.1 + math.sqrt(0.06), 0.1 - math.sqrt(0.06)]
    found = corrected_standard_error(values, n_train=75, n_test=25)
    assert found == pytest.approx(math.sqrt(0.04 * (1 / 4 + 1 / 3)))
    naive = np.std(values, ddof=1) / 2
    assert found > naive


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ({"heads.zonse": [1]}, "zonse"),
        ({"heads.zones": [0]}, "zones"),
        ({"heads.inverse_l2": [["strong"]]}, "strong"),
        ({"features.pooling": ["maks"]}, "maks"),
        ({"features.pooling": [3]}, "features.pooling"),
        ({"predictions.aggregation": ["avg"]}, "avg"),
        ({"slices.n_slices": [16]}, r"slices\.n_slices"),
        ({"heads.kind": ["attention"]}, r"heads\.kind"),
        ({"heads": ["attention"]}, "'attention'"),
        ({"heads": [{"kind": "forest"}]}, "forest"),
        ({"heads": [{"kind": "attention", "zones": 2}]}, "zones"),
        # A setting that one of the searched heads lacks.
        ({"heads": [{"kind": "attention"}], "heads.zones": [1]}, "zones"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_by_name(space: dict, named: str) -> None:
    spec = SearchSpec(space=space)
    with pytest.raises(ConfigurationError, match=named):
        check_space(spec, BASE)
    with pytest.raises(ConfigurationError, match=named):
        FoldSearch(spec, BASE, seed=0)


@pytest.mark.parametrize("space", ["all", 3, {"heads.zones": 4}, {"heads": {"zones": 4}}])
def test_a_space_is_auto_or_none_or_lists_of_values(space: object) -> None:
    with pytest.raises(ValidationError, match=r"`none`|must be a list"):
        SearchSpec(space=space)


def test_a_table_in_a_table_means_the_setting_of_that_name() -> None:
    nested = SearchSpec(space={"heads": {"zones": [1, 4]}, "features": {"pooling": ["average"]}})
    assert nested == SearchSpec(space={"heads.zones": [1, 4], "features.pooling": ["average"]})


@pytest.mark.parametrize(
    "head", [LinearHeadSpec(), AttentionHeadSpec(), MlpHeadSpec()], ids=lambda head: head.kind
)
def test_what_suits_a_head_can_be_searched_and_nothing_is_searched_for_the_published(head) -> None:
    spec, base = SearchSpec(), Hyperparameters(pooling="max", head=head, aggregation="auto")
    check_space(spec, base)
    assert bool(spec.for_head(head.kind)) == (head.kind != "mlp")
    assert SearchSpec(space="none").for_head(head.kind) == {}
    for name, values in spec.for_head(head.kind).items():
        assert all(base.with_settings({name: value}) != base for value in values)


def test_a_kind_of_head_can_be_searched_with_its_own_defaults() -> None:
    space = {"heads": [{"kind": "attention", "epochs": 3}, {"zones": 1}]}
    base, attention, linear = _asked_heads(SearchSpec(space=space, sampler="grid"))
    assert base == LinearHeadSpec()
    assert attention == AttentionHeadSpec(epochs=3)
    assert linear == LinearHeadSpec(zones=1)


def _asked_heads(spec: SearchSpec) -> list[object]:
    search = FoldSearch(spec, BASE, seed=0)
    heads: list[object] = []
    for _ in range(search.n_trials):
        procedure = search.ask()
        search.tell(procedure, [0.5, 0.6])
        heads.append(procedure.head)
    return heads


def test_a_procedure_reads_back_with_auto_spelled_out() -> None:
    found = BASE.with_settings({"heads.inverse_l2": [1.0, 3.0], "features.pooling": "average"})
    content = found.as_dict()
    assert content["aggregation"] == "mean_logit"
    assert content["head"]["inverse_l2"] == [1.0, 3.0]
    again = Hyperparameters.from_dict(content)
    assert again == found.resolved != found
    assert again.as_dict() == content


def test_poolings_to_encode_are_those_of_the_space() -> None:
    spec = SearchSpec(space={"features.pooling": ["flatten", "max"]})
    assert searched_poolings(spec, "linear") == ("max", "flatten")
    assert searched_poolings(SearchSpec(space={"heads.zones": [1]}), "linear") == ()
    assert searched_poolings(SearchSpec(), "mlp") == ()
    with pytest.raises(ConfigurationError, match="maks"):
        searched_poolings(SearchSpec(space={"features.pooling": ["maks"]}), "linear")
