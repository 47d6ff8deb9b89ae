"""Section `preparation`: what was done to the scans, and how far each is to be trusted."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mri_transfer.report.blocks.blocks import bullets, folded, missing, section_of
from mri_transfer.report.blocks.cells import Column, Row, Table, table_of
from mri_transfer.report.blocks.document import Heading, Link, Section, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.cohort import as_text, label_names
from mri_transfer.report.tables.leakage_tables import one_id_two_people
from mri_transfer.scans.preparation.settings import PreparationSpec
from mri_transfer.scans.quality.rules import RULES
from mri_transfer.scans.slices import SliceSpec

__all__ = ["preparation_section"]

_VERDICTS = ("pass", "warn", "fail", "none")
#: Scores of which only the place in the cohort means something; those with thresholds are rules.
_COHORT_SCORES = {
    "sharpness": "sharpness",
    "entropy_focus": "motion (entropy focus)",
    "histogram_distance": "histogram",
}
_WORST = 10
_UNKNOWN = "label not known"


def preparation_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    return section_of(
        "preparation",
        "Preparation and quality of the scans",
        bullets(_steps(inputs)),
        _quality_blocks(inputs),
        Heading(text="Duplicates"),
        _duplicate_blocks(inputs),
        short="Preparation",
    )


def _steps(inputs: ReportInputs) -> list[str]:
    """Say what the configuration asked for, in the order in which it is done."""
    spec = inputs.settings.preparation
    sentences = [_SCANS[spec.scans]]
    prepared = inputs.quality is None or not _passed(inputs.quality).all()
    if spec.scans != "none" and prepared:
        sentences += _preparing(spec)
    return [*sentences, *_slicing(inputs.settings.slices), _ALONE]


_ALONE = "No step uses another scan or a label, so none can carry either across a split."
_SCANS = {
    "auto": "Scans that came prepared (the brain alone, lying in the template's space) were used "
    "as they came; all others were prepared.",
    "all": "Every scan was prepared, those that came prepared too.",
    "none": "No scan was prepared: whoever ran this declared that all were ready.",
}
_EXTRACTION = {
    "own": "Brain extraction: a watershed that starts from the template's outline.",
    "hd-bet": "Brain extraction: the program HD-BET.",
    "synthstrip": "Brain extraction: the program SynthStrip.",
    "none": "No brain extraction: the skull stays in the picture.",
}


def _preparing(spec: PreparationSpec) -> list[str]:
    return [
        "Bias field corrected (N4)." if spec.bias_field else "No bias field correction.",
        "Registered to the MNI template with an affine map; the best of all orientations was "
        "sought first, so that a wrong header is found."
        if spec.registration
        else "Not registered: the position in the scan's header was trusted.",
        _EXTRACTION[spec.brain_extraction],
        f"Sampled on a grid of 1 mm ({spec.interpolation} interpolation)"
        + (", cropped to the brain." if spec.crop else ", the template's whole field."),
    ]


def _slicing(spec: SliceSpec) -> list[str]:
    low, high = spec.percentiles
    window = spec.window_mm or (None, None)
    chosen = {
        "extent": "spread evenly over the height of the head",
        "entropy": "those whose grey values carry most information (entropy)",
        "window": f"spread evenly from z = {window[0]} to {window[-1]} mm",
    }[spec.selection]
    scaled = {
        "percentile": f"One window of grey values a scan: percentiles {low} to {high} inside the "
        "head become black and white.",
        "minmax": "Every slice is stretched from its own darkest to its own brightest value.",
    }[spec.intensity]
    edge = spec.size_px
    shape = "padded to a square" if spec.aspect != "stretch" else "stretched to a square"
    size = f", {shape} and resized to {edge} \u00d7 {edge} pixels"
    return [f"{spec.n_slices} axial slices a scan, {chosen}{size}, 8 bit.", scaled]


def _quality_blocks(inputs: ReportInputs) -> list[Any]:
    quality = inputs.quality
    if quality is None or not len(quality):
        return [missing("The quality of the scans was not judged.")]
    labels = _labels(inputs, quality)
    columns = _columns(inputs, labels)
    passed = _passed(quality)
    return [
        Text(
            text=f"{int(passed.sum())} of {len(quality)} scans passed through as they came, "
            f"{int((~passed).sum())} were prepared. A page for every scan shows it with its brain "
            "mask and all its scores.",
            links=(Link(text="Quality pages", target="../quality/index.html"),),
        ),
        *_orientation_faults(quality),
        Heading(text="Quality by label"),
        _verdict_table(quality, labels, columns),
        Text(
            text="Where the quality of scans is associated with the label, a model can tell labels "
            "apart by quality; compare the columns.",
            role="how",
        ),
        _score_table(quality, labels, columns),
        _reason_table(quality),
        folded(f"The scans to look at first ({_WORST} at most)", _worst_table(quality, labels)),
    ]


def _passed(quality: pd.DataFrame) -> pd.Series[bool]:
    return quality["passed_through"].astype(str).eq("True")


def _labels(inputs: ReportInputs, quality: pd.DataFrame) -> pd.Series[str]:
    """Return the label of each judged scan's patient; of patients who are not used unknown."""
    label_of = as_text(inputs.patients["label"])
    label_of.index = label_of.index.astype(str)
    found = quality["patient_id"].astype(str).map(label_of.to_dict())
    return found.fillna(_UNKNOWN).replace("", _UNKNOWN)


