"""Sections of an external test: what was found beside what was expected."""

from __future__ import annotations

from mri_transfer.evaluation.external.document import Population
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.blocks import findings, how, missing, section_of
from mri_transfer.report.blocks.cells import stacked
from mri_transfer.report.blocks.document import Block, Heading, Row, Section, Table, Text
from mri_transfer.report.blocks.wording import bare_p, label_of, number
from mri_transfer.report.external_inputs import ExternalInputs

__all__ = ["expected_section", "expected_sentences", "one_label_section", "recalibration_section"]

_WAYS = {
    "none": "As the bundle scores",
    "intercept": "Intercept alone",
    "intercept_and_slope": "Intercept and slope",
}


def expected_section(inputs: ExternalInputs) -> Section:
    """Return the figures of this cohort beside those of internal testing."""
    name, title, short = "expected", "Against what was expected", "Against expected"
    everybody = inputs.everybody
    if everybody.figures is None:
        return section_of(name, title, short, missing(f"Not compared: {everybody.reason}."))
    return section_of(
        name,
        title,
        short,
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
    )


def expected_sentences(everybody: Population) -> list[str]:
    """Return what the comparison with internal testing comes to."""
    said = []
    for one in everybody.comparison:
        if one.figure not in ("auc", "calibration_slope", "calibration_intercept"):
            continue
        difference = one.difference
        ends = difference.interval
        if ends is None:
            continue
        if ends[0] > 0:
            verdict = "is higher here than expected"
        elif ends[1] < 0:
            verdict = "is lower here than expected"
        else:
            verdict = "is not shown to differ from what was expected"
        p = "" if one.p is None else f", p\u00a0{_p(one.p)}"
        said.append(
            f"{label_of(one.figure)} {number(one.external.value)} {verdict} "
            f"({number(one.internal.value)}; difference {number(difference.value)}, "
            f"{number(ends[0])} to {number(ends[1])}{p})."
        )
    return said


def _p(value: float) -> str:
    text = bare_p(value)
    return text if text.startswith("<") else f"= {text}"


def _beside(inputs: ExternalInputs) -> Table:
    rows = [
        Row(
            label_of(one.figure),
            (
                stacked(one.external),
                stacked(one.internal),
                stacked(one.difference),
                {True: "yes", False: "no", None: "not known"}[one.intervals_overlap],
                bare_p(one.p) if one.p is not None else "",
            ),
        )
        for one in inputs.everybody.comparison
    ]
    return Table(
        name="expected",
        caption="This cohort beside internal testing",
        columns=(
            "Figure",
            "This cohort",
            "Internal testing",
            "Difference",
            "Intervals overlap",
            "p",
        ),
        rows=tuple(rows),
    )


def _populations(inputs: ExternalInputs) -> Block:
    groups = {"All readable": inputs.everybody, "Inside the contract": inputs.admitted}
    if inputs.admitted.figures is None:
        return missing(f"Inside the contract: {inputs.admitted.reason}.")
    names = [one.figure for one in inputs.everybody.comparison]
    rows = [
        Row("Patients", tuple(str(one.n) for one in groups.values())),
        Row("with the positive label", tuple(str(one.n_positive) for one in groups.values())),
    ]
    rows += [
        Row(label_of(name), tuple(stacked(getattr(one.figures, name)) for one in groups.values()))
        for name in names
    ]
    return Table(
        name="populations",
        caption="By the input contract",
        columns=("Figure", *groups),
        rows=tuple(rows),
    )


def one_label_section(inputs: ExternalInputs) -> Section:
    """Return what patients of one label can tell."""
    told = inputs.everybody.one_label
    assert told is not None  # the caller has looked
    reason = inputs.everybody.reason or ""
    name = "sensitivity" if told.label_is_positive else "specificity"
    rate = told.sensitivity or told.specificity
    rows = [
        Row(label_of(name), (stacked(rate) if rate else "not defined", str(told.n))),
        Row("Mean score", (stacked(told.mean_score), str(told.n))),
        Row(
            "Patients of the positive label that the scores expect",
            (number(told.expected_positive, 1), str(told.n)),
        ),
    ]
    undefined = ", ".join(label_of(one) for one in told.not_defined)
    return section_of(
        "one-label",
        "What one label can tell",
        "One label",
        Text(text=f"{reason[:1].upper()}{reason[1:]}."),
        Table(
            name="one-label",
            caption="Figures that patients of one label give",
            columns=("Figure", "Value", "n"),
            rows=tuple(rows),
        ),
        missing(f"Not defined here: {undefined}."),
        how(
            "The threshold is the one that the bundle brings. A low share of right calls says "
            "that the threshold does not travel to this cohort; a high one says nothing about "
            "patients of the other label."
        ),
    )


def recalibration_section(inputs: ExternalInputs) -> Section:
    """Return what recalibrating would bring; it is not applied."""
    name, title, short = "recalibration", "Recalibration, not applied", "Recalibration"
    found = inputs.everybody.recalibration
    if found is None or not found.ways:
        reason = inputs.everybody.reason if found is None else found.reason
        return section_of(name, title, short, missing(f"Not computed: {reason}."))
    rows = [
        Row(
            _WAYS[one.way],
            (
                "; ".join(
                    f"{key} {number(value.value if isinstance(value, Estimate) else value, 2)}"
                    for key, value in one.parameters.items()
                ),
                number(one.log_loss),
            ),
            note="least log loss" if one.way == found.least else "",
        )
        for one in found.ways
    ]
    ratio = inputs.everybody.observed_to_expected
    assert ratio is not None  # with a recalibration
    return section_of(
        name,
        title,
        short,
        Text(
            text="Observed to expected patients of the positive label: "
            f"{stacked(ratio).replace(chr(10), ' (')}).",
            role="finding",
        ),
        Table(
            name="recalibration",
            caption="Log loss on patients that the map was not learned from; lower is better",
            columns=("Recalibration", "Parameters on the log-odds", "Log loss"),
            rows=tuple(rows),
            wide=("Parameters on the log-odds",),
        ),
        how(
            "All figures of this report are of the scores as the bundle gives them. A recalibrated "
            "model is another model and has to be tested on patients of its own; "
            "The command mri-transfer retrain --from makes one."
        ),
    )
