"""What the page's template shows of each block: texts, addresses of files, ids, names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from mri_transfer.errors import RunFolderError
from mri_transfer.report.blocks.document import (
    Block,
    Bullets,
    Confusion,
    Facts,
    Figure,
    Folded,
    Heading,
    Link,
    PatientPanels,
    Picture,
    Section,
    Side,
    SliceSheet,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Banner, Front
from mri_transfer.report.render.downloads import (
    FileNames,
    confusion_table,
    csv_bytes,
    data_source,
    standalone_svg,
)
from mri_transfer.report.render.panel_views import (
    panels_table,
    patient_rows,
    sheet_table,
    sheet_view,
)

__all__ = ["Views"]

View = dict[str, Any]

#: More columns than this are set in smaller type.
_DENSE_COLUMNS = 6


class Views:
    """Turns blocks into what the template shows; hands out ids and file names, each once."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._files = FileNames()
        self._place = "report"

    def front(self, front: Front) -> View:
        """Return the first screen."""
        return {"front": front, "banners": [self._banner(banner) for banner in front.banners]}

    def section(self, section: Section) -> View:
        """Return a section with its blocks; one that shows nothing is told in a line."""
        self._place = section.id
        empty = all(isinstance(block, Text) and block.role == "missing" for block in section.blocks)
        return {"section": section, "blocks": self._blocks(section.blocks), "empty": empty}

    def _banner(self, banner: Banner) -> View:
        return {"banner": banner, "links": _links([banner.link] if banner.link else [])}

    def _blocks(self, blocks: Sequence[Block]) -> list[View]:
        return [self._block(block) for block in blocks]

    def _block(self, block: Block) -> View:
        kind = type(block).__name__.lower()
        return {"kind": kind, "block": block, "id": f"block-{next(self._ids)}", **self._more(block)}

    def _more(self, block: Block) -> View:
        """Return what the template needs beside the block itself."""
        match block:
            case Text():
                return {"links": _links(block.links)}
            case Folded() | Side():
                return {"blocks": self._blocks(block.blocks)}
            case Table():
                return {**_table(block), "files": [self._csv(block)]}
            case Figure():
                return self._figure(block)
            case Picture():
                return {**self._numbers(block.name, block.numbers), **_picture(block)}
            case SliceSheet():
                return {**sheet_view(block), "files": [self._csv(sheet_table(block))]}
            case Confusion():
                return {"rows": _confusion(block), "files": [self._csv(confusion_table(block))]}
            case PatientPanels():
                return self._patients(block)
            case Bullets() | Heading() | Facts():
                return {}

    def _figure(self, figure: Figure) -> View:
        from markupsafe import Markup

        # Our own SVG: its texts were escaped when it was drawn.
        view = {"svg": Markup(figure.svg), **self._numbers(figure.name, figure.numbers)}
        drawing = data_source(standalone_svg(figure), "image/svg+xml")
        name = self._files.give(figure.name, "svg")
        file = {"text": "SVG", "name": name, "source": drawing, "what": figure.caption}
        return {**view, "files": [file, *view["files"]]}

    def _numbers(self, stem: str, tables: Sequence[Table]) -> View:
        """Return the tables that a figure unfolds, and their files."""
        named = [table.model_copy(update={"name": table.name or stem}) for table in tables]
        files = [self._csv(table) for table in named]
        for number, file in enumerate(files, 1):
            file["text"] = f"CSV {number}" if len(files) > 1 else "CSV"
        return {"tables": [_table(table) for table in tables], "files": files}

    def _csv(self, table: Table) -> View:
        name = self._files.give(table.name or f"{self._place}-table", "csv")
        source = data_source(csv_bytes(table), "text/csv;charset=utf-8")
        return {"text": "CSV", "name": name, "source": source, "what": table.caption}

    def _patients(self, block: PatientPanels) -> View:
        columns, rows = patient_rows(block)
        for row, panel in zip(rows, block.panels, strict=True):
            row["blocks"] = self._blocks(panel.blocks)
        return {
            "covariates": columns,
            "ventricles": any(panel.ventricles is not None for panel in block.panels),
            "rows": rows,
            "qualities": sorted({panel.quality for panel in block.panels if panel.quality}),
            "overlays": any(
                isinstance(inner, SliceSheet) and inner.overlay is not None
                for panel in block.panels
                for inner in panel.blocks
            ),
            "files": [self._csv(panels_table(block))],
        }


def _table(table: Table) -> View:
    return {"table": table, "dense": len(table.columns) > _DENSE_COLUMNS}


def _picture(picture: Picture) -> View:
    return {"source": data_source(picture.content, picture.media_type)}


def _confusion(block: Confusion) -> list[View]:
    """Return the rows; each cell with its share of the row, for the depth of its colour."""
    rows = []
    table = confusion_table(block)
    for i, (row, shares) in enumerate(zip(table.rows, block.shares, strict=True)):
        cells = [
            {"text": text, "share": f"{share:.3f}", "right": i == j}
            for j, (text, share) in enumerate(zip(row.cells[:-1], shares, strict=True))
        ]
        rows.append({"label": row.head, "cells": cells, "total": row.cells[-1]})
    return rows


def _links(links: Sequence[Link]) -> list[Link]:
    for link in links:
        # A scheme or a host would leave the report; a script would run in it.
        if not re.fullmatch(r"#[\w-]+|(?!//)[^:\\\s]+", link.target):
            raise RunFolderError(
                "a link that leaves the report",
                where=link.text,
                found=link.target,
                expected="'#' and the id of a section, or the relative path of a file",
            )
    return list(links)
