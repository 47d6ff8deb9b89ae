"""The report of an external test: a finished model on another cohort."""

from __future__ import annotations

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import beside, figure, findings, how, section_of
from mri_transfer.report.blocks.document import (
    Block,
    Section,
    Text,
)
from mri_transfer.report.blocks.report import Banner, Front, KeyFigure, Report
from mri_transfer.report.blocks.wording import estimate, interval, label_of, number
from mri_transfer.report.caveats import rank_caveats
from mri_transfer.report.external_inputs import ExternalInputs
from mri_transfer.report.front import study_banners
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.calibration import calibration_section
from mri_transfer.report.sections.external import (
    expected_section,
    expected_sentences,
    one_label_section,
    recalibration_section,
)
from mri_transfer.report.sections.external_thresholds import thresholds_section
from mri_transfer.report.sections.external_who import case_mix_section, size_section, who_section
from mri_transfer.report.sections.failures import failures_section
from mri_transfer.report.sections.precision import precision_section
from mri_transfer.report.sections.subgroups import subgroups_section
from mri_transfer.report.tables import tables
from mri_transfer.report.tables.calls import confusion_block
from mri_transfer.report.tables.cohort import cohort_table, missing_table
from mri_transfer.report.tables.utility_tables import decision_table, utility_sentences
from mri_transfer.version import __version__

__all__ = ["external_report"]


def external_report(inputs: ExternalInputs, evaluated: ReportInputs | None) -> Report:
    """Lay out an external test as a report.

    Parameters
    ----------
    inputs : ExternalInputs
    evaluated : ReportInputs or None
        Evaluation, scores and patients of the cohort; None where patients have one label only.
    """
    document = inputs.document
    sections = [expected_section(inputs)]
    if inputs.everybody.one_label is not None:
        sections.append(one_label_section(inputs))
    sections += [who_section(inputs), case_mix_section(inputs)]
    if evaluated is not None:
        sections += [
            _baseline(evaluated),
            _discrimination(evaluated),
            calibration_section(evaluated, plotted=True),
            thresholds_section(inputs, evaluated),
            _utility(evaluated),
            subgroups_section(evaluated),
            failures_section(evaluated),
        ]
    sections += [size_section(inputs)]
    if evaluated is not None:
        sections += [precision_section(evaluated), recalibration_section(inputs)]
    return Report(
        title=f"External test: {spelt_out(document.positive_label)} against "
        f"{spelt_out(document.negative_label)}",
        confidence=document.confidence,
        front=_front(inputs, evaluated),
        sections=(*sections, _limits(inputs)),
        made_by=f"mri-transfer {__version__}",
    )


def _front(inputs: ExternalInputs, evaluated: ReportInputs | None) -> Front:
    document, everybody = inputs.document, inputs.everybody
    bundle = document.bundle
    ranked = rank_caveats([] if evaluated is None else evaluated.evaluation.caveats)
    caveats = [*_caveats(inputs), *ranked[0]]
    sentences = expected_sentences(everybody)
    n_negative = everybody.n - everybody.n_positive
    return Front(
        answer=_answer(inputs),
        comparison=sentences[0] if sentences else "",
        studied=f"A finished model (version {bundle.version}, digest {bundle.digest[:12]}), "
        f"made of {bundle.n_patients} other patients, on a cohort it was not made of. Nothing "
        "was refitted.",
        on_whom=f"{everybody.n} patients ({everybody.n_positive} "
        f"{document.positive_label}, {n_negative} {document.negative_label}).",
        key_figures=_key_figures(inputs),
        top_caveats=tuple(caveats[:3]),
        other_caveats=(*caveats[3:], *ranked[1]),
        banners=_banners(inputs),
    )


def _answer(inputs: ExternalInputs) -> str:
    everybody, confidence = inputs.everybody, inputs.document.confidence
    if everybody.figures is None:
        return f"How well the model tells patients apart cannot be said: {everybody.reason}."
    return (
        "On this cohort the model ranks patients with an AUC of "
        f"{estimate(everybody.figures.auc, confidence=confidence)}."
    )


