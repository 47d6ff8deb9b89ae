"""The example in `reports/`: made of a finished run of the demo, and compared with a fresh one.

Figures differ in their last digits between processors, so that a comparison of bytes would fail
where nothing is wrong. Compared is what a reader finds: sections, headings, captions, columns and
rows' heads, with digits masked, and the style and the script of the page.
"""

from __future__ import annotations

import difflib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mri_transfer.report.blocks.report import Report

EXAMPLE = Path(__file__).resolve().parents[1] / "reports" / "demo"
FILES = ("index.html", "report.json", "model_card.md", "data_sheet.md")
#: What depends on the machine and the day, or on which patient is the worst.
_PASSED_OVER = {"reproducibility", "patients", "failures"}
_NAMED = ("id", "title", "short", "caption", "columns", "name", "type")


def write(run: Path) -> None:
    """Copy the demo's report into `reports/`."""
    EXAMPLE.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(run / "report" / name, EXAMPLE / name)


def check(run: Path) -> int:
    """Say what the example shows otherwise than a fresh run does; return 1 if anything."""
    faults = []
    for kept, fresh in (
        (_structure(EXAMPLE), _structure(run / "report")),
        (_clothes(EXAMPLE), _clothes(run / "report")),
    ):
        faults += list(difflib.unified_diff(kept, fresh, "reports/demo", "fresh run", lineterm=""))
    if faults:
        sys.stderr.write("\n".join(faults[:60]))
        sys.stderr.write("\nThe example in reports/demo is out of date: run 'make example'\n")
    return 1 if faults else 0


def _structure(folder: Path) -> list[str]:
    document = Report.read(folder / "report.json", stage="report").plain()
    return [
        line
        for section in document["sections"]
        for line in (_lines(section) if section["id"] not in _PASSED_OVER else [section["id"]])
    ]


def _lines(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        named = [f"{key}={node[key]}" for key in _NAMED if key in node]
        if named:
            yield re.sub(r"\d+", "#", "; ".join(named))
        for key, child in node.items():
            if key not in _NAMED:
                yield from _lines(child)
    elif isinstance(node, list):
        for child in node:
            yield from _lines(child)


def _clothes(folder: Path) -> list[str]:
    page = (folder / "index.html").read_text(encoding="utf-8")
    parts = re.findall(r"<(?:style|script)\b[^>]*>(.*?)</(?:style|script)>", page, re.DOTALL)
    return [line for part in parts for line in part.splitlines()]


if __name__ == "__main__":
    what, folder = sys.argv[1:]
    sys.exit(check(Path(folder)) if what == "check" else write(Path(folder)))
