"""The report for print: the same tree as a tagged PDF, set by typst without a system's fonts."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mri_transfer.core.files import atomic_write_bytes
from mri_transfer.report.blocks.cells import percent
from mri_transfer.report.blocks.document import (
    Block,
    Figure,
    Folded,
    PatientPanels,
    Picture,
    Row,
    Side,
    SliceSheet,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.blocks.wording import label_of, number
from mri_transfer.report.render.settings import Paper

__all__ = ["print_pages", "render_pdf", "render_summary", "write_pdf", "write_summary"]


_TEMPLATES = Path(__file__).with_name("templates")
_MAIN, _SUMMARY = "report.typ", "summary.typ"
#: Sizes of the summary's type, points, the largest first, and the pages that it may take.
_SUMMARY_SIZES = ("9.5", "9", "8.5", "8", "7.5", "7")
_SUMMARY_PAGES = 2
#: Accessible PDF, ISO 14289-1. It refuses text that no font can draw and pictures without words.
_STANDARD: Final = "ua-1"
#: The fonts in the wheel of typst are the only ones: another machine makes the same bytes.
_FONT = "Libertinus Serif"
#: How much larger the letters of a drawing may be set in that narrower font.
_LETTERS = 1.2
#: Format characters that text may hold; others could reorder or hide what is read.
_HARMLESS = frozenset("\u00ad\u200b\u200c\u200d\u2060")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def write_pdf(report: Report, path: Path, *, paper: Paper = "a4") -> None:
    """Write the report for print; the file appears whole or not at all.

    Parameters
    ----------
    report : Report
    path : Path
        Usually `report/report.pdf` of a run.
    paper : {'a4', 'us-letter'}
    """
    atomic_write_bytes(path, render_pdf(report, paper=paper))


def write_summary(report: Report, path: Path, *, paper: Paper = "a4") -> None:
    """Write the clinical summary for print; the file appears whole or not at all.

    Parameters
    ----------
    report : Report
    path : Path
        Usually `report/summary.pdf` of a run.
    paper : {'a4', 'us-letter'}
    """
    atomic_write_bytes(path, render_summary(report, paper=paper))


def render_pdf(report: Report, *, paper: Paper = "a4") -> bytes:
    """Return the report as a PDF: tagged (PDF/UA-1), with contents, page numbers and bookmarks.

    What a screen folds away is shown. Of the patients there is the table; their panels are in the
    page. Long tables of a figure's numbers stand at the end. Fonts are embedded, there is no date,
    nothing is fetched, and the same report gives the same bytes.

    Parameters
    ----------
    report : Report
        Its texts are data: none is read as markup. A character that the fonts cannot draw, or
        that cannot be seen, is shown by its number, such as `[U+5B57]`.
    paper : {'a4', 'us-letter'}

    Returns
    -------
    bytes
    """
    return _rendered(report, lambda root: _compiled(root, paper))


def render_summary(report: Report, *, paper: Paper = "a4") -> bytes:
    """Return the clinical summary of a report as a PDF of two pages, like `render_pdf`.

    Parameters
    ----------
    report : Report
        Its first screen and the sections of the layer `summary` are shown, in smaller type where
        they would need a third page. Texts beyond all measure take more pages.
    paper : {'a4', 'us-letter'}
    """
    shown = tuple(section for section in report.sections if section.layer == "summary")
    report = report.model_copy(update={"sections": shown})
    return _rendered(report, lambda root: _fitted(root, paper))


def _rendered(report: Report, compiled: Callable[[Path], bytes]) -> bytes:
    """Lay a report out in a folder and compile it there; again where a font lacks characters."""
    import typst

    sections = tuple(
        section.model_copy(update={"blocks": _for_print(section.blocks)})
        for section in report.sections
    )
    report = report.model_copy(update={"sections": sections})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _lay_out(report, root, undrawn=frozenset())
        try:
            return compiled(root)
        except typst.TypstError as error:
            if "could not be displayed" not in str(error):
                raise
        _lay_out(report, root, undrawn=_undrawn((root / "report.json").read_text("utf-8")))
        return compiled(root)


def _fitted(root: Path, paper: Paper) -> bytes:
    """Compile the summary in the largest type in which it needs two pages at most."""
    import typst

    for size in _SUMMARY_SIZES:
        inputs = {"paper": paper, "size": size}
        pages = typst.query(
            root / _SUMMARY, "<pages>", field="value", one=True, root=root, sys_inputs=inputs,
            ignore_system_fonts=True,
        )  # fmt: skip
        if int(pages) <= _SUMMARY_PAGES:
            break
    return _compiled(root, paper, _SUMMARY, size=size)


def print_pages(
    template: str, content: Mapping[str, Any], files: Mapping[str, bytes], *, paper: Paper = "a4"
) -> bytes:
    """Return other pages than the report's as a PDF, with the same fonts and rules.

    Parameters
    ----------
    template : str
        Name of a typst file among the report's templates; it reads `report.json` beside it.
    content : mapping
        JSON values. Texts are data, as in a report.
    files : mapping of str to bytes
        Pictures, by the names that the content has them under.
    paper : {'a4', 'us-letter'}
    """
    import typst

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _copy_templates(root)
        for name, data in files.items():
            (root / name).write_bytes(data)
        text = json.dumps(_visible_tree(content, frozenset()), ensure_ascii=False, allow_nan=False)
        (root / "report.json").write_text(text, encoding="utf-8")
        try:
            return _compiled(root, paper, template)
        except typst.TypstError as error:
            if "could not be displayed" not in str(error):
                raise
        shown = _visible_tree(content, _undrawn(text))
        text = json.dumps(shown, ensure_ascii=False, allow_nan=False)
        (root / "report.json").write_text(text, encoding="utf-8")
        return _compiled(root, paper, template)


def _copy_templates(root: Path) -> None:
    for template in _TEMPLATES.glob("*.typ"):
        shutil.copyfile(template, root / template.name)


def _compiled(root: Path, paper: Paper, main: str = _MAIN, **inputs: str) -> bytes:
    import typst

    found = typst.compile(
        root / main,
        root=root,
        sys_inputs={"paper": paper, **inputs},
        ignore_system_fonts=True,
        pdf_standards=[_STANDARD],
    )
    return bytes(found)


def _lay_out(report: Report, root: Path, *, undrawn: frozenset[str]) -> None:
    """Write templates, texts, drawings and pictures into one folder."""
    _copy_templates(root)
    shown = _visible_tree(report.plain(), undrawn)
    text = json.dumps(shown, ensure_ascii=False, allow_nan=False)
    (root / "report.json").write_text(text, encoding="utf-8")
    for section in report.sections:
        for block in _drawings(section.blocks):
            # The names that the template asks for.
            if isinstance(block, Picture):
                (root / f"picture-{block.sha256}").write_bytes(block.content)
            else:
                svg = _print_svg(block, undrawn)
                (root / f"figure-{block.svg_sha256}.svg").write_bytes(svg)


def _drawings(blocks: Sequence[Block]) -> Iterator[Figure | Picture]:
    for block in blocks:
        if isinstance(block, Figure | Picture):
            yield block
        elif isinstance(block, SliceSheet):
            yield from (one for one in (block.picture, block.overlay) if one is not None)
        elif isinstance(block, Folded | Side):
            yield from _drawings(block.blocks)


def _print_svg(figure: Figure, undrawn: frozenset[str]) -> bytes:
    """Return a drawing with the colours of paper and in the font of the print."""
    svg = re.sub(r"var\(--[\w-]+,\s*([^()]+|[^()]*\([^()]*\))\)", r"\1", figure.svg)
    svg = re.sub(r"var\(--[\w-]+\)", "#1f2a37", svg)
    svg = re.sub(r"(\bfont:[^;\"]*?[\d.]+(?:px|pt)?\s+)[^;\"]+", rf"\g<1>'{_FONT}'", svg)
    svg = re.sub(r"(\bfont-family:\s*)[^;\"]+", rf"\g<1>'{_FONT}'", svg)
    svg = re.sub(r"(\bfont-family=\")[^\"]+", rf"\g<1>{_FONT}", svg)
    size = r"(\bfont(?:-size)?(?::|=\")[^;\"]*?)([\d.]+)(?=px|pt|\")"
    svg = re.sub(size, lambda found: f"{found[1]}{_LETTERS * float(found[2]):g}", svg)
    return _visible(svg, undrawn).encode()


def _undrawn(text: str) -> frozenset[str]:
    """Return the characters of a text that no font of the print can draw."""
    import typst

    def drawn(character: str) -> bool:
        source = (
            '#set document(title: "probe", date: none)\n#set page(width: 40pt, height: 40pt)\n'
            f'#text(font: "{_FONT}", sys.inputs.character)'
        )
        try:
            compiler.compile(
                source.encode(), sys_inputs={"character": character}, pdf_standards=[_STANDARD]
            )
        except typst.TypstError:
            return False
        return True

    compiler = typst.Compiler(ignore_system_fonts=True)
    return frozenset(one for one in set(text) if not one.isascii() and not drawn(one))


def _visible_tree(value: Any, undrawn: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {_visible(key, undrawn): _visible_tree(one, undrawn) for key, one in value.items()}
    if isinstance(value, list):
        return [_visible_tree(one, undrawn) for one in value]
    return _visible(value, undrawn) if isinstance(value, str) else value


def _visible(text: str, undrawn: frozenset[str]) -> str:
    """Return a text in which nothing is hidden: what cannot be drawn is shown by its number."""
    if text.isascii() and text.isprintable():
        return text

    def shown(character: str) -> str:
        hidden = unicodedata.category(character) in _HIDDEN and character not in _HARMLESS
        plain = character in "\n\t" or not (hidden or character in undrawn)
        return character if plain else f"[U+{ord(character):04X}]"

    return "".join(map(shown, text))


def _for_print(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Return blocks in which the patients' panels are a table."""
    return tuple(printed for block in blocks for printed in _printed(block))


