"""The terms of a report, each in a few words."""

from __future__ import annotations

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.models.trunks import TRUNKS
from mri_transfer.report.blocks.blocks import section_of
from mri_transfer.report.blocks.cells import Column, table_of
from mri_transfer.report.blocks.document import Section
from mri_transfer.report.blocks.wording import spelt_names
from mri_transfer.report.inputs import ReportInputs

__all__ = ["glossary_section"]

_COLUMNS = {"nwbv": "nWBV (nwbv)", "etiv_cm3": "eTIV (etiv_cm3)", "cdr": "CDR", "mmse": "MMSE"}
_WHAT = {
    "cdr": "a clinician's rating: 0 none, 0.5 very mild, 1 mild, 2 moderate, 3 severe dementia",
    "etiv_cm3": "the size of the head's inside, in cubic centimetres",
    "mmse": "a test of cognition, 0 to 30 points; fewer is worse",
    "nwbv": "brain as a share of the head's inside; atrophy lowers it",
}
_TERMS = {
    "AUC": "area under the ROC curve: how often a patient with the positive label scores above one "
    "without; 0.5 is guessing, 1 perfect",
    "balanced accuracy": "mean of sensitivity and specificity",
    "baseline": "a simpler model on the same patients and folds",
    "calibration": "agreement of scores with observed shares",
    "CI": "confidence interval: values that the data leave plausible",
    "cross-validation, fold": "each part (fold) of the patients is scored by a model trained on "
    "the others",
    "feature, trunk, head": "numbers that describe a slice; the network that computes them; the "
    "small model, trained here, that turns them into a score",
    "label": "the diagnosis in the manifest, taken as the reference standard",
    "PPV, NPV": "positive and negative predictive value: of patients called positive (negative), "
    "the share that is",
    "repeat": "the whole cross-validation once more, with other splits",
    "ROC curve": "receiver operating characteristic: sensitivity against false alarms at every "
    "threshold",
    "score": "the model's probability of the positive label, 0 to 1",
    "sensitivity": "of patients with the positive label, the share called positive",
    "specificity": "of the others, the share called negative",
    "T1-weighted MRI": "magnetic resonance imaging that shows anatomy: fluid dark, white matter "
    "bright",
    "threshold": "the score from which a patient is called positive",
}


def glossary_section(inputs: ReportInputs) -> Section:
    """Return labels, columns and measures by alphabet, each with its meaning."""
    labels = inputs.settings.labels.classes or inputs.task.labels
    meanings = dict(_TERMS)
    meanings |= {
        label: spelt_out(label).removesuffix(f" ({label})")
        for label in labels
        if spelt_out(label) != label
    }
    meanings |= {
        short: f"{spelt_names(column)}: {_WHAT[column]}"
        for column, short in _COLUMNS.items()
        if column in inputs.patients
    }
    trunk = TRUNKS[inputs.settings.trunk.name].title
    meanings[trunk] = "the trunk: a published neural network for pictures"
    return section_of(
        "glossary",
        "Glossary",
        table_of(
            sorted(meanings, key=str.lower),
            "Terms of this report",
            Column("Term", lambda term: term),
            Column("Meaning", lambda term: meanings[term], wide=True),
            name="glossary",
        ),
    )