def _columns(inputs: ReportInputs, labels: pd.Series[str]) -> list[str]:
    known = label_names(inputs)
    return [*known, *sorted(set(labels) - {_UNKNOWN, *known}),
            *([_UNKNOWN] if (labels == _UNKNOWN).any() else [])]  # fmt: skip


def _orientation_faults(quality: pd.DataFrame) -> list[Text]:
    """Warn of scans whose orientation differs from their header."""
    faults = quality["turn"].fillna("").astype(str)
    found = faults[faults != ""].value_counts().sort_index()
    if found.empty:
        return []
    listed = "; ".join(
        f"{words} ({n} {'scan' if n == 1 else 'scans'})" for words, n in found.items()
    )
    kept = int((_passed(quality) & (faults != "")).sum())
    text = (
        f"Orientation: {int(found.sum())} of {len(quality)} scans differ from their header: "
        f"{listed}."
    )
    if kept:
        text += (
            f" {kept} of them came prepared and were used as they came: in pictures and "
            "coordinates of these, left and right, front and back follow the header, not the head."
        )
    return [Text(text=text, role="fault")]


def _verdict_table(quality: pd.DataFrame, labels: pd.Series[str], columns: list[str]) -> Table:
    verdicts = quality["verdict"].astype(str)
    rows = []
    for verdict in _VERDICTS:
        hits = verdicts == verdict
        if hits.any() or verdict != "none":
            cells = [_part(hits, labels == name) for name in columns]
            rows.append(Row(_WORDS[verdict], (str(int(hits.sum())), *cells)))
    kept = quality["kept"].astype(str).eq("True")
    if kept.any():
        cells = [_part(kept, labels == name) for name in columns]
        rows.append(Row("fail, kept on request", (str(int(kept.sum())), *cells)))
    return Table(
        caption="Verdicts by label, scans",
        columns=("Verdict", "All judged", *columns),
        rows=tuple(rows),
    )


_WORDS = {"pass": "pass", "warn": "warn: used", "fail": "fail: left out", "none": "not judged"}


def _part(hits: pd.Series[bool], group: pd.Series[bool]) -> str:
    n, total = int((hits & group).sum()), int(group.sum())
    return f"{n} ({100 * n / total:.0f}\u00a0%)" if total else "0"


