"""Checklists: every published item stands there, and none is ticked without what answers it."""

from __future__ import annotations

import functools
import re
import string
from pathlib import Path
from typing import Any

import pytest

from mri_transfer.errors import ConfigurationError
from mri_transfer.explain import Explanation
from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.document import Block, Folded, Heading, Row, Section, Table, Text
from mri_transfer.report.checklists import (
    CONDITIONS,
    Answer,
    Checklist,
    Item,
    answer_item,
    has_content,
    read_checklist,
    read_checklists,
)
from mri_transfer.report.compose import SECTIONS
from mri_transfer.report.sections.checklists import checklists_section
from pipelines.workspace import Workspace
from tests.report.documents import make_full_audit, make_inputs, replaced

SECTION_IDS = (
    "flow", "baseline", "data", "preparation", "model", "training", "discrimination",
    "calibration", "utility", "comparison", "leakage", "shortcuts", "subgroups", "robustness",
    "failures", "precision", "learning", "explanation", "patients", "limits", "reproducibility",
)  # fmt: skip
#: Parts of the items that have several, as published.
PARTS = {
    "tripod_ai": {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3},
    "claim": {},
    "stard_ai": {15: 4, 16: 3, 17: 2, 26: 2, 40: 2},
}
LENGTHS = {"tripod_ai": (27, 52), "claim": (44, 44), "stard_ai": (40, 48)}
CHECKLISTS = {checklist.id: checklist for checklist in read_checklists()}
PATHS = (
    "audit.json", "config.toml", "evaluation.json", "excluded.csv", "explanations/explanation.json",
    "folds.csv", "heads/r0_f0.json", "heads/r0_f0.safetensors", "heads/r0_f1.json",
    "heads/r0_f1.safetensors", "manifest.csv", "predictions/inner.csv",
    "predictions/patients.csv", "predictions/slices.csv", "quality.csv", "slices.csv",
)  # fmt: skip
ARTEFACTS = {path: f"{i:02x}" * 32 for i, path in enumerate(PATHS, start=1)}


@functools.cache
def _made_up() -> ReportInputs:
    return make_inputs(n_patients=8)


def full_inputs(**changes: Any) -> ReportInputs:
    """Return inputs of a run in which every condition holds."""
    inputs = _made_up()
    patients = inputs.patients.assign(site=["one", "two"] * 4, cdr=[0.0] * 4 + [0.5] * 4)
    config = {**inputs.settings.every, "heads": {"balanced": True}, "quality": {"keep": ["scan"]}}
    explanation = object.__new__(Explanation)
    values = {
        "patients": patients, "config": config, "artefacts": ARTEFACTS,
        "explanation": explanation, "audit": make_full_audit(),
    }  # fmt: skip
    return replaced(inputs, **{**values, **changes})


def full_sections(**blocks: tuple[Block, ...]) -> dict[str, Section]:
    """Return every section with something in it, but for those given."""
    shown = (Text(text="Something of the run"),)
    return {
        name: Section(
            id=name, title=name.title(), short=name.title(), blocks=blocks.get(name, shown)
        )
        for name in SECTION_IDS
    }


def answers(inputs: ReportInputs, sections: dict[str, Section]) -> list[Answer]:
    """Return the answers to every item of every checklist."""
    return [
        answer_item(item, inputs, sections)
        for checklist in read_checklists()
        for item in checklist.items
    ]


def item_of(checklist: str, number: str) -> Item:
    """Return an item by its number."""
    return next(item for item in CHECKLISTS[checklist].items if item.number == number)


@pytest.mark.parametrize("name", PARTS)
def test_every_published_item_stands_there_once_and_in_order(name: str) -> None:
    last, n_parts = LENGTHS[name]
    expected = []
    for number in range(1, last + 1):
        n_letters = PARTS[name].get(number, 0)
        letters = string.ascii_lowercase[:n_letters] if n_letters else [""]
        expected += [f"{number}{letter}" for letter in letters]
    assert [item.number for item in CHECKLISTS[name].items] == expected
    assert len(expected) == n_parts


@pytest.mark.parametrize("name", PARTS)
def test_a_checklist_names_its_publication(name: str) -> None:
    checklist = CHECKLISTS[name]
    assert re.fullmatch(r"10\.\d{4}/\S+", checklist.doi)
    assert re.search(r"20(24|25)", checklist.citation)


