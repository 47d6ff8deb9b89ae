"""Diagrams show every line they are given, in boxes that do not overlap, in the page's colours."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from mri_transfer.report import figures
from mri_transfer.report.figures import DrawnBlock, DrawnStep, FlowGroups, FlowStep

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert(1)</script>&"
STEPS = (
    FlowStep(
        lines=("Offered", "12 scans of 9 patients"),
        left_out=("Left out at check", "3 scans", f"2: {HOSTILE}", "1: " + "x" * 90),
    ),
    FlowStep(lines=("Evaluated", "9 scans of 8 patients")),
)
GROUPS = (
    FlowGroups(heading="By label", boxes=(("AD", "4 patients"), ("CN", "4 patients"))),
    FlowGroups(heading="By fold", boxes=tuple((f"Fold {i}", "1 patient") for i in range(13))),
)
BLOCKS = (
    DrawnBlock(lines=("Slice", "64 by 64"), edge=64, channels=1, look="plain"),
    DrawnBlock(lines=("Block 1", HOSTILE, "frozen"), edge=64, channels=64, n_layers=2),
    DrawnBlock(lines=("Block 2", "frozen"), edge=32, channels=128, n_layers=3),
)
TAIL = (
    DrawnStep(lines=("Features", "128 numbers")),
    DrawnStep(lines=("Head", "trained"), look="trained"),
)
DRAWINGS: dict[str, Callable[[], str]] = {
    "flow": lambda: figures.draw_flow(STEPS, GROUPS, title=f"Flow of scans: {HOSTILE}"),
    "architecture": lambda: figures.draw_architecture(BLOCKS, TAIL, title="A model in two blocks"),
}
each = pytest.mark.parametrize("name", DRAWINGS)


def drawn_text(svg: str) -> str:
    """Return everything written in a drawing, its breaks undone."""
    return "".join("".join(e.itertext()) for e in ET.fromstring(svg).iter(f"{SVG}text"))


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """Return left, top, right and bottom of every box, each once."""
    found = [
        tuple(float(e.attrib[name]) for name in ("x", "y", "width", "height"))
        for e in ET.fromstring(svg).iter(f"{SVG}rect")
    ]
    return sorted({(x, y, x + w, y + h) for x, y, w, h in found})


@each
def test_svg_is_well_formed_titled_and_of_its_own_ids(name: str) -> None:
    root = ET.fromstring(DRAWINGS[name]())
    assert root.attrib["role"] == "img"
    title = root[0]
    assert title.tag == f"{SVG}title"
    assert title.attrib["id"] == root.attrib["aria-labelledby"] == f"{name}-title"
    assert all(e.attrib["id"].startswith(f"{name}-") for e in root.iter() if "id" in e.attrib)
    assert not [e for e in root.iter() if e.tag.endswith("script")]


@each
def test_svg_is_the_same_twice_loads_nothing_and_follows_the_page(name: str) -> None:
    text = DRAWINGS[name]()
    assert text == DRAWINGS[name]()
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.findall(r"(?<!, )#[0-9a-f]{6}\b", text)
    assert all(url.startswith(f"#{name}-") for url in re.findall(r"url\(([^)]*)\)", text))


@each
def test_every_line_is_written_and_none_is_markup(name: str) -> None:
    given = {
        "flow": [line for step in STEPS for line in (*step.lines, *step.left_out)]
        + [line for group in GROUPS for box in group.boxes for line in box],
        "architecture": [line for one in (*BLOCKS, *TAIL) for line in one.lines],
    }[name]
    written = drawn_text(DRAWINGS[name]()).replace(" ", "")
    for line in given:
        assert line.replace(" ", "") in written


@each
def test_boxes_lie_inside_the_picture_and_apart(name: str) -> None:
    svg = DRAWINGS[name]()
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert view is not None
    found = boxes(svg)
    assert len(found) > 5
    for left, top, right, bottom in found:
        assert 0 <= left < right <= float(view[1])
        assert 0 <= top < bottom <= float(view[2])
    for a, b in itertools.combinations(found, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (a, b)


def test_text_stays_inside_its_box() -> None:
    """Letters of 0.58 of the size are wider than any common font's mean."""
    svg = figures.draw_flow(STEPS, (), title="Flow")
    widest = max(len(e.text or "") for e in ET.fromstring(svg).iter(f"{SVG}text"))
    assert widest * 0.58 * 14 <= 350


def test_frozen_parts_are_told_by_hatching_and_trained_ones_by_their_edge() -> None:
    root = ET.fromstring(DRAWINGS["architecture"]())
    styles = [e.attrib["style"] for e in root.iter(f"{SVG}rect")]
    assert sum("url(#architecture-hatch)" in style for style in styles) == 5 + 1  # legend
    assert sum("stroke-width: 2.4" in style for style in styles) == 1 + 1
    assert "hatched: frozen" in drawn_text(DRAWINGS["architecture"]())


def test_maps_are_drawn_smaller_where_they_are() -> None:
    heights = {round(b[3] - b[1], 1) for b in boxes(DRAWINGS["architecture"]())}
    # 150 for an edge of 64, which is 2 to the 6th, and 5 parts of 6 of it for one of 32.
    assert {height for height in heights if height > 100} == {150.0, 125.0}
