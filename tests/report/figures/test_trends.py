"""Lines over a scale show the arrays they were given, and what has no value is left out."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np

from mri_transfer.evaluation.audit.learning_results import (
    Draws,
    Extrapolation,
    FeatureCurve,
    LearningCurve,
    LearningPoint,
)
from mri_transfer.metrics.results import DecisionCurve, OtherCurve
from mri_transfer.report import figures
from tests.report.documents import audit_with, estimate_of, evaluation_of
from tests.report.figures.axes import line

if TYPE_CHECKING:
    from matplotlib.axes import Axes


CURVE = DecisionCurve(
    thresholds=(0.1, 0.2, 0.3),
    treat_all=(0.4, 0.3, -0.5),
    treat_none=(0.0, 0.0, 0.0),
    model=(estimate_of(0.41), estimate_of(0.35), estimate_of(None)),
    gain=(estimate_of(0.01),) * 3,
    others={"a<b": OtherCurve(net_benefit=(0.4, 0.31, 0.2), difference=(estimate_of(0.0),) * 3)},
)


def _curve(expected: float | None, *areas: float) -> FeatureCurve:
    draws = Draws(n=2, sd=0.01, lowest=0.4, highest=0.8)
    points = tuple(
        LearningPoint(
            size=16 * (i + 1), n_train=16.0 * (i + 1), auc=estimate_of(area), auc_within_folds=area,
            draws=draws,
        )
        for i, area in enumerate(areas)
    )  # fmt: skip
    law = {"at": 64.0, "a": None, "b": None, "c": None}
    expectation = Extrapolation(**{**dataclasses.asdict(estimate_of(expected)), **law})
    return FeatureCurve(curve=points, extrapolation=expectation)


LEARNING = LearningCurve(
    head="linear",
    n_patients=40,
    n_draws=1,
    tables={"control": _curve(None, 0.55, 0.6), "own": _curve(0.77, 0.6, 0.7)},
    transfer={"control": ()},
    sizes_left_out=(),
)


def test_decision_curve_draws_model_all_none_and_the_baseline(ax: Axes) -> None:
    figures.plot_decision_curve(ax, CURVE, baseline="a<b")
    np.testing.assert_array_equal(line(ax, "model")[:, 1], [0.41, 0.35, np.nan])
    np.testing.assert_array_equal(line(ax, "model")[:, 0], CURVE.thresholds)
    np.testing.assert_array_equal(line(ax, "treat-all")[:, 1], CURVE.treat_all)
    np.testing.assert_array_equal(line(ax, "baseline")[:, 1], [0.4, 0.31, 0.2])
    assert set(line(ax, "treat-none")[:, 1]) == {0}
    assert -0.5 < ax.get_ylim()[0] < 0


def test_decision_curve_without_a_baseline_has_no_line_for_it(ax: Axes) -> None:
    figures.plot_decision_curve(ax, CURVE, baseline=None)
    assert "baseline" not in {found.get_gid() for found in ax.lines}


def test_learning_curve_draws_the_own_features_first_and_hollow_what_is_expected(ax: Axes) -> None:
    figures.plot_learning_curve(ax, LEARNING)
    np.testing.assert_array_equal(line(ax, "curve0"), [[16, 0.6], [32, 0.7]])
    np.testing.assert_array_equal(line(ax, "curve1"), [[16, 0.55], [32, 0.6]])
    np.testing.assert_array_equal(line(ax, "expected0"), [[64, 0.77]])
    assert "expected1" not in {found.get_gid() for found in ax.lines}


def test_smoothed_calibration_curve_is_drawn_with_its_band_only_where_it_has_one(ax: Axes) -> None:
    smooth: dict[str, Any] = {"predicted": [0.1, 0.9], "observed": [0.2, 0.8], "ci_low": [0.1, 0.6],
              "ci_high": [0.3, 0.9]}  # fmt: skip
    points = {"predicted": [0.2], "observed": [0.1], "n": [3], "ci_low": [0.0], "ci_high": [0.3]}
    figures.plot_calibration(ax, evaluation_of(calibration={**points, "smooth": smooth}))
    np.testing.assert_array_equal(line(ax, "smooth"), [[0.1, 0.2], [0.9, 0.8]])
    assert "band" in {found.get_gid() for found in ax.collections}
    ax.clear()
    smooth |= {"ci_low": None, "ci_high": None, "reason": "flat"}
    figures.plot_calibration(ax, evaluation_of(calibration={**points, "smooth": smooth}))
    assert "band" not in {found.get_gid() for found in ax.collections}


def test_session_split_has_its_bar_between_patient_and_slice_split(ax: Axes) -> None:
    values = {"slice_split_true_labels": 0.94, "patient_split_true_labels": 0.67,
              "session_split_true_labels": 0.8}  # fmt: skip
    figures.plot_leakage(ax, audit_with(values))
    assert [bar.get_width() for bar in ax.patches] == [0.67, 0.8, 0.94]  # type: ignore[attr-defined]


def test_drawings_are_titled_in_words_and_the_same_twice() -> None:
    decision = figures.draw_decision_curve(CURVE, baseline="a<b")
    learning = figures.draw_learning_curve(LEARNING)
    assert decision == figures.draw_decision_curve(CURVE, baseline="a<b")
    assert learning == figures.draw_learning_curve(LEARNING)
    title = ET.fromstring(decision)[0].text or ""
    assert "10\u00a0%: 0.41 against 0.40; 20\u00a0%: 0.35 against 0.30." in title
    title = ET.fromstring(learning)[0].text or ""
    assert "own: 16 patients 0.60, 32 patients 0.70; control: 16 patients 0.55" in title
    assert "a<b" in "".join(ET.fromstring(decision).itertext())
