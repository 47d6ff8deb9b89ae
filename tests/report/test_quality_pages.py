"""Quality pages: every scan once, the worst first; links lead somewhere, nothing hostile runs."""

from __future__ import annotations

import base64
import io
import itertools
import re
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.pages import quality_pages
from mri_transfer.report.pages.quality_pages import (
    worst_first,
    write_quality_index,
    write_scan_page,
)
from mri_transfer.scans.quality.verdicts import JudgedScore, ScanQuality, Verdict, worst
from tests.report.documents import replaced
from tests.report.test_html import HOSTILE, Page

FETCHING = {"src", "href", "xlink:href", "srcset", "action", "poster", "data", "background"}


def score(name: str, verdict: Verdict, value: float | None = 0.5, **more: Any) -> JudgedScore:
    words = {
        "title": f"{name} title", "unit": "mm", "thresholds": "at least 0.9; failure below 0.8",
        "meaning": f"What {name} means.",
    }  # fmt: skip
    return JudgedScore(name=name, verdict=verdict, value=value, **{**words, **more})


def scan(scan_id: str, *verdicts: Verdict, kept: bool = False, **more: Any) -> ScanQuality:
    fields = {"patient_id": f"P-{scan_id}", "passed_through": False, "turn": ""}
    return ScanQuality(
        scan_id=scan_id,
        verdict=worst(list(verdicts)),
        kept=kept,
        scores=tuple(score(f"s{i}", verdict) for i, verdict in enumerate(verdicts)),
        **{**fields, **more},
    )


