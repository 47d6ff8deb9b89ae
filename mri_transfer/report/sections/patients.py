"""Patients: every one who was scored, with the slices and what was said of them."""

from __future__ import annotations

from collections.abc import Iterator

from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import bullets, folded, how, missing, section_of
from mri_transfer.report.blocks.document import Block, Link, PatientPanels, Section, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.panels import MAX_SHEETS, patient_panels, sheet_order
from mri_transfer.report.tables.patient_results import (
    FIRST_PATIENT_PAGE,
    PatientResult,
    patient_results,
    shown_results,
)

__all__ = ["patients_section"]

_FEATURED = 3


def patients_section(inputs: ReportInputs) -> Section:
    """Return a panel for every patient who was scored.

    Patients who are in the manifest but were not scored stand in the section on the flow.

    Parameters
    ----------
    inputs : ReportInputs
        `stack_of` gives the slices, `explanation` the attribution; without them the section says
        what is missing and how to get it.
    """
    results = patient_results(inputs)
    if not results:
        return section_of("patients", "Patients", missing("No patient was scored in this run."))
    shown = shown_results(results)
    who = f"All {len(results)} patients" if shown is results else f"{len(shown)} patients"
    return section_of(
        "patients",
        "Patients, one by one",
        Text(text=_finding(results), role="finding"),
        bullets(_featured(inputs, results)),
        _pseudonym_note(inputs),
        _not_shown(inputs, results),
        folded(
            f"{who}: search, sort, look at the slices",
            how(_how_to_read(inputs)),
            PatientPanels(
                caption=f"The {len(results)} patients who were scored"
                if shown is results
                else f"{len(shown)} of the {len(results)} patients who were scored",
                labels=inputs.task.labels,
                panels=patient_panels(inputs, shown),
            ),
        ),
        short="Patients",
    )


def _finding(results: list[PatientResult]) -> str:
    always = sum(patient.share_right == 1 for patient in results)
    never = sum(patient.share_right == 0 for patient in results)
    between = len(results) - always - never
    n_repeats = max(len(patient.scores) for patient in results)
    if n_repeats == 1:
        return (
            f"{always} of {len(results)} patients were classified correctly, {never} incorrectly."
        )
    return (
        f"Of {len(results)} patients, {always} were classified correctly in each of {n_repeats} "
        f"repeats and {never} incorrectly in each; for {between} the call depends on the repeat."
    )


def _featured(inputs: ReportInputs, results: list[PatientResult]) -> Iterator[str]:
    """Yield, label by label, who was called incorrectly with most confidence, and who correctly."""
    negative, positive = inputs.task.labels
    for label, sign in ((positive, 1), (negative, -1)):
        own = [patient for patient in results if patient.label == label]
        ranked = sorted(own, key=lambda patient: (sign * patient.score, patient.patient_id))
        wrong = [patient for patient in ranked if patient.share_right < 0.5][:_FEATURED]
        right = [patient for patient in reversed(ranked) if patient.share_right > 0.5][:_FEATURED]
        if own:
            yield f"Labelled {label}, most confidently misclassified: {_named(wrong) or 'none'}."
            yield f"Labelled {label}, most confidently correct: {_named(right) or 'none'}."


def _named(found: list[PatientResult]) -> str:
    return ", ".join(f"{patient.patient_id} ({number(patient.score, 2)})" for patient in found)


def _pseudonym_note(inputs: ReportInputs) -> Block | None:
    if not inputs.pseudonymous:
        return None
    return Text(
        text="Patients and scans stand under pseudonyms, sites and scanners under numbers; dates "
        "and free texts of the manifest are left out, and ages from 90 on are one group. The "
        "slices are those of the scans: where a scan was neither freed of the skull nor defaced, "
        "they show parts of the face.",
        role="note",
    )


def _not_shown(inputs: ReportInputs, results: list[PatientResult]) -> Iterator[Block]:
    """Yield what the panels lack, and how to get it."""
    if inputs.stack_of is None:
        yield missing("The slices are not shown: the report was made without access to the cache.")
    shown = shown_results(results)
    if len(shown) < len(results):
        link = Link(text=f"All {len(results)} patients", target=FIRST_PATIENT_PAGE)
        yield Text(
            text=f"Of {len(results)} patients {len(shown)} are shown here, those called "
            "incorrectly first: a page of all would be too large to open.",
            role="note",
            links=() if inputs.pseudonymous else (link,),
        )
    n_scans = len(sheet_order(inputs, shown))
    if inputs.stack_of is not None and n_scans > MAX_SHEETS:
        yield missing(
            f"Of {n_scans} scans the slices of {MAX_SHEETS} are shown, those of the patients "
            "called incorrectly first: a page of all would be too large to open."
        )
    if inputs.quality is None:
        yield missing("The quality of the scans is not shown: this run has not judged it.")
    if inputs.explanation is None:
        yield missing(
            "Attribution and nearest training patients are not shown: this run has not computed "
            "them. Run the stage explain (mri-transfer explain RUN), then the report again."
        )


def _how_to_read(inputs: ReportInputs) -> str:
    negative, positive = inputs.task.labels
    text = (
        f"The score runs from 0 ({negative}) to 1 ({positive}): the mean over the repeats, with "
        "the lowest and the highest beside it. Every score comes from a head trained without the "
        f"patient. Beside the call is the threshold from which that head calls {positive}, set on "
        "the training patients of its fold. Below each slice are its height z in millimetres and "
        "its own score. A single slice says little: the call rests on all of them. "
        f"{figures.convention_text(inputs.settings.orientation)}"
    )
    if inputs.ventricles:
        text += (
            f" Ventricles: the share of people of the same age and sex labelled {negative} whose "
            "ventricles are smaller, learnt from training patients of the folds that held the "
            "patient out. It does not enter the score."
        )
    if inputs.explanation is not None:
        text += (
            " Colour over a slice does not show where disease is. It shows what moved this model's "
            f"score: orange raised the log-odds of {positive}, blue lowered them. The nearest "
            "training patients have the most similar features; a patient surrounded by the other "
            "label is hard for any head on these features."
        )
    return text
