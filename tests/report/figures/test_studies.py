"""Cost against gain: every arm with a figure stands where its seconds and its gain are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_transfer.report import figures
from mri_transfer.report.pages.transfer_study import study_report
from mri_transfer.report.render.html import render_report
from tests.report.figures.axes import line
from tests.studies import study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def test_arms_stand_at_their_cost_and_gain(ax: Axes) -> None:
    figures.plot_cost_and_gain(ax, study())
    np.testing.assert_allclose(line(ax, "arm0"), [[60.0, 0.0]])
    np.testing.assert_allclose(line(ax, "arm1"), [[600.0, 0.03]])
    assert not [drawn for drawn in ax.lines if drawn.get_gid() == "arm2"]


def test_the_page_says_what_was_run_and_what_was_not() -> None:
    found = study()
    page = render_report(study_report(found, made_by="a test"))
    for text in (found.advice.sentence, "vgg16-some", "too dear", "10.0 min"):
        assert text in page
