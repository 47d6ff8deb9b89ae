"""The page of what a hospital may send out of an external test: sums and shares, nobody's row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.evaluation.external.aggregate_document import (
    AggregateDocument,
    CallsTold,
    ToldFigure,
    ToldLevel,
)
from mri_transfer.report.blocks.blocks import findings, how, missing, section_of
from mri_transfer.report.blocks.cells import Column, stacked, table_of
from mri_transfer.report.blocks.document import Section, Table, Text
from mri_transfer.report.blocks.report import Front, KeyFigure, Report
from mri_transfer.report.blocks.wording import bare_p, estimate, interval, label_of, number
from mri_transfer.report.front import study_banners
from mri_transfer.version import __version__

__all__ = ["aggregate_report"]

_FEW = "fewer than 5"


def aggregate_report(document: AggregateDocument) -> Report:
    """Lay out an aggregate document as a report; nothing else enters it.

    Parameters
    ----------
    document : AggregateDocument
    """
    return Report(
        title=f"Aggregate of an external test: {spelt_out(document.positive_label)} against "
        f"{spelt_out(document.negative_label)}",
        confidence=document.confidence,
        front=_front(document),
        sections=(_figures(document), _calls(document), _cohort(document)),
        made_by=f"mri-transfer {__version__}",
    )


def _front(document: AggregateDocument) -> Front:
    area = document.figures.get("auc")
    answer = f"No figures of both labels: {document.reason}."
    if area is not None:
        words = estimate(area, confidence=document.confidence)
        answer = f"On this cohort the model ranks patients with an AUC of {words}."
    bundle = document.bundle
    counts = ", ".join(f"{_count(n)} {label}" for label, n in document.n_by_label.items())
    return Front(
        answer=answer,
        comparison="",
        studied=f"A finished model (version {bundle.version}, digest {bundle.digest}) on "
        "another cohort; nothing was refitted.",
        on_whom=f"Patients: {counts}.",
        key_figures=tuple(
            KeyFigure(title=label_of(name), value=number(one.value, 2), note=interval(one, 2))
            for name, one in document.figures.items()
            if name in ("auc", "brier", "calibration_slope")
        ),
        top_caveats=("The figures are no test: patients who were trained on count.",)
        if document.overlap_counted
        else (),
        other_caveats=(),
        banners=study_banners(document.warnings),
    )


def _count(n: int | None) -> str:
    return _FEW if n is None else str(n)


def _figures(document: AggregateDocument) -> Section:
    if not document.figures:
        return section_of("figures", "Figures", missing(f"Not told: {document.reason}."))
    compared = {row.figure: row for row in document.comparison}

    def expected(title: str, cell: Callable[[ToldFigure], str], alone: str = "") -> Column[str]:
        return Column(title, lambda name: cell(compared[name]) if name in compared else alone)

    external = [*compared, *(name for name in document.figures if name not in compared)]
    table = table_of(
        external,
        "This cohort beside internal testing",
        Column("Figure", label_of),
        Column(
            "This cohort",
            lambda name: stacked(
                compared[name].external if name in compared else document.figures[name]
            ),
        ),
        expected("Internal testing", lambda row: stacked(row.internal), "not in the bundle"),
        expected("Difference", lambda row: stacked(row.difference)),
        expected("p", lambda row: bare_p(row.p) if row.p is not None else ""),
        name="figures",
    )
    sentences = () if document.case_mix is None else document.case_mix.sentences
    return section_of("figures", "Figures", table, findings(sentences))


def _calls(document: AggregateDocument) -> Section:
    calls = document.calls

    def rate(name: str) -> Column[CallsTold]:
        return Column(
            label_of(name),
            lambda row: stacked(row.figures[name]) if name in row.figures else "not told",
        )

    def title(row: CallsTold) -> str:
        own = " (the bundle's)" if row.threshold == calls.bundle_threshold else ""
        return f"{number(row.threshold)}{own}"

    table = table_of(
        calls.thresholds,
        "Calls at thresholds that leave no small group",
        Column("Threshold", title),
        *map(rate, ("sensitivity", "specificity", "ppv", "npv")),
        name="calls",
    )
    bands = table_of(
        [(label, band) for label, bands in calls.score_bands.items() for band in bands],
        "Scores",
        Column(
            "Score",
            lambda row: f"{row[0]}: {number(row[1].begin, 2)} to {number(row[1].end, 2)}",
        ),
        Column("Patients", lambda row: str(row[1].n)),
        name="scores",
    )
    reason = "No threshold leaves groups that are large enough."
    return section_of("calls", "Calls", table or missing(reason), bands)


def _cohort(document: AggregateDocument) -> Section:
    counts = {
        "Trained on": document.n_overlapping,
        "Outside the input contract": document.n_outside_contract,
        **{f"Scans left out, stage {row.stage}": row.n for row in document.left_out},
    }
    age = document.age
    return section_of(
        "cohort",
        "Cohort",
        Text(text=document.how),
        table_of(
            counts,
            "Counts",
            Column("What", lambda what: what),
            Column("Number", lambda what: _count(counts[what])),
            name="counts",
        ),
        Text(text=f"Age: mean {number(age.mean, 1)}, SD {number(age.sd, 1)} years.")
        if age is not None and age.mean is not None
        else missing("Mean age is not told."),
        _levels("Age, years", None if age is None else age.bands, document),
        _levels("Sex", document.sex, document),
        how("Where a table is missing, even all groups together hold a small count."),
    )


def _levels(
    title: str, rows: Sequence[ToldLevel] | None, document: AggregateDocument
) -> Table | None:
    return table_of(
        rows or (),
        title,
        Column(title, lambda row: row.level),
        Column(document.positive_label, lambda row: str(row.n_positive)),
        Column(document.negative_label, lambda row: str(row.n_negative)),
        name=title.split(",")[0].lower(),
    )
