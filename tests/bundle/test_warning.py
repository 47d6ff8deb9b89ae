"""What a prediction says first: undecided where the set holds both labels, and every warning."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mri_transfer.bundle import LabelSet, Overlap, Prediction
from mri_transfer.bundle.warning import model_notices, prediction_warnings
from mri_transfer.evaluation.notices import Notice
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


def test_a_notebook_shows_warnings_before_the_call_and_the_call_before_the_score() -> None:
    shown = prediction(
        scan_id="<scan>", score=0.7, score_low=0.6, score_high=0.8, threshold=0.5,
        call="undecided", reasons=(), positive_name="Alzheimer's disease (AD)",
        warnings=(Notice(code="x", title="Trained on it.", text="No test."),),
        labels=LabelSet(labels=("CN", "AD"), coverage=0.9, p_positive=0.5, p_negative=0.2),
    )._repr_html_()  # fmt: skip
    order = ["Trained on it.", "undecided", "0.70 (0.60 to 0.80)", "CN, AD", "not a medical device"]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)
    assert "&lt;scan&gt;" in shown


def test_a_notebook_shows_no_number_where_the_bundle_abstains() -> None:
    shown = prediction(
        scan_id="s", status="abstained", reasons=("another contrast",), warnings=()
    )._repr_html_()
    assert "another contrast" in shown
    assert "probability" not in shown


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
