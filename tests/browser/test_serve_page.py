"""The service's page in a real browser: by mouse, by keyboard, and for those who hear it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from pipelines.serve import ServiceSpec
from tests.pipelines.serve.serving import Service, scan_bytes, serving, write_small_bundle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 60_000
HOSTILE = '"><img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = write_small_bundle(tmp_path_factory.mktemp("page") / "bundle")
    with serving(place, tmp_path_factory.mktemp("scratch"), ServiceSpec(max_megabytes=2)) as one:
        yield one


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    path = folder / "somebody.nii.gz"
    path.write_bytes(scan_bytes(folder))
    return path


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(browser: Browser, service: Service, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(viewport=request.param)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: asked.append(one.url))
    page.goto(service.url)
    expect(page.locator("#about")).to_contain_text("patients", timeout=PATIENCE_MS)
    yield page
    # The browser itself notes every answer that is no 2xx.
    assert [text for text in said if "422" not in text] == []
    assert [url for url in asked if not url.startswith((service.url, "data:"))] == []
    context.close()


def faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def title(page: Page) -> str:
    expect(page.locator("#result")).to_be_visible(timeout=PATIENCE_MS)
    return page.locator("#result-title").inner_text()


def test_a_scan_is_scored_by_keyboard_and_the_answer_gets_the_focus(
    page: Page, scan: Path, screenshots: Path
) -> None:
    assert faults(page) == []
    page.screenshot(path=screenshots / f"serve_empty_{page.viewport_size['width']}.png")  # type: ignore[index]
    page.locator("#file").set_input_files(scan)
    page.locator("#age").focus()
    page.keyboard.type("70")
    page.keyboard.press("Tab")
    page.keyboard.type("f")
    assert page.locator("#sex").input_value() == "F"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("#force").is_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert (
        "Processing" in page.locator("#status").inner_text() or page.locator("#result").is_visible()
    )
    assert title(page) == "somebody: scored outside the input contract"
    assert page.evaluate("document.activeElement.id") == "result-title"
    assert "probability of Alzheimer's disease (AD)" in page.locator(".score").inner_text()
    warnings = page.locator("#said .mark").all_inner_texts()
    titles = [text.split(".")[0] for text in warnings]
    assert titles == ["Synthetic cohort", "Untrained trunk", "Forced"]
    # What holds for the model whatever the scan stands above the form too.
    assert page.locator("#warnings .mark").all_inner_texts() == warnings[:2]
    assert faults(page) == []
    width = page.viewport_size["width"]  # type: ignore[index]
    page.screenshot(path=screenshots / f"serve_forced_{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_abstention_shows_reasons_and_no_number(page: Page, scan: Path, screenshots: Path) -> None:
    page.locator("#file").set_input_files(scan)
    page.locator("#send").click()
    assert title(page) == "somebody: the model abstains"
    assert page.locator("#said .score").count() == 0
    assert page.locator("#said ul li").count() > 0
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert faults(page) == []
    width = page.viewport_size["width"]  # type: ignore[index]
    page.screenshot(path=screenshots / f"serve_abstained_{width}.png", full_page=True)


def test_what_cannot_be_used_gets_a_reason(page: Page, screenshots: Path) -> None:
    page.locator("#file").set_input_files(
        {"name": "a.nii", "mimeType": "application/octet-stream", "buffer": b"nothing"}
    )
    page.locator("#send").click()
    assert title(page) == "The scan was not scored"
    assert "not a NIfTI file" in page.locator("#said").inner_text()
    assert faults(page) == []
    width = page.viewport_size["width"]  # type: ignore[index]
    page.screenshot(path=screenshots / f"serve_refused_{width}.png", full_page=True)


def test_a_dropped_scan_is_taken_and_its_name_is_text(page: Page, scan: Path) -> None:
    data = page.evaluate_handle(
        """([bytes, name]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name));
          return data;
        }""",
        [list(scan.read_bytes()), f"{HOSTILE}.nii.gz"],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    assert "Chosen" in page.locator("#status").inner_text()
    page.locator("#send").click()
    assert "abstains" in title(page)
    assert "onerror" in page.locator("#result-title").inner_text()
    assert page.locator("img").count() == 0
    assert page.title() != "1"


def test_a_file_that_is_too_large_is_not_sent(page: Page) -> None:
    page.locator("#file").set_input_files(
        {"name": "a.nii", "mimeType": "application/octet-stream", "buffer": bytes(2_100_000)}
    )
    page.locator("#send").click()
    assert title(page) == "The scan was not scored"
    assert "too large" in page.locator("#said").inner_text()


def test_in_the_dark_colours_still_tell_apart(
    browser: Browser, service: Service, scan: Path
) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(service.url)
    page.locator("#file").set_input_files(scan)
    page.locator("#force").check()
    page.locator("#send").click()
    assert "scored" in title(page)
    assert faults(page) == []
    context.close()
