"""The report that sets several runs side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.evaluation.comparison_document import (
    CommonFigures,
    ComparisonDocument,
    PairDifference,
)
from mri_transfer.report import figures
from mri_transfer.report.blocks.cells import stacked
from mri_transfer.report.blocks.document import (
    Figure,
    Folded,
    Row,
    Section,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Front, KeyFigure, Report
from mri_transfer.report.blocks.wording import bare_p, interval, label_of, number, p_value, verdict
from mri_transfer.report.front import study_banners

__all__ = ["RunComparison", "comparison_report"]

_SHOWN_DISAGREEMENTS = 200


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RunComparison:
    """What the report of a comparison shows.

    Attributes
    ----------
    document : ComparisonDocument
    settings : DataFrame, one column a run
        Settings that differ between the runs, by their name; text.
    calls : DataFrame, index `patient_id`
        `label`, then one column a run with its mean score; the common patients.
    made_by : str
        The version that made it.
    """

    document: ComparisonDocument
    settings: pd.DataFrame
    calls: pd.DataFrame
    made_by: str


def comparison_report(comparison: RunComparison) -> Report:
    """Lay out a comparison as a report: the answer, each run, each pair, what differs."""
    document = comparison.document
    names = [run.name for run in document.runs]
    return Report(
        title="Runs compared: " + ", ".join(names),
        confidence=float(document.confidence),
        front=_front(document, names),
        sections=(
            _runs_section(document),
            _pairs_section(document),
            _settings_section(comparison.settings),
            _patients_section(comparison.calls, document),
        ),
        made_by=comparison.made_by,
    )


def _front(document: ComparisonDocument, names: list[str]) -> Front:
    caveats = []
    if not all(pair.same_folds for pair in document.pairs):
        caveats.append(
            "Some runs cut the common patients into different folds: part of a difference may "
            "come from the split and not from the model."
        )
    if any(run.n_patients != document.n_common for run in document.runs):
        caveats.append(
            "The runs were trained on different cohorts. Only patients that all of them scored "
            "are compared; the heads behind those scores learned from other patients."
        )
    if len(names) > 2:
        caveats.append(
            "Several pairs are tested. Read the p values adjusted by Holm's method, and do not "
            "pick the best run by this table: choices belong inside training patients."
        )
    n_negative = document.n_common - document.n_positive
    return Front(
        answer=_answer(document.pairs[0]),
        comparison="",
        studied=f"Which of {len(names)} runs ranks patients labelled "
        f"{spelt_out(document.positive_label)} above patients labelled "
        f"{spelt_out(document.negative_label)} "
        "better, each patient being scored by heads that had never seen it.",
        on_whom=f"{document.n_common} patients that every run scored "
        f"({document.n_positive} {document.positive_label}, {n_negative} "
        f"{document.negative_label}).",
        key_figures=tuple(
            KeyFigure(
                title=f"AUC, {run.name}",
                value=number(run.common.auc.value, 2),
                note=interval(run.common.auc, 2),
            )
            for run in document.runs
        ),
        top_caveats=tuple(caveats[:3]),
        other_caveats=(),
        banners=study_banners(document.warnings),
    )


def _answer(pair: PairDifference) -> str:
    difference = pair.auc_difference
    if difference.interval is None:
        return (
            f"{pair.first} against {pair.second}: no interval of the difference in AUC "
            f"({difference.reason})."
        )
    what = verdict(
        difference,
        above=f"{pair.first} is better than {pair.second}",
        below=f"{pair.first} is worse than {pair.second}",
        neither=f"No difference is shown between {pair.first} and {pair.second}",
    )
    return (
        f"{what}: difference in AUC {number(difference.value, 2)} "
        f"({interval(difference, 2)}), p\u00a0{p_value(difference.p)}."
    )


def _runs_section(document: ComparisonDocument) -> Section:
    runs = document.runs
    metrics = tuple(CommonFigures.model_fields)
    table = Table(
        name="runs",
        caption=f"Each run on the {document.n_common} common patients",
        columns=("Figure", *(run.name for run in runs)),
        rows=(
            Row("Patients of the run", tuple(str(run.n_patients) for run in runs)),
            Row("Repeats", tuple(str(run.n_repeats) for run in runs)),
            Row("AUC, all its patients", tuple(stacked(run.auc_all_patients) for run in runs)),
            *(
                Row(label_of(name), tuple(stacked(getattr(run.common, name)) for run in runs))
                for name in metrics
            ),
        ),
    )
    drawn = {run.name: run.common.auc for run in runs}
    figure = Figure(
        name="run-comparison",
        svg=figures.draw_run_comparison(drawn),
        caption="AUC on the common patients, with intervals. Overlapping intervals do not mean "
        "that runs are alike: the pairs below are compared patient by patient.",
        numbers=(
            Table(
                name="run-comparison",
                caption="AUC on the common patients",
                columns=("Run", "AUC"),
                rows=tuple(Row(name, (stacked(entry),)) for name, entry in drawn.items()),
            ),
        ),
    )
    return Section(id="runs", title="The runs", short="Runs", blocks=(figure, table))


def _pairs_section(document: ComparisonDocument) -> Section:
    pairs = document.pairs
    rows = [
        Row(
            f"{pair.first} minus {pair.second}",
            (
                stacked(pair.auc_difference),
                bare_p(pair.auc_difference.p),
                bare_p(pair.p_holm),
                stacked(pair.auc_difference_bootstrap),
                stacked(pair.auc_difference_folds),
                stacked(pair.brier_difference),
            ),
        )
        for pair in pairs
    ]
    table = Table(
        name="pairs",
        caption="Each pair on the same patients: first run minus second",
        columns=(
            "Pair",
            "AUC, by DeLong",
            "p",
            "p, Holm",
            "AUC, by bootstrap of patients",
            "AUC by fold, corrected t",
            "Brier score",
        ),
        rows=tuple(rows),
    )
    how = Text(
        text="An interval that holds 0 shows no difference. A positive difference in AUC, or a "
        "negative one in the Brier score, speaks for the first run. Fold by fold is compared only "
        "where both runs cut the patients into the same folds.",
        role="how",
    )
    return Section(
        id="pairs",
        title="Pair by pair",
        short="Pairs",
        blocks=(table, how, *_mcnemar(pairs)),
    )


def _mcnemar(pairs: Sequence[PairDifference]) -> tuple[Table | Text, ...]:
    rows = [
        Row(
            f"{pair.first} : {pair.second}",
            tuple(
                cell
                for part in (calls.accuracy, calls.sensitivity, calls.specificity)
                for cell in (f"{part.first_only} : {part.second_only}", bare_p(part.p_mid))
            ),
        )
        for pair in pairs
        if (calls := pair.mcnemar)
    ]
    if not rows:
        return (Text(text="Calls were not compared: repeats differ in number.", role="missing"),)
    columns = [
        column
        for group in ("all patients", "sensitivity", "specificity")
        for column in (f"Only right: first : second, {group}", f"p, {group}")
    ]
    return (
        Table(
            name="calls",
            caption="Calls at the threshold: patients whom only one of the two calls rightly "
            "(McNemar)",
            columns=("Pair", *columns),
            rows=tuple(rows),
        ),
    )


def _settings_section(settings: pd.DataFrame) -> Section:
    if len(settings) == 0:
        blocks: tuple[Table | Text, ...] = (
            Text(text="All settings of the runs are the same.", role="body"),
        )
    else:
        blocks = (
            Table(
                name="settings",
                caption="Settings that differ",
                columns=("Setting", *map(str, settings.columns)),
                rows=tuple(
                    Row(str(name), tuple(str(value) for value in values))
                    for name, values in zip(settings.index, settings.to_numpy(), strict=True)
                ),
                wide=tuple(map(str, settings.columns)),
            ),
        )
    return Section(id="settings", title="What differs", short="Settings", blocks=blocks)


def _patients_section(calls: pd.DataFrame, document: ComparisonDocument) -> Section:
    names = [run.name for run in document.runs]
    spread = calls[names].max(axis=1) - calls[names].min(axis=1)
    order = spread.sort_values(ascending=False, kind="stable").index[:_SHOWN_DISAGREEMENTS]
    table = Table(
        name="patients",
        caption="Mean score by run; patients on whom the runs differ most stand first",
        columns=("Patient", "Label", *names, "Largest difference"),
        rows=tuple(
            Row(
                str(patient),
                (
                    str(calls.loc[patient, "label"]),
                    *(number(float(calls.loc[patient, name]), 2) for name in names),
                    number(float(spread.loc[patient]), 2),
                ),
            )
            for patient in order
        ),
    )
    return Section(
        id="patients",
        title="Patients",
        short="Patients",
        blocks=(Folded(title=f"{len(table.rows)} patients", blocks=(table,)),),
    )