def test_items_point_to_sections_and_files_that_a_run_has(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path, cache=tmp_path)
    head = workspace.head(0, 0)
    files = [head.with_suffix(".json"), head.with_suffix(".safetensors")]
    files += [workspace.explanations / "explanation.json"]
    files += [value for name in dir(Workspace)
              if isinstance(value := getattr(workspace, name), Path)]  # fmt: skip
    known = {path.relative_to(tmp_path).as_posix() for path in files if path != workspace.weights}
    for checklist in CHECKLISTS.values():
        for item in checklist.items:
            assert set(item.sections) <= set(SECTION_IDS), item
            for pattern in item.artefacts:
                assert any(Path(path).match(pattern) for path in known), pattern


def test_with_everything_there_every_item_of_the_software_is_answered() -> None:
    for answer in answers(full_inputs(), full_sections()):
        item = answer.item
        if item.not_done:
            assert answer.state == "not done"
        elif not item.sections:
            assert answer.state == "authors"
            assert item.authors in answer.words
        else:
            assert answer.state == ("in part" if item.authors else "answered"), item
            assert [section.id for section in answer.sections] == list(item.sections)


def test_answers_carry_the_hash_of_each_file() -> None:
    answer = answer_item(item_of("tripod_ai", "22"), full_inputs(), full_sections())
    assert answer.artefacts == {
        path: ARTEFACTS[path]
        for path in ("config.toml", "heads/r0_f0.safetensors", "heads/r0_f1.safetensors")
    }


@pytest.mark.parametrize("path", PATHS)
def test_an_item_whose_file_is_gone_is_not_answered(path: str) -> None:
    gone = {path, *(other for other in PATHS if other.startswith("heads/") and "heads" in path)}
    left = {name: digest for name, digest in ARTEFACTS.items() if name not in gone}
    before = answers(full_inputs(), full_sections())
    after = answers(full_inputs(artefacts=left), full_sections())
    needed = [gone & set(answer.artefacts) for answer in before]
    assert any(needed)
    for answer, was, uses in zip(after, before, needed, strict=True):
        if uses:
            assert answer.state == "not available"
            assert not answer.artefacts
            assert not answer.sections
            assert "is not among the files of the run" in answer.words
            assert answer.words.endswith("For the authors to supply")
        else:
            assert answer == was


@pytest.mark.parametrize(
    "name", [name for name in SECTION_IDS if name not in ("learning", "patients")]
)
def test_an_item_whose_section_shows_nothing_is_not_answered(name: str) -> None:
    empty = full_sections(**{name: (Text(text="Not measured", role="missing"),)})
    absent = {key: value for key, value in full_sections().items() if key != name}
    for sections in (empty, absent):
        found = answers(full_inputs(), sections)
        assert any(answer.state == "not available" for answer in found)
        for answer in found:
            relies = name in answer.item.sections and not answer.item.not_done
            assert (answer.state == "not available") == relies


def test_what_a_section_shows() -> None:
    missing = Text(text="Not measured", role="missing")
    body = Text(text="Words")
    table = Table(caption="t", columns=("a",), rows=(Row("1", ()),))
    assert has_content([body])
    assert has_content([missing, table])
    assert has_content([missing, Folded(title="More", blocks=(table,))])
    assert has_content([missing, Text(text="Found", role="finding")])
    assert not has_content([])
    assert not has_content([body, missing])
    assert not has_content([Heading(text="Title"), Folded(title="More", blocks=(missing,))])
    assert not has_content([Text(text="Supply", role="supply"), Text(text="Note", role="note")])


