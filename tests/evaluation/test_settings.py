"""Settings of the evaluation that make no sense are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mri_transfer.errors import ConfigurationError, EvaluationError
from mri_transfer.evaluation.settings import EvaluationSpec, Evidence
from mri_transfer.metrics.task import Task


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prevalences": (0.1, 1.0)}, "prevalences"),
        ({"prevalences": (0.0,)}, "prevalences"),
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": 0.2}, "confidence"),
        ({"bootstrap_samples": 10}, "bootstrap_samples"),
        ({"age_caliper_years": 0.0}, "age_caliper_years"),
        ({"worst_patients": -1}, "worst_patients"),
        ({"image_baseline": True}, "image_baseline"),
    ],
)
def test_a_setting_without_sense_is_refused_by_name(settings: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        EvaluationSpec(**settings)


@pytest.mark.parametrize("name", ["mmse", "cdr", "CDR_SB", "diagnosis"])
def test_what_defines_the_label_is_no_covariate(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        EvaluationSpec(covariates=("age", name))


def test_a_task_has_two_different_labels() -> None:
    assert Task(positive="AD", negative="CN").labels == ("CN", "AD")
    with pytest.raises(EvaluationError, match="two different labels"):
        Task(positive="AD", negative="AD")


def test_without_evidence_there_is_none() -> None:
    nothing = Evidence()
    assert nothing.inner_scores is None
    assert nothing.class_scores is None
    assert not nothing.image_baselines
    assert not nothing.heads
