"""A study's page: every arm with a figure has its row of gain and cost; no arm claims too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_transfer.evaluation.transfer_study import StudyDocument
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report import figures
from mri_transfer.report.blocks.document import Table
from mri_transfer.report.pages.transfer_study import study_report
from mri_transfer.report.render.html import render_report
from tests.report.figures.axes import line
from tests.studies import arm, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _with_a_dear_gain() -> StudyDocument:
    """Return a study with a better arm that takes two hours, and counts of what was trained."""
    found = study()
    best = Estimate(value=0.83, ci_low=0.8, ci_high=0.9, n=140, method="made up")
    most = arm("most", 0.05, 0.3).model_copy(update={"auc": best, "measured_s": 7200.0})
    frozen, some, dear = found.arms
    return found.model_copy(
        update={
            "arms": (
                frozen.model_copy(update={"n_trained": 0}),
                some.model_copy(update={"n_trained": 5_899_776}),
                most,
                dear.model_copy(update={"n_trained": None}),
            )
        }
    )


def test_rows_go_from_cheap_to_dear_and_each_has_gain_and_cost(ax: Axes) -> None:
    figures.plot_cost_and_gain(ax, _with_a_dear_gain())
    gain, cost = ax.child_axes
    points = [("frozen", 0.0, 60), ("some", 0.03, 600), ("most", 0.05, 7200)]
    for row, (name, value, seconds) in enumerate(points):
        np.testing.assert_allclose(line(gain, f"gain-vgg16-{name}"), [[value, row]])
        np.testing.assert_allclose(line(cost, f"cost-vgg16-{name}"), [[seconds, row]])
    assert [tick.get_text() for tick in cost.get_xticklabels()] == ["1 min", "10 min", "1 h"]
    # Names have rows of their own; an arm that was not run has none.
    assert [text.get_text() for text in gain.texts] == [f"vgg16-{name}" for name, *_ in points]
    assert [round(text.get_position()[1]) for text in gain.texts] == [0, 1, 2]


def test_no_source_of_formulas_is_left_in_the_drawing() -> None:
    assert "$" not in figures.draw_cost_and_gain(study())


def test_the_page_says_what_was_run_and_what_was_not() -> None:
    found = study()
    page = render_report(study_report(found, made_by="a test"))
    for text in (found.advice.sentence, "vgg16-some", "too dear", "10.0 min"):
        assert text in page


def test_the_front_shows_the_reference_first_then_the_best() -> None:
    front = study_report(_with_a_dear_gain(), made_by="a test").front
    assert [shown.title for shown in front.key_figures] == [
        "AUC, vgg16-frozen", "AUC, vgg16-most", "AUC, vgg16-some",
    ]  # fmt: skip


def test_an_arm_that_was_not_run_says_why_and_claims_nothing() -> None:
    arms, *_ = study_report(_with_a_dear_gain(), made_by="a test").sections
    (table,) = [block for block in arms.blocks if isinstance(block, Table)]
    rows = {row.head: row for row in table.rows}
    late = rows["vgg16-all"]
    assert late.note == "too dear"
    assert late.cells == ("fine-tuning", "", "over budget", "", "", "1.7 min", "")
    assert rows["vgg16-frozen"].cells[1] == "nothing"
    assert rows["vgg16-some"].cells[1] == "5,899,776 parameters"
