"""The questions of a data sheet, each answered from the run or left to the authors.

They follow Gebru et al., Datasheets for datasets, Communications of the ACM 64(12), 2021,
doi:10.1145/3458723, in our own words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.render.markdown import Markdown, escaped, markdown_table
from mri_transfer.report.summary import on_whom
from mri_transfer.report.tables.cohort import as_text, cohort_table, label_names
from mri_transfer.report.tables.leakage_tables import one_id_two_people
from mri_transfer.report.tables.tables import exclusion_counts

__all__ = ["SUPPLY", "Part", "data_questions"]

#: What stands where only the authors know.
SUPPLY = "For the authors to supply."

_VERDICTS = {"pass": "passed", "warn": "passed with a warning", "fail": "failed"}


@dataclasses.dataclass(frozen=True)
class Question:
    """A question and its answer; text that is not `Markdown` is escaped when it is rendered."""

    asks: str
    answer: str


@dataclasses.dataclass(frozen=True)
class Part:
    """Questions under one heading."""

    title: str
    questions: tuple[Question, ...]


def data_questions(inputs: ReportInputs) -> tuple[Part, ...]:
    """Return every question with its answer.

    Parameters
    ----------
    inputs : ReportInputs

    Returns
    -------
    tuple of Part
        Counts and groups only: no patient is named.
    """
    return tuple(
        Part(title, tuple(_question(asks, answer, inputs) for asks, answer in questions))
        for title, questions in _PARTS
    )


def _question(
    asks: str, answer: str | Callable[[ReportInputs], str], inputs: ReportInputs
) -> Question:
    return Question(asks, answer if isinstance(answer, str) else answer(inputs))


def _labels(inputs: ReportInputs) -> str:
    names = ", ".join(label_names(inputs))
    kept = inputs.settings.labels.unlabelled == "keep"
    unlabelled = "kept, and not evaluated" if kept else "left out"
    return (
        f"One label a patient, read from the manifest: {names}; positive is "
        f"{inputs.task.positive}. Patients without a label are {unlabelled}. How the "
        f"diagnosis was made: {SUPPLY}"
    )


def _left_out(inputs: ReportInputs) -> str:
    n_excluded = len(inputs.excluded)
    if n_excluded == 0:
        return "Of the scans offered none was left out."
    return Markdown(
        f"{n_excluded} of the scans offered:\n\n{markdown_table(exclusion_counts(inputs.excluded))}"
    )


def _missing(inputs: ReportInputs) -> str:
    evaluated = inputs.evaluated
    gaps = {
        str(name): int((as_text(values) == "").sum())
        for name, values in evaluated.items()
        if name != "label"
    }
    parts = [f"{name} of {n}" for name, n in gaps.items() if n]
    if not parts:
        return "No covariate in the manifest is missing of any evaluated patient."
    return f"Of {len(evaluated)} evaluated patients the manifest lacks {', '.join(parts)}."


def _splits(inputs: ReportInputs) -> str:
    evaluation = inputs.evaluation
    return (
        f"{evaluation.n_folds} folds, {evaluation.n_repeats} times, by patient: all scans "
        "of a patient are in one fold. folds.csv of the run lists them; use the same to compare."
    )


def _quality(inputs: ReportInputs) -> str:
    if inputs.quality is None:
        return "The quality of the scans was not judged in this run."
    counts = inputs.quality["verdict"].astype(str).value_counts()
    parts = [f"{counts[name]} {words}" for name, words in _VERDICTS.items() if name in counts]
    return f"Of {len(inputs.quality)} scans {', '.join(parts) or 'none was judged'}."


def _duplicates(inputs: ReportInputs) -> str:
    if inputs.audit is None:
        return "Duplicates were not looked for."
    n_unlike = len(one_id_two_people(inputs))
    n_pairs = len(inputs.audit.duplicates.pairs) - n_unlike
    return (
        f"Pairs of scans that may be the same file, volume or brain: {n_pairs}. Pairs under one "
        f"patient id that do not look like one brain: {n_unlike}."
    )


def _confidential(inputs: ReportInputs) -> str:
    kept = [str(name) for name in inputs.patients.columns if name != "label"]
    held = f"With each patient the manifest holds {', '.join(kept)}. " if kept else ""
    return (
        f"Yes: scans and diagnoses of persons. {held}A face can be rebuilt from a scan that was "
        f"not defaced. What was removed: {SUPPLY}"
    )


def _sources(inputs: ReportInputs) -> str:
    known = set(as_text(inputs.evaluated["site"])) - {""} if "site" in inputs.evaluated else set()
    sites = "1 site" if len(known) == 1 else f"{len(known)} sites" if known else "no site"
    return f"The manifest names {sites}. Where and by whom they were scanned: {SUPPLY}"


def _cohort(inputs: ReportInputs) -> str:
    return markdown_table(cohort_table(inputs))


def _prepared(inputs: ReportInputs) -> str:
    kind = inputs.settings.preparation.scans
    how = f" Setting of `preparation.scans`: {escaped(kind)}."
    return Markdown(
        "Section Preparation of the report says what was done to each scan; the settings stand in "
        f"`config.toml`.{how}"
    )


_PARTS: tuple[tuple[str, tuple[tuple[str, str | Callable[[ReportInputs], str]], ...]], ...] = (
    (
        "Why it exists",
        (
            ("For what purpose was the cohort gathered?", SUPPLY),
            ("Who gathered it, for whom, and who paid?", SUPPLY),
        ),
    ),
    (
        "What it holds",
        (
            ("What is one record, and how many are there?", on_whom),
            ("Who are the patients?", _cohort),
            ("Is it a sample of a larger group, and how was it drawn?", SUPPLY),
            ("What is the label?", _labels),
            ("What is missing?", _missing),
            ("What was left out, and why?", _left_out),
            ("Are some records about the same person, or copies of each other?", _duplicates),
            ("Are there parts for training and for testing?", _splits),
            ("How good are the scans?", _quality),
            ("Is anything confidential in it?", _confidential),
        ),
    ),
    (
        "How it was collected",
        (
            ("How and where were the scans acquired?", _sources),
            ("When?", SUPPLY),
            ("Which committee approved, and did the patients consent?", SUPPLY),
            ("Can a patient withdraw, and how does that reach those who hold a copy?", SUPPLY),
        ),
    ),
    (
        "How it was prepared",
        (
            ("What was done to the scans?", _prepared),
            ("Are the scans kept as they came?", "The software reads them and changes none."),
        ),
    ),
    (
        "What it may be used for",
        (
            ("For what was it used here?", "To train and test the model of the card beside this."),
            ("For what should it not be used?", SUPPLY),
            ("Could its make-up harm some group when it is used again?", SUPPLY),
        ),
    ),
    (
        "How it is passed on and kept",
        (
            ("Who may have it, on which terms and under which licence?", SUPPLY),
            ("Who looks after it, and how are errors mended?", SUPPLY),
        ),
    ),
)
