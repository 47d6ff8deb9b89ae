"""Displays show what the metrics compute of the arrays they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import mri_transfer
from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.delong import delong_auc
from tests.report.figures.axes import line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of the four pairs of a positive and a negative patient, three are in order.
LABELS, SCORES = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]


def _many() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.02, 0.98, 60)
    return (rng.uniform(size=60) < scores).astype(int), scores


def test_the_roc_curve_of_four_patients(ax: Axes) -> None:
    display = mri_transfer.RocDisplay.from_predictions(LABELS, SCORES, ax=ax)
    np.testing.assert_allclose(line(ax, "roc"), [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]])
    assert display.auc.value == 0.75
    assert "AUC 0.75" in "".join(text.get_text() for text in ax.texts)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure


def test_a_display_can_be_plotted_again_elsewhere(ax: Axes) -> None:
    from matplotlib.figure import Figure

    display = mri_transfer.RocDisplay.from_predictions(LABELS, SCORES, ax=ax)
    other = Figure().add_subplot()
    np.testing.assert_array_equal(line(display.plot(other).ax_, "roc"), line(ax, "roc"))


def test_labels_may_be_words_where_the_positive_one_is_named(ax: Axes) -> None:
    words = ["CN", "CN", "AD", "AD"]
    display = mri_transfer.RocDisplay.from_predictions(words, SCORES, pos_label="AD", ax=ax)
    assert display.auc.value == 0.75
    turned = mri_transfer.RocDisplay.from_predictions(words, SCORES, pos_label="CN", ax=ax)
    assert turned.auc.value == 0.25


@pytest.mark.parametrize(
    ("labels", "positive"), [(["CN", "AD"], None), (["CN", "AD"], "MCI"), (["a", "b", "c"], "a")]
)
def test_other_labels_are_refused(labels: list[str], positive: str | None) -> None:
    with pytest.raises(EvaluationError, match="labels must be"):
        mri_transfer.RocDisplay.from_predictions(
            labels, np.linspace(0.1, 0.9, len(labels)), pos_label=positive
        )


def test_repeats_have_one_curve_with_the_mean_area(ax: Axes) -> None:
    labels, scores = _many()
    rows = np.stack([scores, np.clip(scores + 0.3 * np.sin(20 * scores), 0, 1)])
    display = mri_transfer.RocDisplay.from_predictions(labels, rows, ax=ax)
    expected = delong_auc(labels, rows).estimate
    assert display.auc == expected
    assert np.trapezoid(display.tpr, display.fpr) == pytest.approx(expected.value)


def test_the_groups_of_a_calibration_display_share_out_all_patients(ax: Axes) -> None:
    labels, scores = _many()
    display = mri_transfer.CalibrationDisplay.from_predictions(
        labels, scores, n_bins=4, n_samples=50, ax=ax
    )
    drawn = line(ax, "calibration")
    counts = np.array(display.curve.n)
    assert counts.sum() == len(labels)
    # The mean of the groups, weighed by their patients, is that of everybody.
    np.testing.assert_allclose(counts @ drawn / 60, [scores.mean(), labels.mean()])
    assert {"ici", "emax"} <= set(display.distances)


def test_the_decision_curve_has_the_net_benefit_of_its_definition(ax: Axes) -> None:
    labels, scores = _many()
    display = mri_transfer.DecisionCurveDisplay.from_predictions(
        labels, scores, n_samples=50, baseline=("a constant", np.full(60, 0.5)), ax=ax
    )
    drawn = dict(np.round(line(ax, "model"), 12))
    treated = scores >= 0.2
    wanted = (treated & (labels == 1)).mean() - (treated & (labels == 0)).mean() * 0.25
    assert drawn[0.2] == pytest.approx(wanted)
    assert display.baseline == "a constant"
    assert len(line(ax, "baseline")) == len(drawn)
