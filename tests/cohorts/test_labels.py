"""Which labels take part, what the others are called, and why a scan is left out."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mri_transfer.cohorts.labels import LabelSpec, demand_both_labels, spelt_out, why_unused
from mri_transfer.errors import ConfigurationError

THREE = LabelSpec(classes=("CN", "MCI", "AD"))


def test_two_labels_are_used_and_the_other_keeps_its_name() -> None:
    assert LabelSpec().used == ("CN", "AD")
    assert LabelSpec().others == "CN"


def test_of_three_classes_all_are_used_and_the_rest_is_not_the_positive() -> None:
    assert THREE.used == ("CN", "MCI", "AD")
    assert THREE.others == "not AD"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positive": "AD", "negative": "AD"}, "must differ"),
        ({"classes": ("CN", "AD")}, "three or more"),
        ({"classes": ("CN", "AD", "AD")}, "distinct"),
        ({"classes": ("CN", "MCI", "FTD")}, r"labels\.positive"),
        ({"classes": ("MCI", "AD", "FTD")}, r"labels\.negative"),
    ],
)
def test_labels_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LabelSpec(**settings)


def test_a_scan_is_left_out_for_a_reason_that_names_its_label() -> None:
    assert why_unused("AD", LabelSpec()) is None
    assert "MCI is neither AD nor CN" in str(why_unused("MCI", LabelSpec()))
    assert why_unused("MCI", THREE) is None
    assert "FTD is not one of CN, MCI, AD" in str(why_unused("FTD", THREE))
    for spec in (LabelSpec(), THREE):
        assert "never treated as healthy" in str(why_unused(None, spec))
    assert why_unused(None, LabelSpec(unlabelled="keep")) is None


def test_a_class_that_nobody_has_is_named() -> None:
    demand_both_labels(["AD", "CN", None, "MCI"], THREE)
    with pytest.raises(ConfigurationError, match="no scan is labelled MCI"):
        demand_both_labels(["AD", "CN"], THREE)
    with pytest.raises(ConfigurationError, match="no scan is labelled AD"):
        demand_both_labels(["CN", None], LabelSpec())


def test_labels_that_are_numbers_are_taken_as_their_text() -> None:
    spec = LabelSpec(positive=1, negative=0)
    assert (spec.positive, spec.negative) == ("1", "0")
    assert LabelSpec(positive=2, negative=0, classes=(0, 1, 2)).used == ("0", "1", "2")
    for value in (True, 1.5, ""):
        with pytest.raises(ValidationError):
            LabelSpec(positive=value)


def test_known_abbreviations_are_spelt_out_and_others_stay() -> None:
    assert spelt_out("AD") == "Alzheimer's disease (AD)"
    assert spelt_out("CN") == "cognitively normal (CN)"
    assert spelt_out("not AD") == "not Alzheimer's disease (AD)"
    assert spelt_out("group_7") == "group_7"
