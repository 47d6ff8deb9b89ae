"""The page: every block is on it, nothing is fetched, nothing hostile runs."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mri_transfer.core.documents import Part
from mri_transfer.errors import RunFolderError
from mri_transfer.report.blocks.document import (
    Figure,
    Folded,
    Link,
    PatientPanels,
    Row,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.compose import compose_report
from mri_transfer.report.render.downloads import FileNames, csv_bytes, resolve_colours
from mri_transfer.report.render.html import render_report, write_report
from tests.report.documents import make_inputs, replaced
from tests.report.tree import every_block, make_figure, make_panel, make_report, make_sheet

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7191 }}"
BREAKOUT = '"><img onerror=alert(1) src=x><script>alert(2)</script>../../x {{ 7*7191 }}'
#: Fields that are ours and never a manifest's.
OURS = {
    "content", "id", "layer", "media_type", "role", "schema_name", "sha256", "state", "svg",
    "svg_sha256", "target", "type",
}  # fmt: skip
VOID = {"meta", "img", "path", "use", "rect", "br", "input"}


class Page(HTMLParser):
    """Collects elements and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.codes: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self.codes.append(data)
        elif "style" not in self._open and "head" not in self._open and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def files(self) -> dict[str, bytes]:
        """Return what can be saved, by file name."""
        found = {}
        for link in self.named("a"):
            if "download" in link:
                head, _, content = str(link["href"]).partition(",")
                assert head.endswith(";base64")
                found[str(link["download"])] = base64.b64decode(content, validate=True)
        return found


def owned(value: Any, word: str = "") -> Any:
    """Return a copy whose figures have ids of their own, and with `word` behind every text."""
    if isinstance(value, Part | Row):
        changed = {k: v if k in OURS else owned(v, word) for k, v in vars(value).items()}
        if isinstance(value, Figure):
            changed["svg"] = value.svg.replace("f-title", f"{value.name}-title")
        return replaced(value, **changed)
    if isinstance(value, tuple):
        return tuple(owned(item, word) for item in value)
    if isinstance(value, dict):
        return {owned(k, word): owned(v, word) for k, v in value.items()}
    return value + word if isinstance(value, str) and value else value


@pytest.fixture(scope="module")
def report() -> Report:
    tree: Report = owned(make_report(*every_block()))
    return tree


@pytest.fixture(scope="module")
def markup(report: Report) -> str:
    return render_report(report)


@pytest.fixture(scope="module")
def page(markup: str) -> Page:
    return Page(markup)


@pytest.fixture(scope="module")
def composed_report() -> Report:
    return compose_report(make_inputs())


@pytest.fixture(scope="module")
def composed(composed_report: Report) -> Page:
    return Page(render_report(composed_report))


def page_of(*blocks: Any) -> Page:
    return Page(render_report(make_report(*blocks)))


# --- self-contained ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["page", "composed"])
def test_page_asks_nothing_of_a_network(name: str, request: pytest.FixtureRequest) -> None:
    shown = {"src": ("data:image/",), "href": ("#", "../", "data:text/csv", "data:image/svg+xml")}
    fetching = {"xlink:href", "srcset", "action", "poster", "data", "background", *shown}
    for tag, attributes in request.getfixturevalue(name).elements:
        for key, value in attributes.items():
            if key in fetching:
                assert str(value).startswith(shown.get(key, ())), (tag, key, str(value)[:60])
            for target in re.findall(r"url\(([^)]*)\)", value or ""):
                assert target.startswith("#"), (tag, key, target)


