"""The report in a real browser: quiet, accessible, to be explored, and whole on paper."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from mri_transfer.report.compose import compose_report
from mri_transfer.report.render.html import write_report
from tests.report.volumes import write_page
from tests.report.whole_inputs import whole_inputs

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
N_PATIENTS = 12
#: A patient's scans in three planes, beside the report.
PAGE = "volumes/p.html"
#: What a reader meets without opening anything, words.
MOST_WORDS = 4000
WORDS = "document.body.innerText.split(/\\s+/).filter(Boolean).length"
ODD_ID = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'


@dataclasses.dataclass
class Watched:
    """A page, and everything it said or asked for."""

    page: Page
    said: list[str]
    asked: list[str]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all sections, one of its patients having a hostile name."""
    inputs = whole_inputs(N_PATIENTS)
    first = str(inputs.patients.index[0])
    renamed = dataclasses.replace(
        inputs,
        patients=inputs.patients.rename(index={first: ODD_ID}),
        patient_scores=inputs.patient_scores.replace({"patient_id": {first: ODD_ID}}),
        slice_scores=inputs.slice_scores.replace({"patient_id": {first: ODD_ID}}),
        scans=None
        if inputs.scans is None
        else inputs.scans.replace({"patient_id": {first: ODD_ID}}),
        folds=None
        if inputs.folds is None
        else inputs.folds.replace({"patient_id": {first: ODD_ID}}),
    )
    path = tmp_path_factory.mktemp("report") / "index.html"
    second = str(inputs.patients.index[1])
    write_page(path.parent / PAGE, patient_id=second)
    write_report(compose_report(dataclasses.replace(renamed, volume_pages={second: PAGE})), path)
    return path


def opened(browser: Browser, path: Path, **options: object) -> Iterator[Watched]:
    context = browser.new_context(**options)  # type: ignore[arg-type]
    page = context.new_page()
    watched = Watched(page, [], [])
    page.on("console", lambda message: watched.said.append(message.text))
    page.on("pageerror", lambda error: watched.said.append(str(error)))
    page.on("request", lambda request: watched.asked.append(request.url))
    page.goto(path.as_uri())
    yield watched
    context.close()


@pytest.fixture
def desktop(browser: Browser, report: Path) -> Iterator[Watched]:
    yield from opened(browser, report, viewport=DESKTOP)


@pytest.fixture
def phone(browser: Browser, report: Path) -> Iterator[Watched]:
    yield from opened(browser, report, viewport=PHONE, has_touch=True)


def unfold_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def show_patients(page: Page) -> None:
    """Open the fold that holds the table of patients."""
    page.locator("#patients summary", has_text="patients: search").click()


def shown_patients(page: Page) -> list[str]:
    rows = page.locator("table.patients > tbody:not([hidden])").filter(visible=True)
    return [row.locator("th").first.inner_text() for row in rows.all()]


def test_nothing_is_said_on_the_console_and_nothing_is_asked_of_a_network(
    desktop: Watched, report: Path
) -> None:
    unfold_all(desktop.page)
    desktop.page.wait_for_timeout(200)
    outside = [url for url in desktop.asked if not url.startswith("data:")]
    assert desktop.said == []
    assert outside == [report.as_uri()]


def test_a_hostile_name_is_text(desktop: Watched) -> None:
    assert desktop.page.title() not in {"1", "2"}
    assert desktop.page.locator("img[src='x']").count() == 0
    show_patients(desktop.page)
    assert ODD_ID in shown_patients(desktop.page)


def test_the_first_screen_holds_what_counts(desktop: Watched, screenshots: Path) -> None:
    page = desktop.page
    page.screenshot(path=screenshots / "report_desktop.png")
    for selector in ("h1", ".answer", ".pill", ".keys", ".brief", ".caveats ol"):
        box = page.locator(selector).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= DESKTOP["height"], selector
    assert page.locator(".caveats > ol > li").count() == 3