def png(width: int = 12, height: int = 16, grey: int = 90) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.full((height, width), grey, np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


COHORT = [
    scan("calm", "pass", "pass"),
    scan("b-odd", "warn", "pass"),
    scan("a-odd", "warn", "pass"),
    scan("odder", "warn", "warn"),
    scan("kept", "fail", "fail", "fail", kept=True),
    scan("bad", "fail", "pass"),
    scan("worse", "warn", "fail"),
]
ODD: tuple[Verdict, ...] = ("warn",) * 18
CALM: tuple[Verdict, ...] = ("pass",) * 18
ORDER = ["worse", "bad", "kept", "odder", "a-odd", "b-odd", "calm"]
PICTURES = {
    "as it came: sagittal, slice 3 of 5": png(26, 30),
    "as it came: axial, slice 4 of 8": png(20, 30),
    "prepared: axial, z = 4 mm": png(20, 25),
    "prepared: axial, z = 9 mm": png(20, 25),
    "prepared: coronal, y = 0 mm": png(20, 22),
    "thumbnail": png(),
}


def write_index(folder: Path, cohort: list[ScanQuality], **thumbnails: bytes) -> Page:
    write_quality_index(folder / "index.html", cohort, thumbnails=thumbnails)
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def write_page(folder: Path, quality: ScanQuality, **more: Any) -> Page:
    path = folder / "scans" / page_name(quality.scan_id)
    write_scan_page(path, quality, more.pop("pictures", PICTURES), more.pop("facts", {}), **more)
    return Page(path.read_text(encoding="utf-8"))


def rows(page: Page) -> list[str]:
    """Return the classes of the index's rows, in order."""
    return [str(attrs["class"]) for attrs in page.named("tr") if "class" in attrs]


def assert_self_contained(page: Page, *, files: str = r"\.\./index\.html|scans/[\w.-]+") -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in FETCHING:
                assert re.fullmatch(rf"data:image/png;base64,[\w+/=]+|{files}", value or ""), value
    policy = next(m["content"] for m in page.named("meta") if "http-equiv" in m)
    assert str(policy).startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not {"script", "link", "iframe", "base", "form"} & {tag for tag, _ in page.elements}


# --- names -------------------------------------------------------------------------------------


def test_names_of_pages_never_collide_and_are_safe_anywhere() -> None:
    alphabet = ["a", "A", " ", "-", "_", ".", "..", '"', "'", "é", "e\u0301", "日", "%41", "\udcff"]
    ids = ["".join(parts) for n in range(4) for parts in itertools.product(alphabet, repeat=n)]
    ids += ["x" * n for n in (200, 201)] + ["CON", "con", "index", "a/b", "a\\b", "a\nb", "a\x00b"]
    distinct = list(dict.fromkeys(ids))
    names = [page_name(scan_id) for scan_id in distinct]
    # On some file systems case and the composition of accents make no difference.
    folded = {unicodedata.normalize("NFC", name).casefold() for name in names}
    assert len(folded) == len(distinct)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.html", name) for name in names)
    assert max(map(len, names)) <= 80
    assert unquote(names[0]) == names[0]


def test_name_of_a_page_is_readable_and_stays_the_same() -> None:
    assert page_name("sub-01_ses-1 T1w") == "sub-01_ses-1-T1w-a7e546d0900f.html"


# --- the index ---------------------------------------------------------------------------------


def test_worst_scans_come_first_whatever_the_order_given(tmp_path: Path) -> None:
    for cohort in (COHORT, COHORT[::-1]):
        assert [quality.scan_id for quality in worst_first(cohort)] == ORDER
    page = write_index(tmp_path, COHORT)
    assert rows(page) == ["fail", "fail", "kept", "warn", "warn", "warn", "pass"]
    assert [text for text in page.texts if text in ORDER] == ORDER


def test_every_scan_stands_once_with_verdict_reasons_and_link(tmp_path: Path) -> None:
    page = write_index(tmp_path, COHORT)
    for quality in COHORT:
        assert page.texts.count(quality.scan_id) == 1
        assert page.texts.count(f"patient {quality.patient_id}") == 1
    links = [str(attrs["href"]) for attrs in page.named("a") if "tabindex" not in attrs]
    assert links == [f"scans/{page_name(scan_id)}" for scan_id in ORDER]
    start = page.texts.index("worse")
    assert page.texts[start : page.texts.index("bad")] == [
        "worse", "patient P-worse", "✕", "fail",
        "S1 title: 0.5 mm (at least 0.9; failure below 0.8)",
        "S0 title: 0.5 mm (at least 0.9; failure below 0.8)",
        "no picture",
    ]  # fmt: skip
    assert "every score passed" in page.texts[page.texts.index("calm") :]


def test_links_of_index_and_pages_resolve_wherever_the_folder_lies(tmp_path: Path) -> None:
    cohort = [*COHORT, scan('odd "id" ü/..?#%', "warn")]
    ordered = [quality.scan_id for quality in worst_first(cohort)]
    write_index(tmp_path / "a", cohort)
    for i, quality in enumerate(worst_first(cohort)):
        before, after = ([None, *ordered, None][i + k] for k in (0, 2))
        write_page(tmp_path / "a", quality, before=before, after=after)
    moved = (tmp_path / "a").rename(tmp_path / "moved folder")
    seen = set()
    for path in moved.rglob("*.html"):
        for attributes in Page(path.read_text(encoding="utf-8")).named("a"):
            target = (path.parent / unquote(str(attributes["href"]))).resolve()
            assert target.is_file()
            seen.add(target.name)
    assert seen == {"index.html", *map(page_name, ordered)}


def test_counts_stand_on_the_choices_and_each_hides_the_other_rows(tmp_path: Path) -> None:
    page = write_index(tmp_path, COHORT)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    choices = {str(attrs["id"]): attrs for attrs in page.named("input")}
    assert list(choices) == ["show-all", "show-fail", "show-kept", "show-warn", "show-pass"]
    assert [name for name, attrs in choices.items() if "checked" in attrs] == ["show-all"]
    assert [str(label["for"]) for label in page.named("label")] == list(choices)
    start = page.texts.index("every scan") - 2
    assert page.texts[start : start + 9] == [
        "all", "7", "every scan", "✕", "fail", "2", "left out", "✕", "fail, kept",
    ]  # fmt: skip
    for name in ("fail", "kept", "warn", "pass"):
        assert f"#show-{name}:checked ~ .scans tbody tr:not(.{name})" in text
    # The rule reaches the table only if the choices are its siblings, before it.
    inside = text[text.index('<div class="filter">') : text.index('<table class="scans">')]
    assert inside.count("<input") == 5
    assert inside.count("<div") == 1


def test_choice_without_scans_cannot_be_chosen(tmp_path: Path) -> None:
    page = write_index(tmp_path, [scan("calm", "pass")])
    disabled = [attrs["id"] for attrs in page.named("input") if "disabled" in attrs]
    assert disabled == ["show-fail", "show-warn"]
    assert "1 scan of 1 patient, the worst first" in page.texts


def test_each_score_is_explained_once_with_its_counts(tmp_path: Path) -> None:
    page = write_index(tmp_path, COHORT)
    start = page.texts.index("What s0 means.") - 1
    assert page.texts[start : start + 10] == [
        "S0 title", "What s0 means.", "at least 0.9; failure below 0.8", "4", "2",
        "S1 title", "What s1 means.", "at least 0.9; failure below 0.8", "1", "2",
    ]  # fmt: skip


def test_what_a_threshold_adds_for_one_scan_stands_not_in_the_table_of_scores(
    tmp_path: Path,
) -> None:
    words = [f"within 5 of the cohort{here}" for here in (", here 1.1", ", here 1.9")]
    cohort = [
        replaced(COHORT[0], scan_id=text, scores=(score("s", "pass", thresholds=text),))
        for text in words
    ]
    assert "within 5 of the cohort" in write_index(tmp_path, cohort).texts


def test_empty_cohort_has_an_index(tmp_path: Path) -> None:
    page = write_index(tmp_path, [])
    assert "There are no scans." in page.texts


def test_index_shows_each_scans_own_thumbnail(tmp_path: Path) -> None:
    page = write_index(tmp_path, COHORT, bad=png(12, 16, 30), calm=png(10, 16, 60))
    pictures = page.named("img")
    assert [base64.b64decode(str(one["src"]).partition(",")[2]) for one in pictures] == [
        png(12, 16, 30), png(10, 16, 60),
    ]  # fmt: skip
    assert [(one["width"], one["height"]) for one in pictures] == [("12", "16"), ("10", "16")]
    assert page.texts.count("no picture") == len(COHORT) - 2
    assert not (tmp_path / "thumbnails").exists()
    assert_self_contained(page)


def test_index_of_a_thousand_scans_links_its_thumbnails_and_stays_small(tmp_path: Path) -> None:
    cohort = [scan(f"scan {i}", *(ODD if i % 9 == 0 else CALM)) for i in range(1000)]
    # Writing waits for the disk at each file: a few pictures show what there is to show.
    page = write_index(tmp_path, cohort, **{f"scan {i}": png(grey=i) for i in (0, 1, 2)})
    assert (tmp_path / "index.html").stat().st_size < 1_000_000
    assert len(rows(page)) == 1000
    sources = [str(one["src"]) for one in page.named("img")]
    assert [(tmp_path / source).read_bytes() for source in sources] == [
        png(grey=i) for i in (0, 1, 2)
    ]
    assert all(one["loading"] == "lazy" for one in page.named("img"))
    assert_self_contained(page, files=r"scans/[\w.-]+|thumbnails/[\w.-]+\.png")


def test_large_thumbnails_are_linked_too(tmp_path: Path) -> None:
    large = png() + bytes(3_500_000)
    page = write_index(tmp_path, COHORT, bad=large, calm=large)
    assert len(list((tmp_path / "thumbnails").iterdir())) == 2
    assert (tmp_path / "index.html").stat().st_size < 100_000
    assert all(str(one["src"]).startswith("thumbnails/") for one in page.named("img"))


# --- the page of a scan ------------------------------------------------------------------------


def test_scan_page_says_verdict_and_reasons_first(tmp_path: Path) -> None:
    page = write_page(tmp_path, COHORT[6], before="bad", after="kept")
    assert page.texts[:11] == [
        "All scans", "‹ bad", "kept ›", "worse", "✕", "fail",
        "This scan failed and is left out.",
        "S1 title: 0.5 mm (at least 0.9; failure below 0.8)",
        "S0 title: 0.5 mm (at least 0.9; failure below 0.8)",
        "Patient P-worse.", "Prepared",
    ]  # fmt: skip
    assert_self_contained(page, files=r"\.\./index\.html|[\w.-]+\.html")


@pytest.mark.parametrize(
    ("quality", "sentence"),
    [
        (scan("k", "fail", kept=True), "used all the same, because it was asked to be kept"),
        (scan("w", "warn"), "This scan is used, but look at it first."),
        (scan("p", "pass"), "This scan is used: nothing speaks against it."),
        (scan("t", "pass", passed_through=True), "preparation left it untouched"),
    ],
)
def test_scan_page_says_what_became_of_the_scan(
    tmp_path: Path, quality: ScanQuality, sentence: str
) -> None:
    assert sentence in write_page(tmp_path, quality).text


def test_turn_is_said_once(tmp_path: Path) -> None:
    turned = scan("t", "warn", turn="upside down")
    assert write_page(tmp_path, turned).text.count("upside down") == 1
    assert write_index(tmp_path, [turned]).text.count("upside down") == 1
    reason = score("turned", "fail", thresholds="upside down")
    said = replaced(turned, verdict="fail", scores=(reason,))
    assert "Header against content:" not in write_page(tmp_path, said).text
    assert "Header against content:" not in write_index(tmp_path, [said]).text


def test_scan_page_shows_every_picture_in_its_section(tmp_path: Path) -> None:
    page = write_page(tmp_path, COHORT[0])
    shown = [(one["alt"], str(one["src"]).partition(",")[2]) for one in page.named("img")]
    order = [name for group in ("prepared", "as it came") for name in PICTURES if group in name]
    assert shown == [
        (name.partition(": ")[2], base64.b64encode(PICTURES[name]).decode()) for name in order
    ]
    assert page.texts.index("Prepared") < page.texts.index("axial, z = 4 mm")
    assert page.texts.index("As it came") < page.texts.index("axial, slice 4 of 8")
    assert page.texts.index("axial, z = 9 mm") < page.texts.index("As it came")


def test_pictures_of_a_volume_share_a_scale_and_fill_a_row(tmp_path: Path) -> None:
    write_page(tmp_path, COHORT[0])
    text = (tmp_path / "scans" / page_name("calm")).read_text(encoding="utf-8")
    assert re.findall(r"--row: (\d+); --n: (\d+)", text) == [("40", "2"), ("46", "2")]
    assert re.findall(r"--w: (\d+)", text) == ["20", "20", "20", "26", "20"]


def test_scan_without_pictures_has_a_page_that_says_so(tmp_path: Path) -> None:
    page = write_page(tmp_path, COHORT[5], pictures={})
    assert not page.named("img")
    assert "There are no pictures of the prepared scan." in page.texts


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.93456, "", "0.935"), (-0.0312, "nats", "−0.0312 nats"), (12345.6, "", "12346"),
        (999.6, "mm", "1000 mm"), (None, "mm", "not defined"), (0.0, "", "0"),
    ],
)  # fmt: skip
def test_value_of_a_score_is_written_as_a_person_would(
    tmp_path: Path, value: float | None, unit: str, text: str
) -> None:
    one = score("one", "none", value, unit=unit, thresholds="")
    quality = replaced(COHORT[0], scores=(one,))
    texts = write_page(tmp_path, quality).texts
    assert texts[texts.index("What one means.") + 1 :][:4] == [
        text, "–", "not judged", "no threshold",
    ]  # fmt: skip


