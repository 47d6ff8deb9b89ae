"""Limits of use: chosen by rules from results and configuration, and what no software can know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from mri_transfer.evaluation.subgroup_levels import NOT_RECORDED
from mri_transfer.models.heads import HEADS
from mri_transfer.models.trunks import weights_released
from mri_transfer.report.blocks.blocks import bullets, joined, section_of
from mri_transfer.report.blocks.document import Block, Heading, Section, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.data import tells_label
from mri_transfer.report.tables.group_tables import group_name

__all__ = ["limits_section"]

Rule = Callable[[ReportInputs], str | None]


def limits_section(inputs: ReportInputs) -> Section:
    """Return what the figures hold for, what was not tested, and what the authors must supply."""
    groups: tuple[tuple[str, tuple[Rule, ...]], ...] = (
        ("What the figures hold for", (_synthetic, _reference, _range, _mix, _kept)),
        ("What was not tested", _UNTESTED),
        ("What the model cannot see", (_slab, _flat, _trunk)),
    )
    parts = [
        block
        for title, rules in groups
        for block in _group(title, [text for text in (rule(inputs) for rule in rules) if text])
    ]
    return section_of(
        "limits",
        "Limits of use",
        Text(
            text="For research only: the scores are no diagnosis and not for decisions about a "
            "patient. The list follows from this run's results and settings and cannot be complete."
        ),
        parts,
        Heading(text="What the software cannot know"),
        Text(
            text="What the scores are meant for and what would be done with them; how patients "
            "were chosen and when; who set the labels, on what, and whether they had seen the "
            "scans; what else the patients had and how they were treated; whether this analysis "
            "was planned before the data were seen, and how many were tried on the same patients; "
            "consent and approval; funding and interests.",
            role="supply",
        ),
        short="Limits",
    )


def _group(title: str, texts: list[str]) -> tuple[Block, ...]:
    return joined(Heading(text=title), bullets(texts)) if texts else ()


def _synthetic(inputs: ReportInputs) -> str | None:
    if not inputs.evaluation.synthetic:
        return None
    return "Software made these patients. The figures describe no real patients."


def _reference(inputs: ReportInputs) -> str | None:
    """Say what kind of reference standard the labels are, as far as the tables show it."""
    if inputs.evaluation.synthetic:
        return None
    if "cdr" in inputs.evaluated and tells_label(inputs, "cdr"):
        return (
            "The label follows the Clinical Dementia Rating value by value, so the reference "
            "standard is a clinical rating. It is not proof of disease in the brain: neither "
            "autopsy nor a biomarker of amyloid or tau stands behind it here."
        )
    return (
        "The label is what the manifest says. How it was decided the software does not know; "
        "errors in it limit every figure."
    )


def _range(inputs: ReportInputs) -> str | None:
    patients = inputs.evaluated
    if "age" not in patients or not patients["age"].notna().any():
        return "The ages of the patients are not known, so neither is for which ages this holds."
    ages = patients["age"].dropna().astype(float)
    return (
        f"Patients were {ages.min():.0f} to {ages.max():.0f} years old; younger or older ones "
        "were not tested."
    )


def _mix(inputs: ReportInputs) -> str | None:
    evaluation = inputs.evaluation
    share = 100 * evaluation.n_positive / evaluation.n_patients
    return (
        f"{number(share, 0)}\u00a0% of the patients are labelled {inputs.task.positive}. Where the "
        "share differs, predictive values and calibration differ too, even if all else holds."
    )


def _kept(inputs: ReportInputs) -> str | None:
    left_out = len(inputs.excluded)
    if not left_out:
        return None
    scans = "1 scan was" if left_out == 1 else f"{left_out} scans were"
    return f"{scans} left out: the figures say nothing about scans of that kind."


def _external(inputs: ReportInputs) -> str | None:
    return (
        "Another cohort (external testing). Patients were held out from this same cohort "
        "(internal testing), which tends to flatter."
    )


def _sites(inputs: ReportInputs) -> str | None:
    if inputs.evaluation.synthetic:
        return None
    found = {name: _levels(inputs.evaluated, name) for name in ("site", "scanner")}
    unknown = [name for name, levels in found.items() if not levels]
    parts = [f"the {' and the '.join(unknown)} of the scans not being recorded"] if unknown else []
    parts += [
        f"all scans whose {name} is known coming from one ({levels[0]})"
        for name, levels in found.items()
        if len(levels) == 1
    ]
    if not parts:
        return None
    return f"Other sites and scanners, {' and '.join(parts)}."


def _levels(patients: pd.DataFrame, column: str) -> list[str]:
    if column not in patients:
        return []
    return sorted(set(patients[column].dropna().astype(str)) - {""})


def _others(inputs: ReportInputs) -> str | None:
    classes = inputs.settings.labels.classes
    listed = ", ".join(classes) if classes else " or ".join(inputs.task.labels)
    return (
        f"Patients who are neither: only patients labelled {listed} took part. The score does not "
        "tell what else a patient may have."
    )


def _small_groups(inputs: ReportInputs) -> str | None:
    known = [row for row in inputs.evaluation.subgroups.rows if row.level != NOT_RECORDED]
    small = [f"{group_name(row.group)} {row.level}" for row in known if not row.enough]
    if not known:
        return "Subgroups: whether the scores hold for women and men, or by age, was not evaluated."
    if not small:
        return None
    if len(small) == len(known):
        return "Subgroups: in each of them there are too few patients to say anything."
    return f"Subgroups with too few patients to say anything: {', '.join(small)}."


def _worse(inputs: ReportInputs) -> str | None:
    if inputs.audit is not None and inputs.audit.robustness:
        return None
    return "Degraded scans: what motion, noise or thick slices do to the scores was not evaluated."


def _again(inputs: ReportInputs) -> str | None:
    if inputs.audit is not None and inputs.audit.retest.n_patients:
        return None
    return "A second scan: whether a patient scanned again gets the same score is not known."


def _use(inputs: ReportInputs) -> str | None:
    return "Use: whether anybody decides better with these scores than without was not studied."


_UNTESTED: tuple[Rule, ...] = (
    _external,
    _sites,
    _others,
    _small_groups,
    _worse,
    _again,
    _use,
)


def _slab(inputs: ReportInputs) -> str | None:
    scores = inputs.slice_scores
    if "z_mm" not in scores or not len(scores):
        return None
    by = "scan_id" if "scan_id" in scores else "patient_id"
    heights: Any = scores.groupby(by)["z_mm"].agg(["min", "max", "nunique"])
    n, low, high = (float(heights[name].median()) for name in ("nunique", "min", "max"))
    return (
        f"What lies outside the slices. The {n:.0f} slices of a scan run from z = "
        f"{number(low, 0)} to {number(high, 0)}\u00a0mm (medians over scans), a slab of "
        f"{number(high - low, 0)}\u00a0mm; the brain below and above was not analysed."
    )


def _flat(inputs: ReportInputs) -> str | None:
    then = HEADS[inputs.settings.heads.kind].slices
    return (
        f"Shape across slices. Slices are read as flat pictures, {then}; what only shows in three "
        "dimensions, such as the thickness of a slanting cortex, is lost."
    )


def _trunk(inputs: ReportInputs) -> str | None:
    if inputs.evaluation.trunk_weights == "random":
        return "Anything learned from pictures: the trunk's weights are random, as a control."
    if inputs.evaluation.trunk_weights == "scans":
        return (
            "What restoring pictures does not teach. The trunk learned to restore slices of other "
            "cohorts, without labels, and stayed as it was; only the head was fitted to diagnoses."
        )
    if not weights_released(inputs.settings.trunk):
        return (
            "What the trunk's weights were not taught. They stayed as they were read; only the "
            "head was fitted to these patients."
        )
    return (
        "What photographs do not teach. The trunk learned from photographs of everyday things "
        "(ImageNet) and stayed as it was; only the head was fitted to brains."
    )