def _key_figures(inputs: ExternalInputs) -> tuple[KeyFigure, ...]:
    everybody = inputs.everybody
    source = everybody.figures or everybody.one_label
    names = ("auc", "sensitivity", "specificity", "calibration_slope")
    shown = {name: one for name in names if (one := getattr(source, name, None)) is not None}
    return tuple(
        KeyFigure(title=label_of(name), value=number(one.value, 2), note=interval(one, 2))
        for name, one in shown.items()
    )


def _caveats(inputs: ExternalInputs) -> list[str]:
    caveats = []
    if inputs.document.threshold.used == "rechosen":
        caveats.append(
            "Calls are by thresholds that parts of this cohort chose for the rest of it, not by "
            "the threshold that the bundle brings: in use the latter counts."
        )
    outside = inputs.document.cohort.n_outside_contract
    if outside:
        caveats.append(
            f"{outside} of {inputs.everybody.n} patients "
            f"{'lies' if outside == 1 else 'lie'} outside the model's input contract; in use it "
            "would abstain there. Figures without them stand beside."
        )
    return caveats


def _banners(inputs: ExternalInputs) -> tuple[Banner, ...]:
    banners = list(study_banners(inputs.document.warnings))
    cohort = inputs.document.cohort
    if cohort.n_overlapping and cohort.overlap_counted:
        banners.append(
            Banner(
                role="failed",
                title="This is no test.",
                text=f"{cohort.n_overlapping} of the patients were trained on and count all "
                "the same, as was asked for. The figures are better than the model is.",
            )
        )
    return tuple(banners)


def _baseline(evaluated: ReportInputs) -> Section:
    return section_of(
        "baseline",
        "Patients at baseline",
        cohort_table(evaluated),
        missing_table(evaluated),
    )


def _discrimination(evaluated: ReportInputs) -> Section:
    calls = evaluated.evaluation.confusion
    return section_of(
        "discrimination",
        "Discrimination",
        beside(
            figure(
                "roc",
                figures.draw_roc(evaluated.evaluation),
                "ROC curve: what each threshold would give. The dotted line is guessing.",
                tables.roc_table(evaluated),
            ),
            figure(
                "patient-scores",
                figures.draw_patient_scores(evaluated.patient_scores, labels=evaluated.task.labels),
                f"Each dot is a patient: further right is more like {evaluated.task.positive}.",
                tables.patient_list(evaluated),
            ),
        ),
        confusion_block(
            "Patients. Rows: reference standard. Columns: the model's call.",
            calls.labels,
            calls.matrix,
        ),
        tables.metric_table(evaluated),
        how("PPV and NPV hold for the share of labels in this cohort and change with it."),
    )


def _utility(evaluated: ReportInputs) -> Section:
    curve = evaluated.evaluation.decision_curve
    plot = figure(
        "decision-curve",
        figures.draw_decision_curve(curve, baseline=None),
        "Net benefit by threshold. Blue: this model with its band. Grey: treat everybody. Dotted: "
        "treat nobody.",
        decision_table(evaluated, whole=True),
    )
    return section_of(
        "utility",
        "Decision curve",
        findings(utility_sentences(evaluated)),
        beside(plot, decision_table(evaluated, whole=False)),
        how(
            "Net benefit counts right actions minus needless ones at the price that the threshold "
            "sets; it holds at this cohort's share of positive patients."
        ),
    )


def _limits(inputs: ExternalInputs) -> Section:
    parts: list[Block] = [
        Text(
            text="A test on one other cohort says how the model does there. It says nothing about "
            "a third place, another scanner or later years."
        ),
        Text(
            text="Overlap with the training patients is found by salted hashes of names and "
            "scans: a patient under another name whose scan was saved anew is not found."
        ),
        Text(
            text="No baseline from covariates stands here, since the bundle brings none and "
            "nothing is fitted on this cohort."
        ),
        Text(
            text="Where the cohort comes from, who was asked and who took part, who set the "
            "reference standard and whether they knew the scans.",
            role="supply",
        ),
    ]
    return section_of("limits", "Limits", parts)
