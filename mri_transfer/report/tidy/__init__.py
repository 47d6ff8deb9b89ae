"""Tidy tables of an evaluation and an audit: one row an observation, one column a variable.

`evaluation.json` and `audit.json` are trees. What users of R and of spreadsheets need are tables
with plain columns: names that R takes as they are, one type a column, no list in a cell. These
modules know the shape of the trees, not how they are computed; what each column means is said by
the documents' schemas, to which every column keeps its `Origin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mri_transfer.report.tidy.cells import Origin, Rows, TidyTable
from mri_transfer.report.tidy.figures import figures
from mri_transfer.report.tidy.sources import SOURCES

__all__ = [
    "MADE_COLUMNS",
    "MADE_TABLES",
    "TABLES",
    "Origin",
    "TidyTable",
    "csv_text",
    "tidy",
    "tidy_tables",
]

#: Every table that there may be, in their order.
TABLES = tuple(dict.fromkeys(["figures", *(source.table for source in SOURCES)]))

#: What tables are that hold more than one part of a document.
MADE_TABLES = {
    "figures": "Every figure that has an interval, of both documents: one row each.",
    "overview": "What was evaluated, and how: one row.",
    "precision": "How precise the main figures are with this many patients, and how many would "
    "make them more so: one row a figure and half-width that is wanted.",
    "age_matched": "Whether the score tells patients apart who are equally old: all patients as "
    "they are, pairs matched by age, and all patients weighted to one age.",
    "trials": "Every procedure that was tried inside the training patients of a fold: one row an "
    "inner fold.",
    "identity": "Whether the features tell which patient a slice comes from: one row a question.",
    "similarity": "How alike scans are by their features: one row for pairs of different patients "
    "and one for pairs of one patient.",
}

#: Columns that no document holds under a key of their own, and what they are.
MADE_COLUMNS = {
    "document": "Document that the figure is in: evaluation or audit.",
    "section": "Section of the document.",
    "item": "What the figure is of within the section: the names on the way to it.",
    "metric": "Name of the figure.",
    "strategy": "Whom one treats: those that the model, or a baseline, scores at the threshold or "
    "above; treat_all or treat_none.",
    "baseline": "Name of the baseline; empty for other strategies.",
    "quantity": "net_benefit; gain: the model's over the better of treating all and none; "
    "difference: the model's minus the baseline's.",
    "reference": "Label, or class, by the reference standard.",
    "predicted": "Label, or class, predicted.",
    "n": "Patients, averaged over repeats.",
    "patients": "Patients that the row is about.",
    "pairs": "Pairs of scans that the row is about.",
    "figure": "The figure whose precision is meant.",
    "trial": "Number of the trial within the fold, from 0.",
    "inner_fold": "Number of the fold inside the training patients, from 0.",
    "question": "What a slice is compared with.",
}


def tidy_tables(
    evaluation: Mapping[str, Any], audit: Mapping[str, Any] | None
) -> dict[str, pd.DataFrame]:
    """Return the tables of an evaluation and, if there is one, of an audit.

    Parameters
    ----------
    evaluation : mapping
        The content of `evaluation.json`.
    audit : mapping or None
        The content of `audit.json`.

    Returns
    -------
    dict of str to DataFrame
        By name, in the order of `TABLES`; `figures` holds every estimate of both documents, a row
        each. A column holds truth values, whole numbers, numbers or text, and missing values as
        pandas marks them. A table without rows is left out. The order of keys in the documents
        does not matter.
    """
    return {name: table.frame for name, table in tidy(evaluation, audit).items()}


def tidy(evaluation: Mapping[str, Any], audit: Mapping[str, Any] | None) -> dict[str, TidyTable]:
    """Return the same tables with the origin of every column; see `tidy_tables`."""
    documents = {"evaluation": evaluation} | ({} if audit is None else {"audit": audit})
    made = {"figures": figures(documents)}
    for source in SOURCES:
        rows = made.setdefault(source.table, Rows(source.document))
        if source.document in documents:
            source.read(documents[source.document], rows)
    return {name: made[name].table() for name in TABLES if made[name].rows}


def csv_text(frame: pd.DataFrame) -> str:
    """Return a table as the text of a CSV file that R reads as it is.

    Commas between cells, quotes where a cell needs them, TRUE and FALSE, nothing where a value is
    missing, and every digit of a number.
    """
    words = {True: "TRUE", False: "FALSE"}
    truths = [name for name in frame.columns if frame[name].dtype == "boolean"]
    written = frame.assign(**{name: frame[name].map(words, na_action="ignore") for name in truths})
    return written.to_csv(index=False, lineterminator="\n")
