"""How much of a trunk each strategy trains."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mri_transfer.models.tails.spec import TuningSpec, cut_of, frozen_stages
from mri_transfer.models.trunks import INPUT, TrunkSpec


@pytest.mark.parametrize(
    ("strategy", "of_four", "of_five"),
    [("frozen", 4, 5), ("some", 3, 4), ("most", 2, 2), ("all", 0, 0)],
)
def test_a_strategy_says_how_many_stages_stay_frozen(strategy, of_four, of_five) -> None:
    assert frozen_stages(strategy, tuple("abcd")) == of_four
    assert frozen_stages(strategy, tuple("abcde")) == of_five


def test_the_cut_lies_before_the_stages_that_are_used_and_trained() -> None:
    """VGG16 is read out at its fourth block: the fifth counts for nothing."""
    cuts = [cut_of(TrunkSpec(), TuningSpec(strategy=name)) for name in ("some", "most", "all")]
    assert cuts == ["block3_pool", "block2_pool", INPUT]
    last = TrunkSpec(layer="block5_pool")
    assert cut_of(last, TuningSpec(strategy="some")) == "block4_pool"


def test_few_parameters_are_trained_at_a_higher_rate_than_all() -> None:
    def rate(**settings: object) -> float:
        return TuningSpec(strategy="some", **settings).rate

    assert rate() == pytest.approx(1e-4)
    assert [rate(method=name) for name in ("ssf", "norm", "lora")] == [pytest.approx(1e-3)] * 3
    assert rate(optimiser="sgd") == pytest.approx(0.01)
    assert rate(method="lora", learning_rate=0.5) == 0.5


def test_random_weights_that_stay_frozen_are_refused() -> None:
    with pytest.raises(ValidationError, match="would never learn anything"):
        TuningSpec(strategy="some", start="random")
    assert TuningSpec(strategy="all", start="random").trains
    assert not TuningSpec().trains


def test_rates_fall_by_stage_and_stages_thaw_one_after_another() -> None:
    spec = TuningSpec(
        strategy="all", learning_rate=0.01, layer_decay=0.5, epochs=10, unfreeze="by_stage"
    )
    assert [spec.rate_of(depth) for depth in range(3)] == [0.01, 0.005, 0.0025]
    assert [spec.thawed_after(depth, 4) for depth in range(4)] == [0, 2, 5, 7]
    together = TuningSpec(strategy="all", epochs=10)
    assert [together.thawed_after(depth, 4) for depth in range(4)] == [0, 0, 0, 0]
