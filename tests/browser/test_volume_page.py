"""The page in three planes in a real browser: sides, millimetres, sliders, scans side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.report.volumes import write_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
HOSTILE = '"><img src=x onerror="document.title=1">'
#: Mean grey of the left and of the right half of the first canvas of a plane.
HALVES = """(axis) => {
  const canvas = document.querySelector(`figure[data-axis=${axis}] canvas`);
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const sums = [0, 0];
  for (let i = 0; i < canvas.width * canvas.height; i += 1)
    sums[2 * (i % canvas.width) < canvas.width ? 0 : 1] += data[4 * i];
  return sums.map((sum) => sum / (canvas.width * canvas.height / 2));
}"""


def opened(browser: Browser, path: Path, place: str = "", **options: object) -> Iterator[Page]:
    context = browser.new_context(**options)  # type: ignore[arg-type]
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: asked.append(one.url))
    page.goto(path.as_uri() + place)
    expect(page.locator("figcaption").first).to_contain_text("mm")
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", path.as_uri()))] == []
    context.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    write_page(tmp_path / "p.html", patient_id=HOSTILE)
    yield from opened(browser, tmp_path / "p.html", viewport=request.param)


def test_sliders_move_all_scans_and_say_millimetres(page: Page, screenshots: Path) -> None:
    slider = page.locator("input[data-axis=z]")
    assert [slider.get_attribute(end) for end in ("min", "max")] == ["-10", "19"]
    slider.focus()
    before = int(slider.input_value())
    page.keyboard.press("ArrowLeft")
    wanted = f"Axial, z = {before - 1} mm".replace("-", "\u2212")
    captions = page.locator("figure[data-axis=z] figcaption").all_inner_texts()
    assert captions == [wanted, wanted]
    page.locator("input[data-axis=z]").fill("-7")
    assert page.locator("figcaption").first.inner_text() == "Axial, z = \u22127 mm"
    width = page.viewport_size["width"]  # type: ignore[index]
    page.screenshot(path=screenshots / f"volume_{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() != "1"


def test_axe_finds_no_violation(page: Page) -> None:
    assert Axe().run(page).response["violations"] == []


def test_scans_stand_side_by_side_where_there_is_room(page: Page) -> None:
    first, second = (one.bounding_box() for one in page.locator("section.volume").all())
    assert first is not None
    assert second is not None
    if page.viewport_size == DESKTOP:
        assert second["y"] == first["y"]
        assert second["x"] > first["x"]
    else:
        assert second["y"] > first["y"]


@pytest.mark.parametrize(
    ("orientation", "letters", "brighter"), [("neurological", "LR", 1), ("radiological", "RL", 0)]
)
def test_sides_are_those_of_the_letters(
    browser: Browser, tmp_path: Path, orientation: str, letters: str, brighter: int
) -> None:
    write_page(tmp_path / "p.html", orientation=orientation)  # type: ignore[arg-type]
    for page in opened(browser, tmp_path / "p.html", viewport=DESKTOP):
        for axis in ("z", "y"):
            halves = page.evaluate(HALVES, axis)
            assert halves[brighter] > 2 * halves[1 - brighter] + 50
            shown = page.locator(f"figure[data-axis={axis}]").first
            sides = (".left", ".right")
            assert "".join(shown.locator(side).inner_text() for side in sides) == letters
        sagittal = page.locator("figure[data-axis=x]").first
        assert sagittal.locator(".left").inner_text() == "P"


def test_a_click_moves_the_other_planes_and_a_height_can_be_asked_for(
    browser: Browser, tmp_path: Path
) -> None:
    write_page(tmp_path / "p.html", scan_ids=("P1_s1",))
    for page in opened(browser, tmp_path / "p.html", "#z=12", viewport=DESKTOP):
        assert page.locator("figcaption").first.inner_text() == "Axial, z = 12 mm"
        canvas = page.locator("figure[data-axis=z] canvas")
        box = canvas.bounding_box()
        assert box is not None
        # A quarter from the left, a quarter from the front: x = -20 + 10, y = -30 + 45.
        canvas.click(position={"x": 0.26 * box["width"], "y": 0.24 * box["height"]})
        assert page.locator("figure[data-axis=x] figcaption").inner_text() == (
            "Sagittal, x = \u221210 mm"
        )
        assert page.locator("figure[data-axis=y] figcaption").inner_text() == "Coronal, y = 15 mm"
        assert page.locator("figcaption").first.inner_text() == "Axial, z = 12 mm"
