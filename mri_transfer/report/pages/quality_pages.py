"""Quality pages: one a scan to look at it, and an index of all scans, the worst first.

The folder can be moved as a whole: `index.html`, beside it `scans/` with the pages of the scans
and, for large cohorts, `thumbnails/`.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mri_transfer.core.files import atomic_write_bytes, atomic_write_text
from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.figures.quality import AS_IT_CAME, MASK_RGB, PREPARED, TEMPLATE_RGB
from mri_transfer.report.render.pages import png_source, render_page
from mri_transfer.scans.quality.verdicts import JudgedScore, ScanQuality

__all__ = ["worst_first", "write_quality_index", "write_scan_page"]

_STYLES = ("style.css", "quality.css")
#: With more scans than this, or larger pictures, the index links its pictures as files.
_MAX_EMBEDDED = 500
_MAX_EMBEDDED_BYTES = 6_000_000
#: Scans a page of the index; a large cohort has several.
_PAGE = 1000
_MINUS = "\u2212"
_COLOURS = {
    name: f"rgb({red} {green} {blue})"
    for name, (red, green, blue) in (("mask", MASK_RGB), ("template", TEMPLATE_RGB))
}


@dataclasses.dataclass(frozen=True)
class _State:
    """What became of a scan: word and sign of its badge, and what it means for the scan."""

    key: str
    word: str
    sign: str
    meaning: str
    sentence: str


#: The worst first.
_STATES = (
    _State("fail", "fail", "✕", "left out", "This scan failed and is left out."),
    _State("kept", "fail, kept", "✕", "failed, used all the same",
           "This scan failed; it is used all the same, because it was asked to be kept."),
    _State("warn", "warn", "!", "used; look at it", "This scan is used, but look at it first."),
    _State("pass", "pass", "✓", "used", "This scan is used: nothing speaks against it."),
    _State("none", "not judged", "–", "used", "This scan is used; no score was judged."),
)  # fmt: skip


def worst_first(qualities: Sequence[ScanQuality]) -> list[ScanQuality]:
    """Return scans in the order of the index: fail, kept, warn, pass; more reasons first; by id."""
    ranks = {state.key: rank for rank, state in enumerate(_STATES)}
    return sorted(
        qualities,
        key=lambda quality: (
            ranks[_state(quality).key],
            -len(quality.reasons),
            quality.scan_id,
        ),
    )


def write_scan_page(
    path: Path,
    quality: ScanQuality,
    pictures: Mapping[str, bytes],
    facts: Mapping[str, str],
    *,
    before: str | None = None,
    after: str | None = None,
) -> None:
    """Write the page of one scan; it appears whole or not at all.

    Parameters
    ----------
    path : Path
        `scans/` beside the index, then `page_name(quality.scan_id)`.
    quality : ScanQuality
    pictures : mapping of str to bytes
        As `figures.qc_pictures` returns them; empty if none could be drawn.
    facts : mapping of str to str
        What else is known of the scan, in words: voxel size, steps of the preparation.
    before, after : str, optional
        Ids of the neighbours in the order of the index, to which the page links.
    """
    text = render_page(
        "quality_scan.html.jinja",
        styles=_STYLES,
        quality=quality,
        state=_state(quality),
        as_it_came=_group(pictures, AS_IT_CAME),
        prepared=_group(pictures, PREPARED),
        reasons=_reasons(quality),
        turn=_turn(quality),
        rows=[_score_row(score) for score in quality.scores],
        facts=facts,
        before=None if before is None else {"scan_id": before, "file": page_name(before)},
        after=None if after is None else {"scan_id": after, "file": page_name(after)},
        colours=_COLOURS,
    )
    atomic_write_text(path, text)


def write_quality_index(
    path: Path, qualities: Sequence[ScanQuality], *, thumbnails: Mapping[str, bytes]
) -> None:
    """Write the table of all scans, the worst first; of a large cohort on several pages.

    Parameters
    ----------
    path : Path
        `index.html` beside the folder `scans`.
    qualities : sequence of ScanQuality
        In any order; each scan once.
    thumbnails : mapping of str to bytes
        `scan_id` to the picture `thumbnail` of `figures.qc_pictures`; scans may lack one. They
        become part of the page, or, if they are more than 500 or than 6 MB, files in the folder
        `thumbnails` beside it.
    """
    ordered = worst_first(qualities)
    parts = [ordered[i : i + _PAGE] for i in range(0, len(ordered), _PAGE)] or [[]]
    files = [path.name, *(f"{path.stem}-{i}.html" for i in range(2, len(parts) + 1))]
    shown = {quality.scan_id: thumbnails[quality.scan_id]
             for quality in ordered if quality.scan_id in thumbnails}  # fmt: skip
    linked = len(ordered) > _MAX_EMBEDDED or sum(map(len, shown.values())) > _MAX_EMBEDDED_BYTES
    if linked:
        for scan_id, png in shown.items():
            atomic_write_bytes(path.parent / _thumbnail_file(scan_id), png)
    common: dict[str, Any] = {
        "linked": linked,
        "n_scans": len(ordered),
        "n_patients": len({quality.patient_id for quality in ordered}),
        "scores": _score_table(ordered),
        "colours": _COLOURS,
        "files": files,
    }
    for i, (file, part) in enumerate(zip(files, parts, strict=True)):
        text = render_page(
            "quality_index.html.jinja",
            styles=_STYLES,
            rows=[_index_row(quality, shown.get(quality.scan_id), linked) for quality in part],
            counts=[
                (state, sum(_state(quality) is state for quality in part)) for state in _STATES
            ],
            page=i,
            **common,
        )
        atomic_write_text(path.with_name(file), text)
    for left_over in path.parent.glob(f"{path.stem}-*.html"):
        if left_over.name not in files:
            left_over.unlink()


def _state(quality: ScanQuality) -> _State:
    key = "kept" if quality.verdict == "fail" and quality.kept else quality.verdict
    return next(state for state in _STATES if state.key == key)


def _reasons(quality: ScanQuality) -> list[str]:
    return [_sentence(reason) for reason in quality.reasons]


def _turn(quality: ScanQuality) -> str:
    """Return how content and header disagree, unless a reason says so."""
    return "" if any(quality.turn in reason for reason in quality.reasons) else quality.turn


def _thumbnail_file(scan_id: str) -> str:
    return f"thumbnails/{Path(page_name(scan_id)).stem}.png"


def _index_row(quality: ScanQuality, png: bytes | None, linked: bool) -> dict[str, Any]:
    picture = None if png is None else _picture(png, "")
    if picture is not None and linked:
        picture["source"] = _thumbnail_file(quality.scan_id)
    return {
        "quality": quality,
        "state": _state(quality),
        "file": page_name(quality.scan_id),
        "picture": picture,
        "reasons": _reasons(quality),
        "turn": _turn(quality),
    }


def _group(pictures: Mapping[str, bytes], prefix: str) -> dict[str, Any]:
    """Return the pictures of one volume; those of its first plane fill a row of the page."""
    shown = [
        _picture(png, name.removeprefix(prefix))
        for name, png in pictures.items()
        if name.startswith(prefix)
    ]
    planes = [picture["title"].partition(",")[0] for picture in shown]
    # As it came, a scan shows each plane once: all of them fill the row.
    n_first = planes.count(planes[0]) if planes else 0
    first = shown[:n_first] if n_first > 1 else shown
    return {"pictures": shown, "row": sum(picture["width"] for picture in first), "n": len(first)}


def _picture(png: bytes, title: str) -> dict[str, Any]:
    # A PNG file's size stands behind its signature and the head of its first chunk.
    width, height = struct.unpack(">II", png[16:24])
    return {"source": png_source(png), "title": title, "width": width, "height": height}


def _score_row(score: JudgedScore) -> dict[str, Any]:
    state = next(state for state in _STATES if state.key == score.verdict)
    return {
        "score": score,
        "title": _sentence(score.title),
        "state": state,
        "value": _value(score),
    }


def _value(score: JudgedScore) -> str:
    if score.value is None:
        return "not defined"
    text = f"{score.value:.3g}"
    if "e+" in text:  # from a thousand on three digits are written with an exponent
        text = f"{score.value:.0f}"
    return f"{text} {score.unit}".rstrip().replace("-", _MINUS)


def _score_table(qualities: Sequence[ScanQuality]) -> list[dict[str, Any]]:
    """Return every score once: meaning, thresholds, and how many scans it warns of and fails."""
    found: dict[str, list[JudgedScore]] = {}
    for quality in qualities:
        for score in quality.scores:
            found.setdefault(score.name, []).append(score)
    return [
        {
            "title": _sentence(scores[0].title),
            "meaning": scores[0].meaning,
            "thresholds": _common([score.thresholds for score in scores if score.thresholds]),
            "n_warn": sum(score.verdict == "warn" for score in scores),
            "n_fail": sum(score.verdict == "fail" for score in scores),
        }
        for scores in found.values()
    ]


def _common(thresholds: list[str]) -> str:
    """Return what thresholds say of every scan, without what they add for one."""
    parts = zip(*(text.split(", ") for text in thresholds), strict=False)
    return ", ".join(itertools.takewhile(bool, (one[0] * (len({*one}) == 1) for one in parts)))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
