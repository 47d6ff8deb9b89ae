"""The page of a study: every arm has its row, also those that were not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mri_transfer.evaluation.transfer_study import StudyArm, StudyDocument, advise
from mri_transfer.metrics.estimates import DifferenceWithP
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report import figures
from mri_transfer.report.blocks.document import Figure, Table
from mri_transfer.report.pages.transfer_study import study_report
from tests.report.figures.axes import line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_REFERENCE = "vgg16-frozen"


def _arm(name: str, seconds: float | None, auc: float | None, gain: float | None) -> StudyArm:
    return StudyArm(
        name=name,
        trunk="vgg16",
        strategy="frozen" if name == _REFERENCE else "some",
        method="full",
        pretrained="random" not in name,
        transfer="fine-tuning",
        state="over budget" if seconds is None else "done",
        reason="9000 s are estimated" if seconds is None else None,
        estimated_s=9000 if seconds is None else seconds,
        measured_s=seconds,
        n_trained=None if seconds is None else 0 if name == _REFERENCE else 5_899_776,
        auc=auc
        and Estimate(value=auc, ci_low=auc - 0.05, ci_high=auc + 0.05, n=140, method="made up"),
        difference=gain
        and DifferenceWithP(
            value=gain, ci_low=gain - 0.03, ci_high=gain + 0.03, n=140, method="made up", p=0.2
        ),
        p_holm=None if gain is None else 0.4,
    )


def _study() -> StudyDocument:
    arms = (
        _arm("low", 40.0, 0.7, -0.14),
        _arm(_REFERENCE, 200.0, 0.84, None),
        _arm("vgg16-some", 1300.0, 0.86, 0.02),
        _arm("vgg16-random", 4000.0, 0.6, -0.24),
        _arm("vgg16-late", None, None, None),
    )
    return StudyDocument(
        n_patients=140, n_positive=70, confidence=0.95, positive_label="AD", negative_label="CN",
        slice_px=112, reference=_REFERENCE, warnings=(), arms=arms, learning_curve=None,
        fewer_patients=None, advice=advise(arms, reference=_REFERENCE, n_patients=140),
    )  # fmt: skip


def test_rows_go_from_cheap_to_dear_and_each_has_gain_and_cost(ax: Axes) -> None:
    figures.plot_cost_and_gain(ax, _study())
    gain, cost = ax.child_axes
    for row, (name, value, seconds) in enumerate(
        [("low", -0.14, 40), (_REFERENCE, 0, 200), ("vgg16-some", 0.02, 1300),
         ("vgg16-random", -0.24, 4000)]
    ):  # fmt: skip
        np.testing.assert_allclose(line(gain, f"gain-{name}"), [[value, row]])
        np.testing.assert_allclose(line(cost, f"cost-{name}"), [[seconds, row]])
    assert "vgg16-late" not in {text.get_text() for text in gain.texts}
    assert [tick.get_text() for tick in cost.get_xticklabels()] == ["1 min", "10 min", "1 h"]


def test_names_have_rows_of_their_own_and_no_source_of_formulas_is_left(ax: Axes) -> None:
    figures.plot_cost_and_gain(ax, _study())
    gain, _ = ax.child_axes
    assert [round(text.get_position()[1]) for text in gain.texts] == [0, 1, 2, 3]
    assert "$" not in figures.draw_cost_and_gain(_study())


def test_the_front_shows_the_reference_first_then_the_best() -> None:
    front = study_report(_study(), made_by="x").front
    assert [figure.title for figure in front.key_figures] == [
        f"AUC, {name}" for name in (_REFERENCE, "vgg16-some", "low", "vgg16-random")
    ]


def test_an_arm_that_was_not_run_says_why_and_claims_nothing() -> None:
    arms, *_ = study_report(_study(), made_by="x").sections
    (table,) = [block for block in arms.blocks if isinstance(block, Table)]
    rows = {row.head: row for row in table.rows}
    late = rows["vgg16-late"]
    assert late.note == "9000 s are estimated"
    assert late.cells == ("fine-tuning", "", "over budget", "", "", "150.0 min", "")
    assert rows[_REFERENCE].cells[1] == "nothing"
    assert rows["vgg16-some"].cells[1] == "5,899,776 parameters"
    assert any(isinstance(block, Figure) for block in arms.blocks)
