"""Section `baseline`: who was studied, by label and by fold."""

from __future__ import annotations

from mri_transfer.report.blocks.blocks import folded, how, missing, section_of
from mri_transfer.report.blocks.document import Section
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.cohort import cohort_table, fold_tables, label_names, missing_table

__all__ = ["baseline_section"]


def baseline_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    gone = missing_table(inputs)
    folds = fold_tables(inputs)
    return section_of(
        "baseline",
        "Patients at baseline",
        cohort_table(inputs),
        how(_HOW + _direction(inputs)),
        gone if gone.rows else missing("The manifest has no column beside the label."),
        how(
            "Percentages and means are of the patients whose value is known; no missing "
            "value was filled in for these tables."
        )
        if gone.rows
        else None,
        folded("Who was held out by each fold", *folds)
        if folds
        else missing("The folds of this run are not known."),
    )


_HOW = (
    "Every column of the manifest that describes patients. The standardised difference is the "
    "difference of two labels in units of their standard deviation (Austin 2009, Stat Med "
    "28:3083; for levels Yang and Dalton 2012); below 0.1 it is small. No p values are given: "
    "whether a difference matters does not depend on its p value, which grows small with many "
    "patients and large with few (Senn 1994, Stat Med 13:1715). "
)


def _direction(inputs: ReportInputs) -> str:
    names = label_names(inputs)
    if len(names) == 2:
        return f"Of numbers it is {names[1]} minus {names[0]}; of levels it has no direction."
    if len(names) > 2:
        return "Of several labels it is the largest of any two, the later one minus the earlier."
    return ""
