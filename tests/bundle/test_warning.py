"""What a prediction says first: undecided where the set holds both labels, and every warning."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mri_transfer.bundle import LabelSet, Overlap, Prediction
from mri_transfer.bundle.warning import model_notices, prediction_warnings
from tests.bundle.bundles import some_bundle


def prediction(**changes: Any) -> Prediction:
    blank = dict.fromkeys(field.name for field in dataclasses.fields(Prediction))
    known = {"status": "predicted", "quality": "pass", "quality_reasons": (), "label": "AD"}
    overlap = Overlap(patient=False, scan=False)
    return Prediction(**{**blank, **known, "overlap": overlap, **changes})


@pytest.mark.parametrize(
    ("labels", "decided"),
    [(("AD",), True), (("CN", "AD"), False), (("CN",), False), ((), False), (None, True)],
)
def test_a_call_is_decided_where_the_set_names_it_alone(
    labels: tuple[str, ...] | None, decided: bool
) -> None:
    found = (
        None
        if labels is None
        else LabelSet(labels=labels, coverage=0.9, p_positive=0.5, p_negative=0.2)
    )
    assert prediction(labels=found).decided == decided


def codes(**changes: Any) -> list[str]:
    return [one.code for one in prediction_warnings(prediction(**changes), some_bundle())]


def test_warnings_are_of_the_model_first_then_of_the_scan() -> None:
    # The made-up bundle has an untrained trunk.
    of_model = ["synthetic_cohort", "random_trunk"]
    assert codes() == codes(status="abstained") == of_model
    assert codes(
        status="forced",
        overlap=Overlap(patient=True, scan=False),
        quality="warn",
        quality_reasons=("noise",),
    ) == [*of_model, "forced", "trained_on", "quality"]


def test_a_model_of_patients_on_a_pretrained_trunk_has_no_warning() -> None:
    bundle = some_bundle()
    facts = {**bundle.facts, "cohort": {**bundle.facts["cohort"], "synthetic": False}}
    facts["recipe"] = {
        **facts["recipe"],
        "trunk": {**facts["recipe"]["trunk"], "weights": "imagenet"},
    }
    assert model_notices(dataclasses.replace(bundle, facts=facts)) == ()