def _without(name: str) -> ReportInputs:
    """Return inputs in which one condition does not hold."""
    full = full_inputs()
    patients, config, evaluation = full.patients, full.settings.every, full.evaluation.plain()
    changes: dict[str, dict[str, Any]] = {
        "age_or_sex_known": {"patients": patients.assign(age=float("nan"), sex="")},
        "explained": {"explanation": None},
        "robustness_tested": {"audit": {**full.audit.plain(), "robustness": []}},
        "scans_kept_by_hand": {"config": {**config, "quality": {"keep": []}}},
        "several_sites": {"patients": patients.assign(site="one")},
        "severity_known": {"patients": patients.drop(columns="cdr")},
        "subgroups_measured": {
            "evaluation": {
                **evaluation,
                "subgroups": {"rows": [], "gaps": {"rows": [], "note": ""}},
            }
        },
        "weighted_labels": {"config": {**config, "heads": {"balanced": False}}},
    }
    return full_inputs(**changes[name])


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_an_item_whose_condition_does_not_hold_says_why(name: str) -> None:
    reason = CONDITIONS[name](_without(name))
    assert re.match(r"(not done|does not apply): \w", reason)
    assert CONDITIONS[name](full_inputs()) == ""
    found = [answer for answer in answers(_without(name), full_sections())
             if name in answer.item.requires]  # fmt: skip
    assert found
    for answer in found:
        assert answer.words == reason
        assert reason.startswith(answer.state)
        assert not answer.artefacts


def test_the_section_counts_every_part_and_shows_the_start_of_hashes() -> None:
    section = checklists_section(full_inputs(), tuple(full_sections().values()))
    findings = [block.text for block in section.blocks
                if isinstance(block, Text) and block.role == "finding"]  # fmt: skip
    tables = [inner for block in section.blocks if isinstance(block, Folded)
              for inner in block.blocks if isinstance(inner, Table)]  # fmt: skip
    assert [len(table.rows) for table in tables] == [n for _, n in LENGTHS.values()]
    for text, table in zip(findings, tables, strict=True):
        counts = [int(n) for n in re.findall(r"(?:: |; )(\d+) ", text)]
        assert sum(counts) == len(table.rows)
    rows = {row.head: row for row in tables[0].rows}
    assert rows["2"].cells[3].startswith("for the authors to supply\nthe abstract")
    assert rows["12f"].cells[3].startswith("not done\nthe model")
    assert rows["5a"].cells[3].startswith("in part\nthe authors add: the kind of source")
    assert rows["11"].cells[3] == "answered"
    assert rows["22"].cells[2] == (
        f"config.toml ({ARTEFACTS['config.toml'][:12]}); heads/r0_f0.safetensors "
        f"({ARTEFACTS['heads/r0_f0.safetensors'][:12]}) and 1 more like it"
    )


def test_links_lead_to_sections_that_the_report_has() -> None:
    made = {make.__name__ for layer in SECTIONS.values() for make in layer}
    assert made == {f"{name}_section" for name in (*SECTION_IDS, "summary", "glossary")}
    given = [section for name, section in full_sections().items() if name != "flow"]
    section = checklists_section(full_inputs(), given)
    targets = {
        link.target
        for block in section.blocks
        if isinstance(block, Folded)
        for inner in block.blocks
        if isinstance(inner, Text)
        for link in inner.links
    }
    assert targets <= {f"#{one.id}" for one in given}
    assert {"#model", "#limits", "#reproducibility"} <= targets


FAULTY = {
    "an unknown key": ("topic = ", "subject = ", "no such setting"),
    "an item missing": ('number = "2"', 'number = "3"', "are not those from 1 to 2"),
    "an item twice": ('number = "2"', 'number = "1"', "stands there twice"),
    "an odd number": ('number = "2"', 'number = "2.1"', "digits and at most one small letter"),
    "an unknown condition": ('authors = "x"', 'sections = ["data"]\nrequires = ["luck"]', "luck"),
    "files without a section": ('authors = "x"', 'artefacts = ["a.csv"]', "belong to sections"),
    "no answer": ('authors = "x"', "", "nothing says how"),
    "another form": ("checklist/1", "checklist/2", "schema"),
    "no TOML": ("[[items]]", "[[items", "not TOML"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_file_is_refused_with_the_place(fault: str, tmp_path: Path) -> None:
    head = ('schema = "mri-transfer/checklist/1"\nid = "a"\nname = "A"\nabout = "b"\n'
            'citation = "c"\ndoi = "d"\nlast_item = 2\n')  # fmt: skip
    item = '[[items]]\nnumber = "{}"\ntopic = "t"\nasks = "?"\nauthors = "x"\n'
    text = head + item.format(1) + item.format(2)
    path = tmp_path / "list.toml"
    path.write_text(text, encoding="utf-8")
    assert isinstance(read_checklist(path), Checklist)
    old, new, says = FAULTY[fault]
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(says)) as raised:
        read_checklist(path)
    assert str(path) in str(raised.value)
