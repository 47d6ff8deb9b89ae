"""A panel a patient: scores by repeat, slices with what was said of them, quality, neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.errors import StoreError
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import beside, how, joined, missing
from mri_transfer.report.blocks.cells import Column, table_of
from mri_transfer.report.blocks.document import (
    Block,
    Link,
    PatientPanel,
    Picture,
    SliceSheet,
    Table,
    Text,
)
from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.patient_results import PatientResult, threshold_spans, worst_first

__all__ = ["MAX_SHEETS", "covariate_text", "patient_panels", "sheet_order"]

#: Scans that get a sheet of slices; a page of more would be too large to open.
MAX_SHEETS = 500
#: With more scans than this the slices are drawn smaller.
_MANY = 250
_TILE_PX, _SMALL_TILE_PX = 96, 64
_COLUMNS, _NARROW_COLUMNS = 8, 4
_MAX_NEIGHBOURS = 8
#: The gravest first.
_VERDICTS = ("fail", "warn", "pass")


def patient_panels(inputs: ReportInputs, results: list[PatientResult]) -> tuple[PatientPanel, ...]:
    """Return one panel a patient, in the order of the results.

    Slices are read one scan at a time.
    """
    builder = _Builder(inputs, results)
    return tuple(builder.panel(result) for result in results)


def sheet_order(inputs: ReportInputs, results: list[PatientResult]) -> list[str]:
    """Return the scans in the order in which they get a sheet: those called worst come first."""
    scans = _scans_by_patient(inputs)
    return [scan for patient in worst_first(results) for scan in scans.get(patient.patient_id, ())]


def _scans_by_patient(inputs: ReportInputs) -> dict[str, list[str]]:
    table = inputs.scans if inputs.scans is not None else inputs.slice_scores
    if "scan_id" not in table:
        return {}
    pairs = table[["patient_id", "scan_id"]].astype(str).drop_duplicates()
    found: dict[str, list[str]] = {}
    for patient_id, scan_id in zip(pairs["patient_id"], pairs["scan_id"], strict=True):
        found.setdefault(patient_id, []).append(scan_id)
    return found


@dataclasses.dataclass(frozen=True)
class _Quality:
    """What was judged of a scan; `orientation` is what the header seems to have wrong."""

    verdict: str
    reasons: str
    kept: bool
    orientation: str


def _judged(table: pd.DataFrame) -> dict[str, _Quality]:
    """Return the rows of `quality.csv` by scan."""
    text = table.fillna("").astype(str)
    columns = (text["scan_id"], text["verdict"], text["reasons"], text["kept"], text["turn"])
    return {
        scan: _Quality(verdict, reasons, kept == "True", turn)
        for scan, verdict, reasons, kept, turn in zip(*columns, strict=True)
    }


class _Builder:
    """What all panels share, looked up once."""

    def __init__(self, inputs: ReportInputs, results: list[PatientResult]) -> None:
        self.inputs = inputs
        self.scans = _scans_by_patient(inputs)
        self.thresholds = threshold_spans(inputs, results)
        self.covariates = inputs.patients.set_axis(inputs.patients.index.astype(str))
        order = sheet_order(inputs, results)
        self.shown = frozenset(order[:MAX_SHEETS])
        self.tile_px = _TILE_PX if len(self.shown) <= _MANY else _SMALL_TILE_PX
        self.quality = {} if inputs.quality is None else _judged(inputs.quality)
        self.slice_scores: dict[str, pd.Series[float]] = {}
        if "scan_id" in inputs.slice_scores:
            own = inputs.slice_scores["scan_id"].isin(self.shown)
            means = inputs.slice_scores[own].groupby(["scan_id", "slice"])["score"].mean()
            self.slice_scores = {
                str(scan): part.droplevel(0) for scan, part in means.groupby(level=0)
            }
        explanation = inputs.explanation
        self.position: dict[str, int] = {}
        self.neighbours: dict[str, pd.DataFrame] = {}
        self.limit = 0.0
        if explanation is not None:
            self.position = {name: i for i, name in enumerate(explanation.scan_ids)}
            self.limit = figures.attribution_limit(explanation.maps)
            own = explanation.neighbours["patient_id"].isin({one.patient_id for one in results})
            grouped = explanation.neighbours[own].groupby("patient_id")
            self.neighbours = {str(name): rows for name, rows in grouped}

    def panel(self, result: PatientResult) -> PatientPanel:
        """Return one patient's panel."""
        scans = self.scans.get(result.patient_id, [])
        verdict, note = self._quality(scans)
        return PatientPanel(
            patient_id=result.patient_id,
            label=result.label,
            score=result.score,
            score_low=result.low,
            score_high=result.high,
            called=result.called,
            threshold=self.thresholds.get(result.patient_id, ""),
            share_right=result.share_right,
            ventricles=self.inputs.ventricles.get(result.patient_id),
            covariates=self._covariates(result.patient_id),
            quality=verdict,
            quality_note=note,
            blocks=joined(
                self._volume_link(result.patient_id),
                self._scans(scans),
                _repeat_table(result, self.inputs),
                self._neighbour_blocks(result),
            ),
        )

    def _covariates(self, patient_id: str) -> dict[str, str]:
        if patient_id not in self.covariates.index:
            return {}
        row = self.covariates.loc[patient_id]
        names = [str(name) for name in row.index if name not in ("label", "synthetic")]
        ordered = sorted(names, key=lambda name: (name != "age", name != "sex", name != "site"))
        return {
            name: covariate_text(name, row[name], pseudonymous=self.inputs.pseudonymous)
            for name in ordered
        }

    def _quality(self, scans: list[str]) -> tuple[str, str]:
        """Return the gravest verdict of the patient's scans, and every reason."""
        judged = {scan: self.quality[scan] for scan in scans if scan in self.quality}
        verdicts = {quality.verdict for quality in judged.values()}
        notes = []
        for scan, quality in judged.items():
            kept = "used all the same, because it was asked to be kept" if quality.kept else ""
            reasons = "; ".join(filter(None, (quality.reasons, kept)))
            if reasons:
                notes.append(f"{scan}: {reasons}" if len(judged) > 1 else reasons)
        return next((name for name in _VERDICTS if name in verdicts), ""), ". ".join(notes)

    def _volume_link(self, patient_id: str) -> Block | None:
        page = self.inputs.volume_pages.get(patient_id)
        if page is None or self.inputs.pseudonymous:
            return None
        link = Link(text="Three planes", target=page)
        return Text(text="At full resolution, with sliders:", role="note", links=(link,))

    def _scans(self, scans: list[str]) -> Iterator[Block | None]:
        """Yield the sheets, earlier scans of the patient beside later ones, and what is to mind."""
        several = len(scans) > 1
        yield beside(*(self._sheet(scan, several=several) for scan in scans))
        for scan in scans:
            yield from self._notes(scan, named=several)

    def _notes(self, scan_id: str, *, named: bool) -> Iterator[Block]:
        quality = self.quality.get(scan_id)
        of = f" of scan {scan_id}" if named else ""
        if quality is not None and quality.orientation:
            yield Text(
                text=f"The header{of} seems to be wrong: {quality.orientation}. The slices are "
                "shown as the header has them, so sides and directions may be exchanged.",
                role="fault",
            )
        if quality is not None and not self.inputs.pseudonymous:
            link = Link(
                text="Quality of this scan", target=f"../quality/scans/{page_name(scan_id)}"
            )
            yield Text(text=f"As it came and as it was prepared{of}:", role="note", links=(link,))

    def _sheet(self, scan_id: str, *, several: bool) -> Iterator[Block]:
        if self.inputs.stack_of is None:
            return
        if scan_id not in self.shown:
            yield missing(
                f"The slices are not shown: a page holds those of {MAX_SHEETS} scans, of the "
                "patients called incorrectly first."
            )
            return
        try:
            stack = self.inputs.stack_of(scan_id)
        except StoreError:
            yield missing(
                "The slices are not shown: they are no longer in the cache, or damaged there. "
                "Run the stage 'slices' again."
            )
            return
        columns = _NARROW_COLUMNS if several else _COLUMNS
        means = self.slice_scores.get(scan_id, pd.Series(dtype=float)).to_dict()
        count = len(stack.pixels)
        position = self.position.get(scan_id)
        name = page_name(scan_id).removesuffix(".html").replace(".", "-")
        overlay: Picture | None = None
        attributions: tuple[float, ...] = ()
        if position is not None and self.inputs.explanation is not None:
            overlay = self._overlay(name, position, scan_id, columns=columns)
            weights = np.nan_to_num(self.inputs.explanation.slice_weights[position])
            attributions = tuple(round(float(weight), 4) for weight in weights)
        named = f"Scan {scan_id}: all" if several else "All"
        sides = figures.convention_text(self.inputs.settings.orientation).partition(" L and R")[0]
        low, high = number(float(stack.z_mm.min()), 0), number(float(stack.z_mm.max()), 0)
        yield SliceSheet(
            picture=Picture(
                name=f"slices-{name}",
                content=figures.slice_sheet(
                    stack.pixels,
                    orientation=self.inputs.settings.orientation,
                    columns=columns,
                    tile_px=self.tile_px,
                ),
                media_type="image/webp",
                alt=f"{count} axial slices of scan {scan_id}, {low} to {high} mm",
                caption=f"{named} {count} slices scored, from {low} to {high} mm. {sides}",
            ),
            columns=columns,
            n_slices=count,
            z_mm=tuple(round(float(z), 2) for z in stack.z_mm),
            scores=tuple(_slice_score(means, k) for k in range(count)),
            overlay=overlay,
            limit=0.0 if overlay is None else float(f"{self.limit:.2g}"),
            attributions=attributions,
        )

    def _overlay(self, name: str, position: int, scan_id: str, *, columns: int) -> Picture:
        assert self.inputs.explanation is not None  # the caller has looked
        positive = self.inputs.task.positive
        return Picture(
            name=f"attribution-{name}",
            content=figures.attribution_sheet(
                self.inputs.explanation.maps[position],
                limit=self.limit,
                orientation=self.inputs.settings.orientation,
                columns=columns,
            ),
            media_type="image/png",
            alt=f"Attribution over the slices of scan {scan_id}",
            caption=f"Log-odds a place of the map: orange speaks for {positive}, blue against it; "
            "the scale is the same for all patients",
        )

    def _neighbour_blocks(self, result: PatientResult) -> Iterator[Block | None]:
        rows = self.neighbours.get(result.patient_id)
        if rows is None or rows.empty:
            return
        yield _neighbour_table(rows)
        same = int((rows["label"].astype(str) == result.label).sum())
        yield how(
            f"Over all repeats, {same} of the {len(rows)} nearest training patients carry the "
            f"patient's own label, {result.label}."
        )