def test_facts_stand_in_the_order_given(tmp_path: Path) -> None:
    page = write_page(tmp_path, COHORT[0], facts={"Voxels": "1 x 1 x 2 mm", "File": "a.nii"})
    assert page.texts[page.texts.index("Voxels") :][:4] == [
        "Voxels", "1 x 1 x 2 mm", "File", "a.nii",
    ]  # fmt: skip


# --- hostile text ------------------------------------------------------------------------------


def test_hostile_text_is_shown_and_never_run(tmp_path: Path) -> None:
    words: dict[str, Any] = dict.fromkeys(("title", "unit", "thresholds", "meaning"), HOSTILE)
    quality = scan(HOSTILE, "fail", patient_id=HOSTILE, turn=f"{HOSTILE}!")
    quality = replaced(quality, scores=(score("x", "fail", **words),))
    pages = [
        write_page(
            tmp_path, quality, facts={HOSTILE: HOSTILE}, before=HOSTILE, after=HOSTILE,
            pictures={f"prepared: {HOSTILE}": png()},
        ),
        write_index(tmp_path, [quality], **{HOSTILE: png()}),
    ]  # fmt: skip
    for page, at_least in zip(pages, (11, 7), strict=True):
        assert page.text.count(HOSTILE) >= at_least
        assert "50337" not in page.text
        assert_self_contained(page, files=r"\.\./index\.html|(scans/)?[\w.-]+\.html")
    assert pages[0].named("img")[0]["alt"] == HOSTILE


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_index(tmp_path / name, COHORT, bad=png())
        write_page(tmp_path / name, COHORT[0])
    for path in (tmp_path / "a").rglob("*.html"):
        assert (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes() == path.read_bytes()


def test_a_large_cohort_has_several_pages_the_worst_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = [scan(f"s{i}", "fail" if i == 4 else "pass") for i in range(5)]
    monkeypatch.setattr(quality_pages, "_PAGE", 2)
    write_quality_index(tmp_path / "index.html", cohort, thumbnails={})
    pages = [tmp_path / name for name in ("index.html", "index-2.html", "index-3.html")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert "s4" in texts[0]
    assert all("5 scans of 5 patients" in text for text in texts)
    assert [f'href="{page.name}"' in texts[0] for page in pages] == [False, True, True]
    monkeypatch.undo()
    write_quality_index(tmp_path / "index.html", cohort, thumbnails={})
    assert [page.exists() for page in pages] == [True, False, False]
