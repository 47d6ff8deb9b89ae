"""The report of a study of transfer learning: the advice, the arms, their cost and their gain."""

from __future__ import annotations

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.evaluation.audit.learning_results import LearningCurve
from mri_transfer.evaluation.transfer_study import StudyArm, StudyDocument
from mri_transfer.report import figures
from mri_transfer.report.blocks.cells import stacked
from mri_transfer.report.blocks.document import (
    Block,
    Figure,
    Link,
    Row,
    Section,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Front, KeyFigure, Report
from mri_transfer.report.blocks.transfer import KINDS_OF_TRANSFER, SETTING_OF_TRANSFER
from mri_transfer.report.blocks.wording import bare_p, interval, number
from mri_transfer.report.front import study_banners

__all__ = ["study_report"]


def study_report(study: StudyDocument, *, made_by: str) -> Report:
    """Lay out a study as a report.

    Parameters
    ----------
    study : StudyDocument
    made_by : str
        The version that made it.
    """
    return Report(
        title="How much of the trunk to train",
        confidence=study.confidence,
        front=_front(study),
        sections=(_arms_section(study), _patients_section(study), _method_section(study)),
        made_by=made_by,
    )


def _front(study: StudyDocument) -> Front:
    done = [arm for arm in study.arms if arm.auc is not None]
    reference = next(arm for arm in study.arms if arm.name == study.reference)
    others = sorted(
        (arm for arm in done if arm.name != study.reference), key=_auc_value, reverse=True
    )
    shown = [reference, *others][:4]
    return Front(
        answer=study.advice.sentence,
        comparison="" if study.fewer_patients is None else study.fewer_patients.sentence,
        studied=f"Which of {len(done)} ways to reuse a trained network ranks patients labelled "
        f"{spelt_out(study.positive_label)} above patients labelled "
        f"{spelt_out(study.negative_label)} better, on the same folds by patient.",
        on_whom=f"{study.n_patients} patients ({study.n_positive} {study.positive_label}, "
        f"{study.n_patients - study.n_positive} {study.negative_label}), slices of "
        f"{study.slice_px} pixels.",
        key_figures=tuple(
            KeyFigure(
                title=f"AUC, {arm.name}",
                value=number(arm.auc.value, 2),
                note=interval(arm.auc, 2),
            )
            for arm in shown
            if arm.auc is not None
        ),
        top_caveats=(
            "Every arm was evaluated on the same patients, so the best of several looks better "
            "than it is. Read the p values adjusted by Holm's method, and confirm a choice on "
            "other patients.",
            "One run of each arm with one seed: what training itself varies by is in no interval.",
        ),
        other_caveats=(),
        banners=study_banners(study.warnings),
    )


def _arms_section(study: StudyDocument) -> Section:
    rows = tuple(_arm_row(arm, study.reference) for arm in study.arms)
    table = Table(
        name="arms",
        caption=f"Arms from the cheapest to the dearest; differences from {study.reference}",
        columns=(
            "Arm",
            "Transfer",
            "Trained in the trunk",
            "AUC",
            "Difference",
            "p, Holm",
            "Time, estimated",
            "Time, measured",
        ),
        rows=rows,
        wide=("Transfer",),
    )
    figure = Figure(
        name="cost-and-gain",
        svg=figures.draw_cost_and_gain(study),
        caption="Gain and cost of each arm, from the cheapest to the dearest. An interval that "
        "holds 0 shows no gain. Grey: from random weights. The numbers are in the table below.",
        numbers=(),
    )
    pairs = Text(
        text="Every pair of arms, with all figures, is in the comparison.",
        role="note",
        links=(Link(text="Comparison", target="comparison/index.html"),),
    )
    return Section(
        id="arms",
        title="What was trained, and what it gained",
        short="Arms",
        blocks=(
            Text(text=study.advice.rule, role="finding"),
            figure,
            table,
            pairs,
        ),
    )


def _arm_row(arm: StudyArm, reference: str) -> Row:
    trained = "" if arm.n_trained is None else f"{arm.n_trained:,} parameters"
    cells: tuple[str, str, str] = (arm.state, "", "")
    if arm.auc is not None:
        difference = "reference" if arm.name == reference else "not compared"
        if arm.difference is not None:
            difference = stacked(arm.difference)
        cells = (stacked(arm.auc), difference, "" if arm.p_holm is None else bare_p(arm.p_holm))
    return Row(
        arm.name,
        (
            arm.transfer,
            trained if arm.n_trained != 0 else "nothing",
            *cells,
            _minutes(arm.estimated_s),
            _minutes(arm.measured_s),
        ),
        note=arm.reason or "",
        state="failed" if arm.state == "failed" else "",
    )


def _auc_value(arm: StudyArm) -> float:
    return -1.0 if arm.auc is None or arm.auc.value is None else arm.auc.value


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{number(seconds / 60, 1)} min"


def _patients_section(study: StudyDocument) -> Section:
    curve = study.learning_curve
    blocks: tuple[Block, ...] = (
        Text(text="No learning curve was computed (audit.learning_curve).", role="missing"),
    )
    if curve is not None:
        blocks = (
            Figure(
                name="learning-curve",
                svg=figures.draw_learning_curve(curve),
                caption="AUC by the number of training patients, for the frozen trunk and for the "
                "same trunk with random weights.",
                numbers=(_curve_table(curve),),
            ),
        )
        if study.fewer_patients is not None:
            blocks = (Text(text=study.fewer_patients.sentence, role="finding"), *blocks)
    return Section(
        id="patients", title="How many patients the weights save", short="Patients", blocks=blocks
    )


def _curve_table(curve: LearningCurve) -> Table:
    return Table(
        name="learning-curve",
        caption="AUC by the number of training patients",
        columns=("Features", "Training patients", "AUC"),
        rows=tuple(
            Row(name, (number(point.n_train, 0), stacked(point.auc)))
            for name, table in curve.tables.items()
            for point in table.curve
        ),
    )


def _method_section(study: StudyDocument) -> Section:
    return Section(
        id="method",
        title="Kinds of transfer",
        short="Method",
        blocks=(
            Text(text=f"{KINDS_OF_TRANSFER} {SETTING_OF_TRANSFER}"),
            Text(
                text="Everything behind the cut is trained inside folds, on training patients "
                "alone; the number of epochs is chosen on inner folds. Differences are by DeLong's "
                "paired method, adjusted for all arms by Holm's.",
            ),
        ),
    )
