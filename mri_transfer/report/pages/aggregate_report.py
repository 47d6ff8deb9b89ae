"""The page of what a hospital may send out of an external test: sums and shares, nobody's row."""

from __future__ import annotations

from collections.abc import Sequence

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.evaluation.external.aggregate_document import AggregateDocument, ToldLevel
from mri_transfer.report.blocks.blocks import findings, how, missing, section_of
from mri_transfer.report.blocks.cells import stacked
from mri_transfer.report.blocks.document import Row, Section, Table, Text
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
    document : mapping
        `aggregate.json`.
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
    name, title = "figures", "Figures"
    if not document.figures:
        return section_of(name, title, title, missing(f"Not told: {document.reason}."))
    rows = [
        Row(
            label_of(one.figure),
            (
                stacked(one.external),
                stacked(one.internal),
                stacked(one.difference),
                bare_p(one.p) if one.p is not None else "",
            ),
        )
        for one in document.comparison
    ]
    compared = {one.figure for one in document.comparison}
    rows += [
        Row(label_of(key), (stacked(entry), "not in the bundle", "", ""))
        for key, entry in document.figures.items()
        if key not in compared
    ]
    return section_of(
        name,
        title,
        title,
        Table(
            name="figures",
            caption="This cohort beside internal testing",
            columns=("Figure", "This cohort", "Internal testing", "Difference", "p"),
            rows=tuple(rows),
        ),
        findings(() if document.case_mix is None else document.case_mix.sentences),
    )


def _calls(document: AggregateDocument) -> Section:
    calls = document.calls
    rows = []
    for one in calls.thresholds:
        own = " (the bundle's)" if one.threshold == calls.bundle_threshold else ""
        cells = [
            stacked(one.figures[key]) if key in one.figures else "not told"
            for key in ("sensitivity", "specificity", "ppv", "npv")
        ]
        rows.append(Row(f"{number(one.threshold)}{own}", tuple(cells)))
    table = Table(
        name="calls",
        caption="Calls at thresholds that leave no small group",
        columns=("Threshold", "Sensitivity", "Specificity", "PPV", "NPV"),
        rows=tuple(rows),
    )
    bands = [
        Row(
            f"{label}: {number(one.begin, 2)} to {number(one.end, 2)}",
            (str(one.n),),
        )
        for label, groups in calls.score_bands.items()
        for one in groups
    ]
    return section_of(
        "calls",
        "Calls",
        "Calls",
        table if rows else missing("No threshold leaves groups that are large enough."),
        Table(name="scores", caption="Scores", columns=("Score", "Patients"), rows=tuple(bands))
        if bands
        else None,
    )


def _cohort(document: AggregateDocument) -> Section:
    counts = [
        Row("Trained on", (_count(document.n_overlapping),)),
        Row("Outside the input contract", (_count(document.n_outside_contract),)),
        *(Row(f"Scans left out, stage {one.stage}", (_count(one.n),)) for one in document.left_out),
    ]
    age = document.age
    return section_of(
        "cohort",
        "Cohort",
        "Cohort",
        Text(text=document.how),
        Table(name="counts", caption="Counts", columns=("What", "Number"), rows=tuple(counts)),
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
    if not rows:
        return None
    return Table(
        name=title.split(",")[0].lower(),
        caption=title,
        columns=(title, document.positive_label, document.negative_label),
        rows=tuple(Row(one.level, (str(one.n_positive), str(one.n_negative))) for one in rows),
    )
