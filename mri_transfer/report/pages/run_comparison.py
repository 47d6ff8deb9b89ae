"""The report that sets several runs side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pandas as pd

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.evaluation.comparison_document import (
    CommonFigures,
    ComparedFigures,
    ComparisonDocument,
    PairDifference,
)
from mri_transfer.metrics.results import Discordance, McNemar
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import figure, folded, how, missing, section_of
from mri_transfer.report.blocks.cells import Column, figure_column, stacked, table_of
from mri_transfer.report.blocks.document import Section, Table, Text
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
    cells: dict[str, Callable[[ComparedFigures], str]] = {
        "Patients of the run": lambda run: str(run.n_patients),
        "Repeats": lambda run: str(run.n_repeats),
        "AUC, all its patients": lambda run: stacked(run.auc_all_patients),
    }

    def column(run: ComparedFigures) -> Column[str]:
        def cell(name: str) -> str:
            return cells[name](run) if name in cells else stacked(getattr(run.common, name))

        return Column(run.name, cell)

    table = table_of(
        [*cells, *CommonFigures.model_fields],
        f"Each run on the {document.n_common} common patients",
        Column("Figure", lambda name: name if name in cells else label_of(name)),
        *map(column, document.runs),
        name="runs",
    )
    drawn = {run.name: run.common.auc for run in document.runs}
    plot = figure(
        "run-comparison",
        figures.draw_run_comparison(drawn),
        "AUC on the common patients, with intervals. Overlapping intervals do not mean that runs "
        "are alike: the pairs below are compared patient by patient.",
        table_of(
            drawn,
            "AUC on the common patients",
            Column("Run", lambda name: name),
            Column("AUC", lambda name: stacked(drawn[name])),
            name="run-comparison",
        ),
    )
    return section_of("runs", "The runs", plot, table, short="Runs")


def _pairs_section(document: ComparisonDocument) -> Section:
    table = table_of(
        document.pairs,
        "Each pair on the same patients: first run minus second",
        Column("Pair", lambda pair: f"{pair.first} minus {pair.second}"),
        Column("AUC, by DeLong", lambda pair: stacked(pair.auc_difference)),
        Column("p", lambda pair: bare_p(pair.auc_difference.p)),
        Column("p, Holm", lambda pair: bare_p(pair.p_holm)),
        figure_column("AUC, by bootstrap of patients", "auc_difference_bootstrap"),
        figure_column("AUC by fold, corrected t", "auc_difference_folds"),
        figure_column("Brier score", "brier_difference"),
        name="pairs",
    )
    reading = how(
        "An interval that holds 0 shows no difference. A positive difference in AUC, or a negative "
        "one in the Brier score, speaks for the first run. Fold by fold is compared only where "
        "both runs cut the patients into the same folds."
    )
    return section_of("pairs", "Pair by pair", table, reading, _mcnemar(document), short="Pairs")


def _mcnemar(document: ComparisonDocument) -> Table | Text:
    def columns(group: str, name: str) -> Iterator[Column[tuple[str, McNemar]]]:
        def part(row: tuple[str, McNemar]) -> Discordance:
            found: Discordance = getattr(row[1], name)
            return found

        yield Column(
            f"Only correct: first : second, {group}",
            lambda row: f"{part(row).first_only} : {part(row).second_only}",
        )
        yield Column(f"p, {group}", lambda row: bare_p(part(row).p_mid))

    table = table_of(
        [
            (f"{pair.first} : {pair.second}", pair.mcnemar)
            for pair in document.pairs
            if pair.mcnemar
        ],
        "Calls at the threshold: patients whom only one of the two calls correctly (McNemar)",
        Column("Pair", lambda row: row[0]),
        *columns("all patients", "accuracy"),
        *columns("sensitivity", "sensitivity"),
        *columns("specificity", "specificity"),
        name="calls",
    )
    return table or missing("Calls were not compared: repeats differ in number.")


def _settings_section(settings: pd.DataFrame) -> Section:
    def column(run: str) -> Column[str]:
        return Column(run, lambda name: str(settings.loc[name, run]), wide=True)

    table = table_of(
        settings.index,
        "Settings that differ",
        Column("Setting", str),
        *map(column, settings.columns),
        name="settings",
    )
    same = Text(text="All settings that results depend on are the same.")
    return section_of("settings", "What differs", table or same, short="Settings")


def _patients_section(calls: pd.DataFrame, document: ComparisonDocument) -> Section:
    names = [run.name for run in document.runs]
    spread = calls[names].max(axis=1) - calls[names].min(axis=1)
    order = spread.sort_values(ascending=False, kind="stable").index[:_SHOWN_DISAGREEMENTS]

    def score(title: str, scores: pd.Series[float]) -> Column[str]:
        return Column(title, lambda patient: number(float(scores.loc[patient]), 2))

    table = table_of(
        order,
        "Mean score by run; patients on whom the runs differ most stand first",
        Column("Patient", str),
        Column("Label", lambda patient: str(calls.loc[patient, "label"])),
        *(score(name, calls[name]) for name in names),
        score("Largest difference", spread),
        name="patients",
    )
    return section_of("patients", "Patients", folded(f"{len(order)} patients", table))
