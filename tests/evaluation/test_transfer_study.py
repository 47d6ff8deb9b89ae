"""Studies of transfer learning: the advice follows the figures, whatever the rule says."""

from __future__ import annotations

from typing import Any

import pytest

from mri_transfer.evaluation.audit.learning_results import LearningCurve
from mri_transfer.evaluation.transfer_study import (
    advise,
    fewer_patients,
    rule_of_thumb,
)
from tests.studies import arm


@pytest.mark.parametrize(
    ("n_patients", "similar", "strategy"),
    [(140, False, "some"), (140, True, "frozen"), (5000, True, "most"), (5000, False, "all")],
)
def test_the_rule_of_thumb_looks_at_size_and_likeness(
    n_patients: int, similar: bool, strategy: str
) -> None:
    found, rule = rule_of_thumb(n_patients, similar=similar)
    assert found == strategy
    assert str(n_patients) in rule


def test_a_gain_that_could_be_chance_changes_nothing() -> None:
    arms = [arm("frozen"), arm("some", 0.03, 0.4), arm("all", 0.02, 0.06)]
    advice = advise(arms, reference="vgg16-frozen", n_patients=140)
    assert advice.recommended == "vgg16-frozen"
    assert advice.strategy_of_rule == "some"
    assert advice.agrees is False
    assert "+0.030 (-0.020 to +0.080), for 10 times the time" in advice.sentence


def test_the_largest_of_several_clear_gains_is_recommended_with_a_caution() -> None:
    arms = [
        arm("frozen"),
        arm("some", 0.06, 0.01),
        arm("most", 0.08, 0.04),
        arm("all", -0.2, 0.001),
    ]
    advice = advise(arms, reference="vgg16-frozen", n_patients=140)
    assert advice.recommended == "vgg16-most"
    assert advice.agrees is False
    assert "confirm it on other patients" in advice.sentence


def test_a_rule_that_was_not_tried_is_neither_right_nor_wrong() -> None:
    advice = advise([arm("frozen"), arm("all", 0.0, 1.0)], reference="vgg16-frozen", n_patients=140)
    assert advice.agrees is None


def learning_curve(trained: list[float], untrained: list[float]) -> LearningCurve:
    sizes = [20, 40, 80]

    def table(aucs: list[float]) -> dict[str, Any]:
        estimate = {"ci_low": None, "ci_high": None, "n": 100, "method": "made up", "reason": "x"}
        rows = [
            {
                "size": size,
                "n_train": size,
                "auc": {"value": auc, **estimate},
                "auc_within_folds": auc,
                "draws": {"n": 2, "sd": 0.0, "lowest": auc, "highest": auc},
            }
            for size, auc in zip(sizes, aucs, strict=True)
        ]
        beyond = {"value": None, **estimate, "at": 160, "a": None, "b": None, "c": None}
        return {"curve": rows, "extrapolation": beyond}

    return LearningCurve.model_validate(
        {
            "head": "linear",
            "n_patients": 100,
            "n_draws": 2,
            "tables": {"trained trunk": table(trained), "random trunk": table(untrained)},
            "transfer": {},
            "sizes_left_out": [],
        }
    )


def test_patients_that_weights_save_are_read_between_the_sizes() -> None:
    # The untrained trunk ends at .70, half-way between the pretrained one's .65 and .75.
    found = fewer_patients(learning_curve([0.65, 0.75, 0.8], [0.6, 0.65, 0.7]))
    assert found is not None
    assert (found.untrained, found.pretrained) == (80, pytest.approx(30))
    assert "2.7 times fewer" in found.sentence


def test_what_lies_outside_the_sizes_is_not_extrapolated() -> None:
    least = fewer_patients(learning_curve([0.75, 0.76, 0.8], [0.6, 0.65, 0.7]))
    assert least is not None
    assert least.pretrained == 20
    assert "at least 4.0 times fewer" in least.sentence
    never = fewer_patients(learning_curve([0.6, 0.61, 0.62], [0.6, 0.65, 0.7]))
    assert never is not None
    assert never.pretrained is None
    assert "does not reach" in never.sentence
    assert fewer_patients(None) is None