def test_style_and_script_fetch_nothing(markup: str, page: Page) -> None:
    style = "".join(re.findall(r"<style>(.*?)</style>", markup, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    code = "".join(page.codes)
    for word in ("fetch(", "XMLHttp", "import(", "innerHTML", "http", "eval", "document.write"):
        assert word not in code, word


def test_only_the_one_script_is_allowed_to_run(markup: str, page: Page) -> None:
    policies = [m for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    code = "".join(re.findall(r"<script>(.*?)</script>", markup, re.DOTALL))
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert [policy["content"] for policy in policies] == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]
    assert len(page.named("script")) == 1
    assert "\r" not in code


def test_page_has_no_frame_form_or_handler(page: Page) -> None:
    forbidden = {"link", "iframe", "object", "embed", "base", "form", "foreignobject"}
    assert not forbidden & {tag for tag, _ in page.elements}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


def test_same_report_makes_the_same_bytes(report: Report, markup: str) -> None:
    assert render_report(report) == markup


def test_written_page_is_the_rendered_page(report: Report, markup: str, tmp_path: Path) -> None:
    write_report(report, tmp_path / "index.html")
    assert (tmp_path / "index.html").read_bytes() == markup.encode()


# --- hostile text ------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [HOSTILE, BREAKOUT])
def test_hostile_text_is_shown_and_never_run(report: Report, page: Page, word: str) -> None:
    hostile = Page(render_report(owned(report, word)))
    tags = [tag for tag, _ in page.elements]
    assert [tag for tag, _ in hostile.elements] == tags
    assert not [name for _, attrs in hostile.elements for name in attrs if name.startswith("on")]
    assert hostile.text.count(word) >= 100
    assert "50337" not in hostile.text
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert [attrs["id"] for _, attrs in hostile.elements if "id" in attrs] == ids
    assert all(re.fullmatch(r"[a-z0-9_-]{1,80}\.(csv|svg)", name) for name in hostile.files())


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", "https://x.org", "//x.org/a", "\\\\host\\a", "a b", "#a b"]
)
def test_a_link_that_leaves_the_report_is_refused(target: str) -> None:
    with pytest.raises(RunFolderError, match="leaves the report"):
        page_of(Text(text="See", links=(Link(text="there", target=target),)))


# --- everything is there -----------------------------------------------------------------------


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [" ".join(part.split()) for part in value.split("\n")]
    if isinstance(value, Part | Row):
        fields = [inner for name, inner in vars(value).items() if name not in OURS | {"name"}]
        return [text for inner in fields for text in _texts(inner)]
    if isinstance(value, tuple):
        return [text for item in value for text in _texts(item)]
    return []


def test_every_text_of_the_tree_stands_on_the_page(report: Report, page: Page) -> None:
    said = page.text + " ".join(str(a.get("alt")) for a in page.named("img"))
    missing = [text for text in _texts(report) if " ".join(text.split()) not in said]
    assert not missing
    assert {"seed", "7", "none", "yes", "1, 2.5", "70 %", "25 %"} <= set(page.texts)


def test_a_composed_report_leaves_nothing_out(composed_report: Report, composed: Page) -> None:
    assert [text for text in _texts(composed_report) if text not in composed.text] == []


def test_sheet_names_height_and_score_and_draws_the_shares(page: Page) -> None:
    tiles = page.texts[page.texts.index("Show the attribution") + 1 :]
    assert tiles[:3] == ["\u22124 mm", "0.25", "2 mm"]
    bars = [a for a in page.named("i") if a.get("class") in {"up", "down"}]
    assert [(a["class"], a["style"]) for a in bars[:2]] == [
        ("down", "--length: 12.5%"), ("up", "--length: 50.0%"),
    ]  # fmt: skip


def test_the_colours_of_a_sheet_have_their_scale(page: Page) -> None:
    start = page.texts.index("\u22120.02")
    assert page.texts[start : start + 3] == ["\u22120.02", "+0.02", "Caption of overlay"]


def test_overlay_is_switched_without_a_script(page: Page) -> None:
    switches = [a for a in page.named("input") if a.get("class") == "switch"]
    labelled = {label.get("for") for label in page.named("label")}
    assert len(switches) == 2
    assert {switch["id"] for switch in switches} <= labelled


def test_a_sheet_whose_parts_do_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError, match="slices do not fit"):
        replaced(make_sheet(), z_mm=(1.0,))