def test_the_appendix_is_folded_and_the_rest_is_short(desktop: Watched) -> None:
    page = desktop.page
    appendix = page.locator("section.appendix details.appendix")
    assert appendix.count() > 8
    assert page.locator("details.appendix[open]").count() == 0
    assert page.evaluate(WORDS) <= MOST_WORDS
    order = page.locator("main > section").evaluate_all("all => all.map((one) => one.id)")
    assert order.index("limits") < min(order.index(name) for name in ("model", "training", "data"))


def test_the_summary_holds_answer_limits_figures_and_use_before_any_result(
    desktop: Watched,
) -> None:
    page = desktop.page
    results = page.locator("#part-results").bounding_box()
    assert results is not None
    for selector in (".question", ".answer", ".caveats", "#summary .plot >> nth=1", ".confusion",
                     "#summary table >> nth=1", "#glossary"):  # fmt: skip
        box = page.locator(selector).first.bounding_box()
        assert box is not None, selector
        assert box["y"] + box["height"] <= results["y"], selector
    said = " ".join(page.locator("#front, section.summary").all_inner_texts())
    assert "Alzheimer's disease (AD)" in said
    assert "cognitively normal" in said
    for caveat in page.locator(".caveats li").all():
        assert caveat.is_visible()


def test_a_link_into_the_appendix_opens_it(desktop: Watched) -> None:
    page = desktop.page
    page.locator(".large-screen a[href='#model']").click()
    assert page.locator("#model details.appendix[open]").count() == 1
    assert page.locator("#model figure").first.is_visible()


def test_a_slice_opens_the_three_planes_at_its_height(desktop: Watched, report: Path) -> None:
    page = desktop.page
    show_patients(page)
    panel = page.locator("table.patients details").nth(1)
    panel.locator("summary").first.click()
    link = panel.locator("a", has_text="Three planes")
    assert link.get_attribute("href") == PAGE
    tile = panel.locator(".sheet li").nth(3)
    height = tile.inner_text().split("\u00a0")[0].replace("\u2212", "-")
    tile.click()
    page.wait_for_url(f"**/{PAGE}#z={height}")
    expect(page.locator("figcaption").first).to_contain_text("Axial")


def test_searching_filtering_and_sorting_show_whom_they_should(desktop: Watched) -> None:
    page = desktop.page
    show_patients(page)
    everybody = shown_patients(page)
    assert len(everybody) == N_PATIENTS
    page.locator(".find").fill(everybody[3])
    assert shown_patients(page) == [everybody[3]]
    assert page.locator("output.shown").inner_text() == f"1 of {N_PATIENTS} patients shown"
    page.locator(".reset").click()
    page.locator(".by-label").select_option("AD")
    assert len(shown_patients(page)) == N_PATIENTS // 2
    page.locator(".reset").click()
    page.locator("table.patients > thead button", has_text="Score").click()
    values = page.locator("table.patients > tbody td[data-value]").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.value))"
    )
    assert values == sorted(values)
    page.locator("table.patients > thead button", has_text="Score").click()
    header = page.locator("th[aria-sort]")
    assert header.get_attribute("aria-sort") == "descending"


def test_every_control_is_reached_by_keyboard_and_shows_that_it_is(desktop: Watched) -> None:
    page = desktop.page
    wanted = page.evaluate(
        """() => {
          const all = document.querySelectorAll(
            "a[href], button, input, select, summary, [tabindex='0']");
          const seen = [...all].filter((one) => one.checkVisibility());
          seen.forEach((one, i) => { one.dataset.stop = i; });
          return seen.length;
        }"""
    )
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    reached, bare = set(), []
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        stop, outlined = page.evaluate(
            """() => {
              const one = document.activeElement, style = getComputedStyle(one);
              const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
              return [one.dataset.stop ?? "", ring];
            }"""
        )
        reached.add(stop)
        if stop and not outlined:
            bare.append(stop)
    assert len(reached - {""}) == wanted
    assert bare == []