def _score_table(quality: pd.DataFrame, labels: pd.Series[str], columns: list[str]) -> Table:
    titles = {rule.name: (rule.title, rule.unit) for rule in RULES if rule.side != "one"}
    titles |= {name: (title, "") for name, title in _COHORT_SCORES.items()}
    rows = []
    for name, (title, unit) in titles.items():
        if name not in quality:
            continue
        values = pd.to_numeric(quality[name], errors="coerce")
        head = f"{title[:1].upper()}{title[1:]}" + (f", {unit}" if unit else "")
        groups = [values, *(values[labels == column] for column in columns)]
        cells = tuple(map(_median, groups))
        if values.notna().any():
            rows.append(Row(head, cells))
        else:
            rows.append(Row(head, cells, note="computed of no scan", state="quiet"))
    return Table(
        caption="Scores by label: median over scans",
        columns=("Score", "All judged", *columns),
        rows=tuple(rows),
    )


def _median(values: pd.Series[float]) -> str:
    known = values.dropna()
    if known.empty:
        return "not defined"
    middle = float(known.median())
    if 0 < middle < 0.001:
        return "below 0.001"
    # Three digits that count, and no powers of ten.
    return number(middle, 0) if abs(middle) >= 100 else f"{middle:.3g}".replace("-", "\u2212")


def _reason_table(quality: pd.DataFrame) -> Table | Text:
    """Count the scores that warned or failed; a scan may have several."""
    titles = {rule.name: rule.title for rule in RULES} | _COHORT_SCORES
    rows = []
    for name, title in titles.items():
        verdicts = quality.get(f"{name}_verdict")
        if verdicts is None:
            continue
        warned, failed = (int((verdicts == verdict).sum()) for verdict in ("warn", "fail"))
        if warned + failed:
            head = f"{title[:1].upper()}{title[1:]}"
            rows.append((-failed, -warned, Row(head, (str(warned), str(failed)))))
    if not rows:
        return missing("No score warned and none failed.")
    return Table(
        caption="What warned or failed, scans",
        columns=("Score", "Warn", "Fail"),
        rows=tuple(row for *_, row in sorted(rows, key=lambda row: row[:2])),
    )


def _worst_table(quality: pd.DataFrame, labels: pd.Series[str]) -> Table | Text:
    text = quality.fillna("").astype(str).assign(label=labels)
    # Not judged is no fault.
    rank = text["verdict"].map({"fail": 0, "warn": 1})
    n_reasons = text["reasons"].str.count("; ")
    order = text.assign(rank=rank, n=-n_reasons).dropna(subset="rank")
    order = order.sort_values(["rank", "n", "scan_id"]).head(_WORST)
    table = table_of(
        order.itertuples(),
        "Worst scans by verdict and number of reasons",
        Column("Scan", lambda row: str(row.scan_id)),
        Column("Label", lambda row: str(row.label), wide=True),
        Column(
            "Verdict",
            lambda row: "fail, kept" if row.kept == "True" else str(row.verdict),
            wide=True,
        ),
        Column("Reasons", lambda row: str(row.reasons), wide=True),
    )
    return table or missing("Every scan that was judged passed.")


def _duplicate_blocks(inputs: ReportInputs) -> list[Any]:
    if inputs.audit is None:
        return [missing("The audit was not run: duplicates are not reported.")]
    pairs = inputs.audit.duplicates.pairs
    if not pairs:
        return [Text(text="No two scans are one file, one volume or one brain.", role="finding")]
    across = sum(pair.across_patients for pair in pairs)
    unlike = len(one_id_two_people(inputs))
    alike = len(pairs) - unlike
    text = (
        f"{alike} {'pair' if alike == 1 else 'pairs'} of scans look like one; {across} of them "
        "under two patients' names."
    )
    if unlike:
        text += (
            f" {unlike} {'pair' if unlike == 1 else 'pairs'} of scans under one patient id do not "
            "look like one brain: one id, two people?"
        )
    return [
        Text(
            text=text,
            role="fault" if across or unlike else "finding",
            links=(Link(text="All pairs, in the audit", target="#leakage"),),
        )
    ]
