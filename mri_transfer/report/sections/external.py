"""Sections of an external test: what was found beside what was expected."""

from __future__ import annotations

from mri_transfer.evaluation.external.document import Population
from mri_transfer.evaluation.external.results import RecalibrationAdvice, RecalibrationWay
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.blocks import findings, how, joined, missing, section_of
from mri_transfer.report.blocks.cells import Column, figure_column, stacked, table_of
from mri_transfer.report.blocks.document import Block, Heading, Section, Table, Text
from mri_transfer.report.blocks.wording import bare_p, label_of, number, verdict
from mri_transfer.report.external_inputs import ExternalInputs

__all__ = [
    "expected_section",
    "expected_sentences",
    "one_label_section",
    "recalibration_section",
]

_WAYS = {
    "none": "As the bundle scores",
    "intercept": "Intercept alone",
    "intercept_and_slope": "Intercept and slope",
}


def expected_section(inputs: ExternalInputs) -> Section:
    """Return the figures of this cohort beside those of internal testing."""
    title, short = "Against what was expected", "Against expected"
    everybody = inputs.everybody
    if everybody.figures is None:
        return section_of(
            "expected", title, missing(f"Not compared: {everybody.reason}."), short=short
        )
    return section_of(
        "expected",
        title,
        findings(expected_sentences(everybody)),
        _beside(inputs),
        how(
            f"Intervals have a confidence of {inputs.confidence}. A difference whose interval "
            "holds 0 is not shown; that no difference is shown does not mean that there is none. "
            "Intervals that overlap may still differ: the interval of the difference decides. "
            "Figures of internal testing come from "
            f"{inputs.document.bundle.performance_from[:1].lower()}"
            f"{inputs.document.bundle.performance_from[1:]}."
        ),
        Heading(text="All readable patients, and those inside the input contract"),
        _populations(inputs),
        how(
            "The model abstains on scans outside its input contract. Their scores count in the "
            "first column, so that the contract cannot make the figures look better unseen."
        ),
        short=short,
    )


def expected_sentences(everybody: Population) -> list[str]:
    """Return what the comparison with internal testing comes to."""
    said = []
    for row in everybody.comparison:
        if row.figure not in ("auc", "calibration_slope", "calibration_intercept"):
            continue
        difference = row.difference
        ends = difference.interval
        if ends is None:
            continue
        what = verdict(
            difference,
            above="is higher here than expected",
            below="is lower here than expected",
            neither="is not shown to differ from what was expected",
        )
        p = "" if row.p is None else f", p\u00a0{_p(row.p)}"
        said.append(
            f"{label_of(row.figure)} {number(row.external.value)} {what} "
            f"({number(row.internal.value)}; difference {number(difference.value)}, "
            f"{number(ends[0])} to {number(ends[1])}{p})."
        )
    return said


def _p(value: float) -> str:
    text = bare_p(value)
    return text if text.startswith("<") else f"= {text}"


def _beside(inputs: ExternalInputs) -> Table | None:
    overlap = {True: "yes", False: "no", None: "not known"}
    return table_of(
        inputs.everybody.comparison,
        "This cohort beside internal testing",
        Column("Figure", lambda row: label_of(row.figure)),
        figure_column("This cohort", "external"),
        figure_column("Internal testing", "internal"),
        figure_column("Difference", "difference"),
        Column("Intervals overlap", lambda row: overlap[row.intervals_overlap]),
        Column("p", lambda row: "" if row.p is None else bare_p(row.p)),
        name="expected",
    )


def _populations(inputs: ExternalInputs) -> Block | None:
    if inputs.admitted.figures is None:
        return missing(f"Inside the contract: {inputs.admitted.reason}.")

    def group(title: str, population: Population) -> Column[str]:
        counts = {"Patients": population.n, "with the positive label": population.n_positive}
        return Column(
            title,
            lambda name: (
                str(counts[name]) if name in counts else stacked(getattr(population.figures, name))
            ),
        )

    names = [row.figure for row in inputs.everybody.comparison]
    return table_of(
        ["Patients", "with the positive label", *names],
        "By the input contract",
        Column("Figure", lambda name: label_of(name) if name in names else name),
        group("All readable", inputs.everybody),
        group("Inside the contract", inputs.admitted),
        name="populations",
    )


def one_label_section(inputs: ExternalInputs) -> Section:
    """Return what patients of one label can tell."""
    told = inputs.everybody.one_label
    assert told is not None  # the caller has looked
    reason = inputs.everybody.reason or ""
    name = "sensitivity" if told.label_is_positive else "specificity"
    rate = told.sensitivity or told.specificity
    expected = number(told.expected_positive, 1)
    rows = {
        label_of(name): stacked(rate) if rate else "not defined",
        "Mean score": stacked(told.mean_score),
        "Patients of the positive label that the scores expect": expected,
    }
    undefined = ", ".join(label_of(figure) for figure in told.not_defined)
    return section_of(
        "one-label",
        "What one label can tell",
        Text(text=f"{reason[:1].upper()}{reason[1:]}."),
        table_of(
            rows,
            "Figures that patients of one label give",
            Column("Figure", lambda title: title),
            Column("Value", lambda title: rows[title]),
            Column("n", lambda _: str(told.n)),
            name="one-label",
        ),
        missing(f"Not defined here: {undefined}."),
        how(
            "The threshold is the one that the bundle brings. A low share of correct calls says "
            "that the threshold does not transfer to this cohort; a high one says nothing about "
            "patients of the other label."
        ),
        short="One label",
    )


def recalibration_section(inputs: ExternalInputs) -> Section:
    """Return what recalibrating would bring; it is not applied."""
    advice = inputs.everybody.recalibration
    if advice is None or not advice.ways:
        reason = inputs.everybody.reason if advice is None else advice.reason
        content: tuple[Block, ...] = (missing(f"Not computed: {reason}."),)
    else:
        ratio = inputs.everybody.observed_to_expected
        assert ratio is not None  # with a recalibration
        content = joined(
            Text(
                text="Observed to expected patients of the positive label: "
                f"{stacked(ratio).replace(chr(10), ' (')}).",
                role="finding",
            ),
            _recalibration_table(advice),
            how(
                "All figures of this report are of the scores as the bundle gives them. A "
                "recalibrated model is another model and has to be tested on patients of its own; "
                "the command mri-transfer retrain --from makes one."
            ),
        )
    title = "Recalibration, not applied"
    return section_of("recalibration", title, content, short="Recalibration")


def _recalibration_table(advice: RecalibrationAdvice) -> Table | None:
    def parameters(way: RecalibrationWay) -> str:
        values = {
            name: value.value if isinstance(value, Estimate) else value
            for name, value in way.parameters.items()
        }
        return "; ".join(f"{name} {number(value, 2)}" for name, value in values.items())

    return table_of(
        advice.ways,
        "Log loss on patients that the map was not learned from; lower is better",
        Column("Recalibration", lambda way: _WAYS[way.way]),
        Column("Parameters on the log-odds", parameters, wide=True),
        Column("Log loss", lambda way: number(way.log_loss)),
        note=lambda way: "least log loss" if way.way == advice.least else "",
        name="recalibration",
    )