def test_a_panel_opens_by_keyboard(desktop: Watched) -> None:
    page = desktop.page
    show_patients(page)
    summary = page.locator("table.patients summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("table.patients details[open]").count() == 1
    assert page.locator("table.patients details[open] .sheet img").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_a_desktop(
    browser: Browser, report: Path, scheme: str, screenshots: Path
) -> None:
    for watched in opened(browser, report, viewport=DESKTOP, color_scheme=scheme):
        unfold_all(watched.page)
        watched.page.screenshot(path=screenshots / f"report_desktop_{scheme}.png")
        assert faults(watched.page) == []


def test_axe_finds_no_violation_on_a_phone(phone: Watched) -> None:
    assert faults(phone.page) == []


def faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def test_a_phone_shows_the_page_without_scrolling_sideways(
    phone: Watched, screenshots: Path
) -> None:
    phone.page.screenshot(path=screenshots / "report_phone.png")
    unfold_all(phone.page)
    width = phone.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


def test_a_phone_breaks_no_label_of_the_calls_and_shows_them_whole(phone: Watched) -> None:
    table = phone.page.locator("table.confusion").first
    heads = table.locator("tbody th")
    heights = heads.evaluate_all("all => all.map((one) => one.getClientRects()[0].height)")
    lines = heads.evaluate_all(
        "all => all.map((one) => { const range = document.createRange();"
        " range.selectNodeContents(one); return range.getClientRects().length; })"
    )
    assert lines == [1] * len(heights)
    width = table.evaluate("one => one.getBoundingClientRect().width")
    assert width <= PHONE["width"] - 40


def test_without_scripts_everything_but_exploration_is_there(
    browser: Browser, report: Path
) -> None:
    for watched in opened(browser, report, viewport=DESKTOP, java_script_enabled=False):
        page = watched.page
        assert page.locator("table.patients > tbody").count() == N_PATIENTS
        show_patients(page)
        assert not page.locator(".explore").is_visible()
        page.locator("table.patients summary").first.click()
        assert page.locator("table.patients .sheet img").first.is_visible()


def test_a_figure_can_be_saved_with_its_numbers(desktop: Watched) -> None:
    page = desktop.page
    for text, start in (("SVG", b"<svg"), ("CSV", b"")):
        link = page.locator("figure.plot .files a", has_text=text).first
        with page.expect_download() as waiting:
            link.click()
        content = Path(waiting.value.path()).read_bytes()
        assert content.lstrip().startswith((start, b"<?xml"))
        assert len(content) > 20
        assert waiting.value.suggested_filename.endswith(text.lower())


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_paper_holds_every_section_and_cuts_no_figure(
    desktop: Watched, paper: str, screenshots: Path
) -> None:
    from pypdf import PdfReader

    printed = desktop.page.pdf(format=paper, prefer_css_page_size=False)
    (screenshots / f"report_print_{paper}.pdf").write_bytes(printed)
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(printed)).pages)
    titles = desktop.page.locator("main h2").all_inner_texts()
    lost = [title for title in titles if "".join(title.split()) not in "".join(text.split())]
    assert lost == []
    desktop.page.emulate_media(media="print")
    height = {"A4": 1123, "Letter": 1056}[paper]
    # A drawing higher than the page cannot but be cut; lower ones are kept whole by the style.
    drawings = desktop.page.locator("figure .drawing, figure .sheet").filter(visible=True)
    boxes = [one.bounding_box() for one in drawings.all()]
    breaks = drawings.evaluate_all(
        "all => all.map((one) => getComputedStyle(one.closest('figure')).breakInside"
        " + getComputedStyle(one).breakInside)"
    )
    assert all(box is not None and box["height"] < 0.85 * height for box in boxes)
    assert all("avoid" in rule for rule in breaks)