def test_patients_have_a_row_with_their_score_and_the_marks_of_the_filters() -> None:
    wrong = replaced(make_panel("p3"), called="CN", score_high=1.0)
    shown = page_of(PatientPanels(caption="All", labels=("CN", "AD"), panels=(wrong,)))
    assert shown.named("tbody") == [
        {"data-label": "AD", "data-call": "wrong", "data-quality": "warn"}
    ]
    start = shown.texts.index("p3")
    assert shown.texts[start : start + 9] == [
        "p3", "AD", "0.62", "0.50 to 1.00", "CN", "wrong", "threshold 0.47 to 0.58",
        "93 %", "warn",
    ]  # fmt: skip
    bar = next(a for a in shown.named("span") if a.get("class") == "bar up")
    assert bar["style"] == "--low: 50.0%; --high: 100.0%; --at: 62.5%"
    # A column for the age, which is known, and none for the site, which is not.
    assert "Age, years" in shown.texts
    assert "Site" not in shown.texts


def test_controls_wait_for_the_script_and_contents_do_not(page: Page) -> None:
    explore = next(a for a in page.named("div") if a.get("class") == "explore")
    assert "hidden" in explore
    assert not [a for tag, a in page.elements if "hidden" in a and a is not explore]
    assert any(a.get("aria-live") == "polite" for a in page.named("output"))


# --- reading aloud, by keyboard ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["page", "composed"])
def test_ids_are_unique_and_links_lead_somewhere(name: str, request: pytest.FixtureRequest) -> None:
    elements = request.getfixturevalue(name).elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {str(attrs["href"])[1:] for _, attrs in elements
               if str(attrs.get("href", "")).startswith("#")}  # fmt: skip
    assert targets <= set(ids)
    for key in ("aria-labelledby", "for"):
        assert {attrs[key] for _, attrs in elements if key in attrs} <= set(ids)


@pytest.mark.parametrize("name", ["page", "composed"])
def test_headings_go_down_one_step_at_a_time(name: str, request: pytest.FixtureRequest) -> None:
    elements = request.getfixturevalue(name).elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("name", ["page", "composed"])
def test_tables_and_pictures_have_words(name: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(name)
    assert len(page.named("caption")) == len(page.named("table"))
    assert all(th.get("scope") in {"row", "col"} for th in page.named("th"))
    assert all(img["alt"] for img in page.named("img"))
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in page.named("svg"))
    scrolling = [a for a in page.named("div") if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolling)
    assert [tag for tag, _ in page.elements].count("main") == 1
    assert page.named("a")[0] == {"class": "skip", "href": "#main"}


# --- what can be saved -------------------------------------------------------------------------


def test_every_figure_has_its_numbers_and_its_files(composed: Page) -> None:
    figures = [i for i, (tag, a) in enumerate(composed.elements)
               if tag == "figure" and str(a.get("class")).startswith("plot")]  # fmt: skip
    assert len(figures) == len(composed.named("svg")) >= 7
    for start, end in zip(figures, [*figures[1:], None], strict=True):
        inside = composed.elements[start:end]
        suffixes = [str(a["download"])[-4:] for tag, a in inside if "download" in a]
        assert suffixes[:2] == [".svg", ".csv"]
        folded = next(i for i, (_, a) in enumerate(inside) if a.get("class") == "numbers")
        assert "table" in [tag for tag, _ in inside[folded:]]


def test_files_have_names_of_their_own(composed: Page) -> None:
    names = [link["download"] for link in composed.named("a") if "download" in link]
    assert len(names) == len(set(names)) > 20


