"""The print: all of the report, for everybody, the same bytes, and nothing that a text can do."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from mri_transfer.report.blocks.document import (
    Bullets,
    Confusion,
    Facts,
    Figure,
    Folded,
    Heading,
    Link,
    PatientPanels,
    Row,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.render import pdf as module
from mri_transfer.report.render.pdf import render_pdf, write_pdf
from tests.report.documents import replaced
from tests.report.test_report_json import texts_of
from tests.report.tree import HOSTILE, SVG, every_block, make_figure, make_report, make_table

INVISIBLE = str.maketrans("", "", "\u200b\u00ad")


def squeezed(text: str) -> str:
    """Return a text without what a line break may put in or take out."""
    return re.sub(r"\s", "", text.translate(INVISIBLE).replace("\u2010", "-"))


def read(report: Report, **options: Any) -> PdfReader:
    return PdfReader(io.BytesIO(render_pdf(report, **options)))


def catalog(reader: PdfReader) -> Any:
    return reader.trailer["/Root"]


def text_of(reader: PdfReader) -> str:
    return squeezed("".join(page.extract_text() for page in reader.pages))


def structure(reader: PdfReader) -> Iterator[Any]:
    """Give every element of the tree of tags."""
    waiting = [catalog(reader)["/StructTreeRoot"]]
    while waiting:
        one = waiting.pop().get_object()
        if isinstance(one, list):
            waiting += one
        elif hasattr(one, "get"):
            yield one
            waiting += [one["/K"]] if "/K" in one else []


@pytest.fixture(scope="module")
def whole() -> Report:
    return make_report(*every_block())


@pytest.fixture(scope="module")
def reader(whole: Report) -> PdfReader:
    return read(whole)


@pytest.mark.parametrize("paper", ["a4", "us-letter"])
def test_all_that_is_shown_is_printed(whole: Report, paper: Any) -> None:
    blocks = [one for one in every_block() if not isinstance(one, PatientPanels)]
    shown = texts_of(make_report(*blocks))
    named = {"first", "end", "First", "End", "#end", "body", "True"}  # ids, short names, roles
    roles = {
        "results",
        "finding",
        "fault",
        "how",
        "supply",
        "missing",
        "note",
        "commands",
        "synthetic",
    }
    names = {"crossing", "left", "right", "broad", "shot", "slices", "overlay", "image/png"}
    alts = {*(f"Grey {name}" for name in names), "Two <lines> that cross"}
    text = text_of(read(whole, paper=paper))
    expected = shown - named - roles - names - alts
    assert [one for one in expected if not all(squeezed(p) in text for p in one.split("\n"))] == []


def test_patients_are_a_table_that_says_where_their_panels_are(reader: PdfReader) -> None:
    text = text_of(reader)
    for part in (HOSTILE, "p2", "0.50 to 0.75", "turned", "index.html", "report.json"):
        assert squeezed(part) in text
    assert "Scoresbyrepeat" not in text


def test_every_page_has_number_title_and_warning(reader: PdfReader, whole: Report) -> None:
    n_pages = len(reader.pages)
    for number, page in enumerate(reader.pages, start=1):
        text = squeezed(page.extract_text())
        for part in (whole.title, "Research use only", f"page {number} of {n_pages}", "9.9"):
            assert squeezed(part) in text


@pytest.mark.parametrize(("paper", "size"), [("a4", (595.28, 841.89)), ("us-letter", (612, 792))])
def test_pages_have_the_size_of_the_paper(paper: Any, size: tuple[float, float]) -> None:
    report = make_report(Text(text="x"), make_table("Broad", 15, 22))
    boxes = {tuple(map(float, page.mediabox[2:])) for page in read(report, paper=paper).pages}
    assert len(boxes) == 2
    for width, height in boxes:
        assert sorted((width, height)) == pytest.approx(sorted(size), abs=0.02)


def test_print_is_accessible_and_names_itself(reader: PdfReader, whole: Report) -> None:
    root = catalog(reader)
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert reader.metadata is not None
    assert reader.metadata.title == whole.title
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()
    tags = [one.get("/S") for one in structure(reader)]
    assert {"/H1", "/H2", "/Table", "/TH", "/TD", "/Figure", "/L", "/Link"} <= set(tags)
    alts = {str(one["/Alt"]) for one in structure(reader) if "/Alt" in one}
    assert {"Two <lines> that cross", "Grey shot", "Grey slices", "Grey overlay"} <= alts


def test_contents_and_bookmarks_lead_to_the_sections(reader: PdfReader) -> None:
    marks = {item.title: item for item in _flat(reader.outline)}
    contents = squeezed(reader.pages[1].extract_text())
    for title in ("First section", "End of it", "Numbers of the figures"):
        page = reader.get_destination_page_number(marks[title])
        assert page is not None
        assert squeezed(title) in squeezed(reader.pages[page].extract_text())
        assert re.search(rf"{squeezed(title)}[. ]*{page + 1}", contents)
    assert {"A heading", "A fold", "Inside"} <= {title.split("not the")[0] for title in marks}


def _flat(outline: Any) -> Iterator[Any]:
    for item in outline:
        yield from _flat(item) if isinstance(item, list) else (item,)


def test_many_numbers_of_a_figure_stand_at_the_end_and_few_below_it(reader: PdfReader) -> None:
    texts = [squeezed(page.extract_text()) for page in reader.pages]
    place = next(i for i, text in enumerate(texts) if "Captionofleft" in text)
    found = re.search(r"CaptionofleftItsnumbers:page(\d+)", texts[place])
    assert found is not None
    assert "Numbersofleft" in texts[int(found[1]) - 1]
    assert int(found[1]) - 1 > place
    assert "Numbersofright" in texts[place]


def test_fonts_are_embedded_and_come_with_typst(reader: PdfReader) -> None:
    fonts = {}
    for page in reader.pages:
        resources: Any = page["/Resources"]
        for font in resources.get("/Font", {}).values():
            for descendant in font.get_object()["/DescendantFonts"]:
                descriptor = descendant.get_object()["/FontDescriptor"]
                fonts[descriptor["/FontName"]] = set(descriptor)
    assert all({"/FontFile2", "/FontFile3"} & keys for keys in fonts.values())
    families = {re.split("[+-]", name)[1] for name in fonts}
    assert families == {"LibertinusSerif", "DejaVuSansMono"}


def test_same_report_gives_same_bytes_without_a_date(whole: Report, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pdf(whole, tmp_path / name)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert b"CreationDate" not in content
    assert b"ModDate" not in content
    assert str(tmp_path).encode() not in content


def test_a_text_is_never_markup() -> None:
    row = Row(HOSTILE, (HOSTILE,), note=HOSTILE)
    table = Table(caption=HOSTILE, columns=(HOSTILE, HOSTILE), rows=(row,), wide=(HOSTILE,))
    figure = replaced(make_figure(), caption=HOSTILE, numbers=(table,))
    hidden = (
        Heading(text=HOSTILE, pill=HOSTILE),
        Text(text=HOSTILE, links=(Link(text=HOSTILE, target="#" + HOSTILE),)),
        Text(text=HOSTILE, role="how", links=(Link(text=HOSTILE, target=HOSTILE),)),
        Bullets(items=(HOSTILE,)),
        Bullets(items=(HOSTILE,), role="commands"),
        Facts(title=HOSTILE, content={HOSTILE: [HOSTILE], "b": {HOSTILE: {HOSTILE: HOSTILE}}}),
        Confusion(
            caption=HOSTILE,
            labels=(HOSTILE, "b"),
            counts=((1, 2), (0, 0)),
            shares=((1 / 3, 2 / 3), (0.0, 0.0)),
        ),
        Folded(title=HOSTILE, blocks=(table, figure)),
    )
    report = make_report(*hidden, title=HOSTILE)
    front = replaced(report.front, answer=HOSTILE, top_caveats=(HOSTILE,))
    reader = read(replaced(report, front=front, made_by=HOSTILE))
    # Title and maker on every page, and the places above.
    expected = 2 * len(reader.pages) + 25
    assert text_of(reader).count(squeezed(HOSTILE)) >= expected
    assert reader.metadata is not None
    assert reader.metadata.title == HOSTILE


def test_what_cannot_be_drawn_or_seen_is_shown_by_its_number() -> None:
    reader = read(
        make_report(Text(text="sub-\u5b57 and \u202eback\x07 but \u00e9\u2212\u2265\u03b2"))
    )
    text = text_of(reader)
    assert "sub-[U+5B57]and[U+202E]back[U+0007]but\u00e9\u2212\u2265\u03b2" in text
    assert b"<pdfuaid:part>1</pdfuaid:part>" in catalog(reader)["/Metadata"].get_data()


def test_signs_that_reports_use_are_drawn() -> None:
    signs = (
        "\u2212 \u00d7 \u2265 \u2264 \u2013"
        " \u00b1 \u00b7 \u2026 \u2192 \u00b2 \u03c7 \u2260 \u201c\u201d"
    )
    assert squeezed(signs) in text_of(read(make_report(Text(text=signs))))


def test_header_of_a_long_table_is_on_each_of_its_pages() -> None:
    words = ["words " * (20 + 17 * i % 90) + f"tail{i}e" for i in range(120)]
    rows = tuple(Row(f"head{i}e", (one, f"last{i}"), note="n") for i, one in enumerate(words))
    table = Table(caption="Long", columns=("Head", "Middle", "Final"), rows=rows, wide=("Middle",))
    reader = read(make_report(table))
    texts = [squeezed(page.extract_text()) for page in reader.pages]
    holding = [text for text in texts if re.search(r"last\d", text)]
    assert len(holding) > 2
    assert all("HeadMiddleFinal" in text for text in holding)
    # A row is not torn: it begins and ends on one page.
    for i in range(120):
        assert [t for t in holding if re.search(rf"head{i}e", t)] == [
            t for t in holding if re.search(rf"tail{i}e", t)
        ]


@pytest.mark.parametrize("n_columns", [4, 12, 18, 30])
def test_no_column_is_cut(n_columns: int) -> None:
    reader = read(make_report(make_table("Broad", 14, n_columns)))
    cells = set()
    for page in reader.pages:
        right = float(page.mediabox.right)

        def look(
            text: str, cm: list[float], tm: list[float], *_: Any, right: float = right
        ) -> None:
            if found := re.findall(r"\b\d+\.\d+\b", text):
                x = tm[4] * cm[0] + cm[4]
                assert 40 <= x < right - 40
                cells.update(found)

        page.extract_text(visitor_text=look)
    assert {f"{i}.{j}" for i in range(14) for j in range(1, n_columns)} <= cells


@pytest.mark.parametrize(("width", "height"), [(331, 200), (100, 3000), (3000, 100)])
@pytest.mark.parametrize("wide", [True, False])
def test_no_figure_is_cut(width: int, height: int, wide: bool) -> None:
    svg = SVG.replace("331 200", f"{width} {height}")
    whole = f'<rect width="{width}" height="{height}" fill="#0a0b0c"/></svg>'
    figure = replaced(make_figure(wide=wide), svg=svg.replace("</svg>", whole))
    boxes = []
    for page in read(make_report(figure)).pages:
        right, top = (float(one) for one in page.mediabox[2:])
        content = page.get_contents()
        assert content is not None
        number = r"(-?[\d.]+)"
        placed = rf"{number} 0 0 {number} {number} {number} cm/c0 cs 0\.039"
        for found in re.findall(placed, content.get_data().decode("latin1")):
            a, d, x, y = map(float, found)
            boxes.append((a, -d))
            assert 40 <= x < x + a * width <= right - 40
            assert 40 <= y + d * height < y <= top - 40
    ((across, down),) = boxes
    assert across == pytest.approx(down)


def test_drawings_get_the_colours_of_paper_and_the_font_of_the_print() -> None:
    figure = Figure(
        name="f", caption="c", numbers=(make_table("n"),),
        svg=SVG.replace("</svg>", '<text font-family="Arial" font-size="10">a</text>'
                        '<g style="font-family: x, y; font-size: 5px"/></svg>'),
    )  # fmt: skip
    svg = module._print_svg(figure, frozenset()).decode()
    assert "var(" not in svg
    assert "stroke: #c2540a" in svg
    assert 'fill="rgb(11 106 168)"' in svg
    assert "font: 11.4px 'Libertinus Serif'" in svg
    assert 'font-family="Libertinus Serif" font-size="12"' in svg
    assert "font-family: 'Libertinus Serif'; font-size: 6px" in svg
    assert not re.search("system-ui|Arial", svg)


def test_templates_ask_for_no_package() -> None:
    templates = list(Path(module.__file__).with_name("templates").glob("*.typ"))
    assert templates
    assert [
        one.name for one in templates if re.search(r'(import|include)\s+"@', one.read_text())
    ] == []
