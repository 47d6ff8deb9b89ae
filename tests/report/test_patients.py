"""Every scored patient has a panel that says what the repeats, slices and neighbours came to."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mri_transfer.errors import StoreError
from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.document import (
    Block,
    Bullets,
    Folded,
    PatientPanel,
    PatientPanels,
    Section,
    Side,
    SliceSheet,
    Table,
    Text,
)
from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.figures import slice_sheet
from mri_transfer.report.pages import patient_pages
from mri_transfer.report.pages.patient_pages import write_patient_pages
from mri_transfer.report.sections.patients import patients_section
from mri_transfer.report.tables import panels
from mri_transfer.report.tables import patient_results as patient_results_module
from mri_transfer.report.tables.patient_results import patient_results
from tests.report.documents import make_inputs, replaced
from tests.report.whole_inputs import N_SLICES, whole_inputs

Kind = TypeVar("Kind")


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return whole_inputs()


@pytest.fixture(scope="module")
def section(inputs: ReportInputs) -> Section:
    return patients_section(inputs)


def panels_of(section: Section) -> dict[str, PatientPanel]:
    (found,) = of_kind(section.blocks, PatientPanels)
    return {panel.patient_id: panel for panel in found.panels}


def of_kind(blocks: Iterable[Block], kind: type[Kind]) -> Iterator[Kind]:
    for block in blocks:
        if isinstance(block, kind):
            yield block
        elif isinstance(block, Folded | Side):
            yield from of_kind(block.blocks, kind)


def texts(blocks: Iterable[Block], role: str) -> str:
    return " ".join(block.text for block in of_kind(blocks, Text) if block.role == role)


def scores_of(*rows: tuple[int, str, str, float, str]) -> ReportInputs:
    table = pd.DataFrame(rows, columns=["repeat", "patient_id", "label", "score", "predicted"])
    return replaced(make_inputs(), patient_scores=table)


def test_a_result_is_mean_range_and_majority_of_the_repeats() -> None:
    inputs = scores_of(
        (0, "p", "AD", 0.2, "CN"), (1, "p", "AD", 0.6, "AD"), (2, "p", "AD", 0.7, "AD")
    )
    (found,) = patient_results(inputs)
    assert [found.score, found.low, found.high] == pytest.approx([0.5, 0.2, 0.7])
    assert found.called == "AD"
    assert found.share_right == pytest.approx(2 / 3)


def test_a_tie_never_looks_like_a_right_call() -> None:
    inputs = scores_of(
        (0, "p", "AD", 0.6, "AD"), (1, "p", "AD", 0.4, "CN"),
        (0, "q", "CN", 0.6, "AD"), (1, "q", "CN", 0.4, "CN"),
    )  # fmt: skip
    assert [one.called for one in patient_results(inputs)] == ["CN", "AD"]


def test_every_scored_patient_has_one_panel(inputs: ReportInputs, section: Section) -> None:
    found = panels_of(section)
    assert list(found) == sorted(set(inputs.patient_scores["patient_id"]))
    assert "P-x" not in found  # excluded patients stand in the section on the flow


def test_covariates_are_text_and_empty_where_unknown(section: Section) -> None:
    found = panels_of(section)
    assert found["OAS0003"].covariates["age"] == ""
    covariates = found["OAS0000"].covariates
    assert list(covariates)[:3] == ["age", "sex", "site"]
    assert covariates["site"] == "WashU"
    assert covariates["age"].isdigit()


def test_quality_is_that_of_the_worst_scan_with_every_reason(section: Section) -> None:
    found = panels_of(section)
    assert (found["OAS0000"].quality, found["OAS0000"].quality_note) == ("warn", "noise: 3")
    assert found["OAS0001"].quality == "pass"
    assert found["OAS0011"].quality == "fail"
    assert "OAS0011_s2: holes: 9; used all the same" in found["OAS0011"].quality_note


def test_a_sheet_holds_the_slices_with_scores_heights_and_attribution(
    inputs: ReportInputs, section: Section
) -> None:
    (sheet,) = of_kind(panels_of(section)["OAS0002"].blocks, SliceSheet)
    assert inputs.explanation is not None
    assert (sheet.n_slices, sheet.columns, len(sheet.z_mm)) == (N_SLICES, 8, N_SLICES)
    own = inputs.slice_scores[inputs.slice_scores["patient_id"] == "OAS0002"]
    expected = own.sort_values("slice")["score"].tolist()
    assert [score for score in sheet.scores if score is not None] == pytest.approx(
        expected, abs=1e-4
    )
    assert sheet.attributions == pytest.approx(
        inputs.explanation.slice_weights[2].tolist(), abs=1e-4
    )
    assert sheet.overlay is not None
    picture, overlay = (
        Image.open(io.BytesIO(one.content)) for one in (sheet.picture, sheet.overlay)
    )
    assert picture.width / picture.height == overlay.width / overlay.height
    assert "AD" in sheet.overlay.caption


def test_beside_a_call_stands_the_threshold_of_the_fold_that_made_it(
    inputs: ReportInputs, section: Section
) -> None:
    (name, panel), *_ = panels_of(section).items()
    rows = inputs.patient_scores[inputs.patient_scores["patient_id"] == name]
    known = {(one["repeat"], one["fold"]): one for one in inputs.evaluation.plain()["per_fold"]}
    places = [(row["repeat"], row["fold"]) for row in rows.to_dict("records")]
    expected = [number(known[place]["threshold"]) for place in places]
    table = next(t for t in of_kind(panel.blocks, Table) if "in every repeat" in t.caption)
    column = table.columns.index("Threshold of AD") - 1
    assert [row.cells[column] for row in table.rows] == expected
    ends = sorted({number(known[place]["threshold"], 2) for place in places})
    assert panel.threshold == " to ".join(dict.fromkeys((ends[0], ends[-1])))


@pytest.mark.parametrize("orientation", ["neurological", "radiological"])
def test_the_sheet_is_shown_as_the_setting_says(inputs: ReportInputs, orientation: str) -> None:
    config = {**inputs.settings.every, "report": {"orientation": orientation, "paper": "a4"}}
    turned = replaced(inputs, config=config)
    section = patients_section(turned)
    panel = next(iter(panels_of(section).values()))
    sheet = next(of_kind(panel.blocks, SliceSheet))
    assert turned.stack_of is not None
    stack = turned.stack_of(inputs.scans.iloc[0]["scan_id"])
    assert sheet.picture.content == slice_sheet(stack.pixels, orientation=orientation)
    side = {"neurological": "left (L)", "radiological": "right (R)"}[orientation]
    assert f"patient's {side} is on the left" in sheet.picture.caption
    assert f"patient's {side} is on the left" in texts(section.blocks, "how")
    assert sheet.limit > 0


def test_a_slice_without_a_score_is_none(inputs: ReportInputs) -> None:
    table = inputs.slice_scores
    fewer = table[(table["patient_id"] != "OAS0001") | (table["slice"] != 5)]
    section = patients_section(replaced(inputs, slice_scores=fewer))
    (sheet,) = of_kind(panels_of(section)["OAS0001"].blocks, SliceSheet)
    assert [k for k, score in enumerate(sheet.scores) if score is None] == [5]


def test_each_scan_of_a_patient_has_its_sheet_and_its_page(section: Section) -> None:
    panel = panels_of(section)["OAS0011"]
    assert len(list(of_kind(panel.blocks, SliceSheet))) == 2
    targets = [link.target for text in of_kind(panel.blocks, Text) for link in text.links]
    assert targets == [f"../quality/scans/{page_name(f'OAS0011_s{k}')}" for k in (1, 2)]


def test_a_turned_scan_is_named_in_its_panel(section: Section) -> None:
    found = panels_of(section)
    assert "front where the header says back" in texts(found["OAS0000"].blocks, "fault")
    assert texts(found["OAS0001"].blocks, "fault") == ""


def test_neighbours_of_all_repeats_are_pooled(section: Section) -> None:
    tables = list(of_kind(panels_of(section)["OAS0000"].blocks, Table))
    (table,) = [one for one in tables if "Nearest" in one.caption]
    heads = [(row.head, *row.cells) for row in table.rows]
    assert heads == [
        ("OAS0001", "CN", "1.00", "2 of 2"), ("OAS0002", "CN", "2.00", "2 of 2"),
        ("OAS0003", "CN", "3.00", "1 of 2"), ("OAS0004", "CN", "4.00", "1 of 2"),
    ]  # fmt: skip
    assert "6 of the 6" in texts(panels_of(section)["OAS0000"].blocks, "how")


def test_the_list_to_look_at_first_names_the_furthest_off() -> None:
    inputs = scores_of(
        (0, "a", "AD", 0.9, "AD"), (0, "b", "AD", 0.1, "CN"), (0, "c", "AD", 0.3, "CN"),
        (0, "d", "CN", 0.2, "CN"), (0, "e", "CN", 0.8, "AD"),
    )  # fmt: skip
    (found,) = of_kind(patients_section(inputs).blocks, Bullets)
    assert [item.split(": ")[1] for item in found.items] == [
        "b (0.10), c (0.30).", "a (0.90).", "e (0.80).", "d (0.20)."
    ]  # fmt: skip


def test_what_is_missing_is_said_with_what_to_do() -> None:
    section = patients_section(make_inputs(8))
    said = texts(section.blocks, "missing")
    for words in ("slices are not shown", "quality of the scans", "mri-transfer explain RUN"):
        assert words in said
    empty = make_inputs(8)
    none = replaced(empty, patient_scores=empty.patient_scores.iloc[:0])
    assert "No patient was scored" in texts(patients_section(none).blocks, "missing")


def test_slices_that_left_the_cache_are_missed_in_their_panel_alone(inputs: ReportInputs) -> None:
    assert inputs.stack_of is not None
    whole = inputs.stack_of

    def some(scan_id: str) -> Any:
        if scan_id.startswith("OAS0003"):
            raise StoreError("damaged", where="a/path/of/the/cache")
        return whole(scan_id)

    found = panels_of(patients_section(replaced(inputs, stack_of=some)))
    said = texts(found["OAS0003"].blocks, "missing")
    assert "no longer in the cache" in said
    assert "a/path" not in said
    assert list(of_kind(found["OAS0004"].blocks, SliceSheet))


def test_more_scans_than_a_page_holds_show_those_called_wrongly(
    inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "MAX_SHEETS", 1)
    found = panels_of(patients_section(inputs))
    shown = [name for name, one in found.items() if list(of_kind(one.blocks, SliceSheet))]
    (name,) = shown
    assert found[name].share_right == min(one.share_right for one in found.values())
    hidden = next(one for one in found.values() if one.patient_id != name)
    assert "The slices are not shown" in texts(hidden.blocks, "missing")


def test_the_section_is_the_same_every_time_and_reads_scans_one_by_one(
    inputs: ReportInputs, section: Section
) -> None:
    assert patients_section(inputs) == section


def test_odd_names_become_no_part_of_a_picture_s_name(inputs: ReportInputs) -> None:
    assert inputs.scans is not None
    odd = inputs.scans.assign(scan_id=[f"../<b>{k}" for k in range(len(inputs.scans))])
    section = patients_section(replaced(inputs, scans=odd, explanation=None))
    for panel in panels_of(section).values():
        for sheet in of_kind(panel.blocks, SliceSheet):
            assert not set("/<>. ") & set(sheet.picture.name)


def test_maps_without_numbers_are_no_fault(inputs: ReportInputs) -> None:
    assert inputs.explanation is not None
    empty = np.full_like(inputs.explanation.slice_weights, np.nan)
    explanation = replaced(inputs.explanation, slice_weights=empty)
    found = panels_of(patients_section(replaced(inputs, explanation=explanation)))
    (sheet,) = of_kind(found["OAS0002"].blocks, SliceSheet)
    assert set(sheet.attributions) == {0.0}


def test_scans_in_three_planes_are_linked_but_not_under_pseudonyms(inputs: ReportInputs) -> None:
    pages = {"OAS0002": "volumes/a.html"}
    for hidden, wanted in ((False, ["volumes/a.html"]), (True, [])):
        shown = replaced(inputs, volume_pages=pages, pseudonymous=hidden)
        panels = panels_of(patients_section(shown))
        links = {
            name: [
                link.target
                for text in of_kind(panel.blocks, Text)
                for link in text.links
                if link.target.startswith("volumes/")
            ]
            for name, panel in panels.items()
        }
        assert links.pop("OAS0002") == wanted
        assert not any(links.values())


def test_earlier_scans_stand_beside_later_ones(section: Section) -> None:
    (beside,) = (block for block in panels_of(section)["OAS0011"].blocks if isinstance(block, Side))
    sheets = list(of_kind(beside.blocks, SliceSheet))
    assert [sheet.columns for sheet in sheets] == [4, 4]
    assert [sheet.picture.caption.split(":")[0] for sheet in sheets] == [
        "Scan OAS0011_s1", "Scan OAS0011_s2",
    ]  # fmt: skip


def test_of_a_large_cohort_few_are_shown_and_all_stand_on_pages_of_their_own(
    inputs: ReportInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = {one.patient_id for one in patient_results(inputs)}
    assert write_patient_pages(inputs, tmp_path) == []
    monkeypatch.setattr(patient_results_module, "MAX_PATIENTS", 2)
    monkeypatch.setattr(patient_results_module, "FEW_PATIENTS", 1)
    monkeypatch.setattr(patient_pages, "_ROWS", 2)
    section = patients_section(inputs)
    (shown,) = panels_of(section)
    links = [link for text in of_kind(section.blocks, Text) for link in text.links]
    assert [link.target for link in links] == ["patients/1.html"]
    written = write_patient_pages(inputs, tmp_path)
    listed = "".join(path.read_text(encoding="utf-8") for path in written)
    assert len(written) == -(-len(everybody) // 2)
    assert all(name in listed for name in everybody)
    assert shown in everybody
    monkeypatch.undo()
    assert write_patient_pages(inputs, tmp_path) == []
    assert not any(path.exists() for path in written)