def covariate_text(name: str, value: Any, *, pseudonymous: bool) -> str:
    """Return a patient's covariate as text; empty where it is not known."""
    if pd.isna(value):
        return ""
    if name == "age" and pseudonymous and float(value) >= 90:
        return "90 or more"
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _slice_score(means: Mapping[Any, float], k: int) -> float | None:
    value = means.get(k)
    return None if value is None or pd.isna(value) else round(float(value), 4)


def _repeat_table(result: PatientResult, inputs: ReportInputs) -> Table | None:
    thresholds, positive = result.thresholds(inputs), inputs.task.positive
    rows: list[Any] = list(result.scores.itertuples())
    return table_of(
        rows,
        "The score in every repeat, by the head of the fold that held this patient out, and the "
        f"score from which that head calls {positive}",
        Column("Repeat", lambda row: str(row.repeat)),
        Column("Fold", lambda row: str(getattr(row, "fold", "not recorded"))),
        Column("Score", lambda row: number(row.score)),
        Column(f"Threshold of {positive}", lambda row: number(thresholds.get(int(row.repeat)))),
        Column("Called", lambda row: str(row.predicted), wide=True),
        Column(
            "Correct",
            lambda row: "yes" if str(row.predicted) == result.label else "no",
            wide=True,
        ),
    )


def _neighbour_table(neighbours: pd.DataFrame) -> Table | None:
    """Pool the neighbours over repeats: those near in most repeats first, then the nearest."""
    n_repeats = neighbours["repeat"].nunique()
    pooled = neighbours.groupby("neighbour_id", sort=True).agg(
        label=("label", "first"), distance=("distance", "mean"), repeats=("repeat", "nunique")
    )
    pooled = pooled.sort_values(["repeats", "distance"], ascending=[False, True], kind="stable")
    shown: list[Any] = list(pooled.head(_MAX_NEIGHBOURS).itertuples())
    return table_of(
        shown,
        "Nearest training patients by feature",
        Column("Patient", lambda row: str(row.Index)),
        Column("Label", lambda row: str(row.label), wide=True),
        Column("Distance", lambda row: number(row.distance, 2)),
        Column("Among the nearest, repeats", lambda row: f"{row.repeats} of {n_repeats}"),
    )