def test_csv_holds_the_table_with_plain_signs() -> None:
    rows = (
        Row("\u0394 <a>", ("\u22120.12\n\u22120.20 to\u00a00.04", 'a "b", c'), note="one, two"),
        Row("none", ("not defined:\nno\u202fpatient", "")),
    )
    table = Table(caption="c", columns=("What", "Value\u00a0%", "Text"), rows=rows, name="My table")
    content = page_of(table).files()["my-table.csv"]
    assert content == csv_bytes(table)
    assert list(csv.reader(io.StringIO(content.decode(), newline=""))) == [
        ["What", "Value %", "Text", "remark"],
        ["\u0394 <a>", "-0.12; -0.20 to 0.04", 'a "b", c', "one, two"],
        ["none", "not defined: no patient", "", ""],
    ]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "@SUM(A1)", "-2=HYPERLINK(1)", "-x", "\u2212x"])
def test_a_spreadsheet_runs_nothing(text: str) -> None:
    table = Table(caption="c", columns=("a", "b"), rows=(Row(text, (text,)),))
    cells = list(csv.reader(io.StringIO(csv_bytes(table).decode())))[1]
    assert all(cell.startswith("'") for cell in cells)


@pytest.mark.parametrize("text", ["-0.12", "+1.5 %", "-0.2 to -0.1", "-0.1; p = 0.03", "2"])
def test_numbers_stay_numbers(text: str) -> None:
    table = Table(caption="c", columns=("a",), rows=(Row(text, ()),))
    assert csv_bytes(table).decode().splitlines()[1].strip('"') == text


def test_svg_file_stands_alone_on_white() -> None:
    content = page_of(make_figure("cross")).files()["cross.svg"].decode()
    root = ET.fromstring(content)
    names = [child.tag.rpartition("}")[2] for child in root]
    assert names[:2] == ["title", "rect"]
    assert root[1].attrib == {"x": "0", "y": "0", "width": "331", "height": "200",
                              "fill": "#ffffff"}  # fmt: skip
    assert (root.get("width"), root.get("height")) == ("331pt", "200pt")
    assert "var(" not in content
    assert "#c2540a" in content
    assert "rgb(11 106 168)" in content


def test_colours_of_a_drawing_are_resolved() -> None:
    assert resolve_colours("a var(--x, rgb(1 2 3)) b var( --y ,#fff) c var(--z)") == (
        "a rgb(1 2 3) b #fff c currentColor"
    )


def test_file_names_are_safe_and_never_the_same() -> None:
    names = FileNames()
    stems = ["../../x", "X", "x", "", "\u00c4rger & <b>", "a" * 200, "CON/.."]
    assert [names.give(stem, "csv") for stem in stems] == [
        "x.csv", "x-2.csv", "x-3.csv", "file.csv", "arger-b.csv", "a" * 64 + ".csv", "con.csv",
    ]  # fmt: skip


# --- the first screen --------------------------------------------------------------------------


def test_warnings_come_before_everything_else(page: Page) -> None:
    assert page.texts[:2] == ["Skip to the report", "Synthetic cohort."]
    assert "Synthetic cohort: AD against CN" in str(render_report(make_report()))
    bare = make_report()
    calm = replaced(bare, front=replaced(bare.front, banners=()))
    assert "ynthetic" not in render_report(calm).split("<body>")[1]


def test_first_screen_holds_answer_question_cohort_and_caveats(page: Page) -> None:
    start = page.text[: page.text.index("First section")]
    for text in (
        "Research use only: not a medical device", "The AUC is 0.79 (95 % CI 0.71 to 0.85).",
        "Slices of T1 scans.", "140 patients.", "Small cohort.", "Ages differ.", "A fourth.",
        "With 95 % intervals.",
    ):  # fmt: skip
        assert text in start, text


def test_contents_name_every_section_on_wide_and_narrow_screens(page: Page) -> None:
    assert page.texts.count("End") == 2
    assert "Made by mri-transfer 9.9." in page.texts[-1]


def test_folds_hold_their_blocks(page: Page) -> None:
    shown = page_of(Folded(title="Outer", blocks=(Folded(title="Inner", blocks=()),)))
    assert shown.texts[shown.texts.index("Outer") + 1] == "Inner"