def _printed(block: Block) -> tuple[Block, ...]:
    if isinstance(block, PatientPanels):
        where = (
            "Each patient's slices, scores by repeat and nearest training patients are in the "
            "page (index.html) and in report.json, beside this file."
        )
        return _panel_table(block), Text(text=where, role="note")
    if isinstance(block, Folded | Side):
        return (block.model_copy(update={"blocks": _for_print(block.blocks)}),)
    return (block,)


def _panel_table(block: PatientPanels) -> Table:
    known = (name for panel in block.panels for name, value in panel.covariates.items() if value)
    names = list(dict.fromkeys(known))
    rows = [
        Row(
            panel.patient_id,
            (
                panel.label,
                number(panel.score, 2),
                f"{number(panel.score_low, 2)} to {number(panel.score_high, 2)}",
                f"{panel.called}\nthreshold {panel.threshold}" if panel.threshold else panel.called,
                percent(panel.share_right),
                "\n".join(one for one in (panel.quality, panel.quality_note) if one),
                *(panel.covariates.get(name, "") for name in names),
            ),
        )
        for panel in block.panels
    ]
    return Table(
        caption=block.caption,
        columns=(
            "Patient",
            "Label",
            "Score",
            "Over repeats",
            "Called",
            "Repeats classified correctly",
            "Quality",
            *map(label_of, names),
        ),
        rows=tuple(rows),
        wide=("Label", "Called", "Quality"),
    )
