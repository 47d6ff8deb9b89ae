"""Curves of tuning show the inner means and the chosen epoch; bars the mean over folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mri_transfer.report import figures
from tests.report.figures.axes import line
from tests.report.tunings import tuning_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RECORDS = {
    (0, 0): tuning_record(epochs=2, moved={"middle": 0.01, "deep": 0.03}),
    (0, 1): tuning_record(epochs=0, moved={"middle": 0.0, "deep": 0.0}),
}


def test_curves_are_means_of_inner_folds_and_dots_stand_at_the_chosen_epoch(ax: Axes) -> None:
    figures.plot_tuning(ax, RECORDS)
    loss, log_loss, area = ax.child_axes
    np.testing.assert_allclose(line(loss, "loss-r0f0"), [[1, 0.6], [2, 0.5]])
    # The second inner fold stopped after two epochs, the first after three.
    np.testing.assert_allclose(line(log_loss, "log_loss-r0f0"), [[0, 0.65], [1, 0.6], [2, 0.55]])
    np.testing.assert_allclose(line(log_loss, "log_loss-chosen-r0f0"), [[2, 0.55]])
    np.testing.assert_allclose(line(area, "auc-r0f0"), [[0, 0.65], [1, 0.7], [2, np.nan]])
    np.testing.assert_allclose(line(area, "auc-chosen-r0f1"), [[0, 0.65]])


def test_without_inner_folds_there_is_the_loss_alone(ax: Axes) -> None:
    figures.plot_tuning(ax, {(0, 0): tuning_record(epochs=2, inner=())})
    (loss,) = ax.child_axes
    assert loss.get_ylabel().startswith("loss")


def test_bars_are_means_and_dots_are_folds(ax: Axes) -> None:
    figures.plot_moved(ax, RECORDS)
    widths = {bar.get_gid(): bar.get_width() for bar in ax.patches}
    assert widths == {"moved-middle": pytest.approx(0.5), "moved-deep": pytest.approx(1.5)}
    np.testing.assert_allclose(line(ax, "folds-deep"), [[3, 1], [0, 1]])


def test_drawings_say_the_same_in_words() -> None:
    assert "epochs chosen: 0, 2" in figures.draw_tuning(RECORDS)
    assert "middle 0.50, deep 1.50" in figures.draw_moved(RECORDS)
