"""What the documentation promises: links that lead somewhere, messages that exist, brevity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Pages that the builder writes.
GENERATED = {"docs/reference/settings.md", "docs/reference/commands.md"}
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if not page.is_relative_to(ROOT / "docs" / "_build")
    and page.relative_to(ROOT).as_posix() not in GENERATED
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in LINK.findall(text):
        if re.match(r"\w+://|#|mailto:", target):
            continue
        file = (page.parent / target.split("#")[0]).resolve()
        assert file.exists() or file.relative_to(ROOT).as_posix() in GENERATED, target


def test_messages_of_the_faq_are_those_of_the_code() -> None:
    faq = (ROOT / "docs" / "guide" / "faq.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\*\*`([^`]+)`\*\*$", faq, re.MULTILINE)
    assert len(messages) >= 8
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for folder in ("mri_transfer", "pipelines")
        for file in (ROOT / folder).rglob("*.py")
    )
    assert [message for message in messages if message not in code] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_tutorials_are_listed() -> None:
    folder = ROOT / "docs" / "tutorials"
    index = (folder / "index.md").read_text(encoding="utf-8")
    for page in folder.glob("[0-9]*.md"):
        assert f"\n{page.stem}\n" in index
        assert f"<{page.stem}.ipynb>" in index
