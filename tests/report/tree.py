"""A made-up report with every kind of block, and with texts that mean to do harm."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import get_args, get_type_hints

from mri_transfer.report.blocks.document import (
    Block,
    Bullets,
    Confusion,
    Facts,
    Figure,
    Folded,
    Heading,
    Link,
    PatientPanel,
    PatientPanels,
    Picture,
    Row,
    Section,
    Side,
    SliceSheet,
    Table,
    Text,
)
from mri_transfer.report.blocks.report import Banner, Front, KeyFigure, Report

#: What typst, HTML and a file system would read as more than text.
HOSTILE = '<script>x()</script> #panic("no") $x^2$ @ref *b* _i_ `r` [c] \\u{41} ../../x'
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 331 200" role="img" '
    'aria-labelledby="f-title"><title id="f-title">Two &lt;lines&gt; that cross</title>'
    '<path d="M 10 10 L 300 180" style="stroke: var(--positive, #c2540a); fill: none"/>'
    '<rect x="5" y="5" width="40" height="30" fill="rgb(var(--right, 11 106 168))"/>'
    '<text x="20" y="190" style="font: 9.5px system-ui, \'DejaVu Sans\', sans-serif; '
    'fill: var(--ink, #1f2a37)">drawn words</text></svg>'
)


def make_table(caption: str, n_rows: int = 3, n_columns: int = 4, **more: object) -> Table:
    """Return a table whose cells name their place."""
    rows = [
        Row(f"r{i}", tuple(f"{i}.{j}\nin small type" for j in range(1, n_columns)))
        for i in range(n_rows)
    ]
    columns = tuple(f"column {j}" for j in range(n_columns))
    return Table(caption=caption, columns=columns, rows=tuple(rows), **more)  # type: ignore[arg-type]


def make_figure(name: str = "crossing", n_rows: int = 40, *, wide: bool = False) -> Figure:
    """Return a figure with numbers."""
    numbers = (make_table(f"Numbers of {name}", n_rows, 2),)
    return Figure(name=name, svg=SVG, caption=f"Caption of {name}", numbers=numbers, wide=wide)


def make_picture(name: str = "shot", shade: int = 90) -> Picture:
    """Return a small grey picture."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (32, 16), (shade, shade, shade)).save(stream, format="PNG")
    return Picture(
        name=name, content=stream.getvalue(), media_type="image/png",
        alt=f"Grey {name}", caption=f"Caption of {name}",
    )  # fmt: skip


def make_sheet() -> SliceSheet:
    """Return a sheet of two slices, one of them without a score."""
    return SliceSheet(
        picture=make_picture("slices"), overlay=make_picture("overlay", 200), columns=2,
        n_slices=2, z_mm=(-4.0, 1.5), scores=(0.25, None), limit=0.02, attributions=(-0.125, 0.5),
    )  # fmt: skip


def make_panel(patient_id: str, blocks: Sequence[Block] = ()) -> PatientPanel:
    """Return the panel of a patient."""
    return PatientPanel(
        patient_id=patient_id, label="AD", score=0.625, score_low=0.5, score_high=0.75,
        called="AD", threshold="0.47 to 0.58", share_right=1.0, ventricles=0.93,
        covariates={"age": "71", "site": ""}, quality="warn", quality_note="turned",
        blocks=tuple(blocks),
    )  # fmt: skip


def every_block() -> tuple[Block, ...]:
    """Return a block of each kind, some inside others."""
    roles = get_args(get_type_hints(Text)["role"])
    texts = [Text(text=f"Text as {role}", role=role) for role in roles]
    return (
        *texts,
        Text(text="See", links=(Link(text="the end", target="#end"),
                                Link(text="the scans", target="../quality/index.html"))),
        Bullets(items=("point one", "point two")),
        Bullets(items=("mri-transfer run --out RUN",), role="commands"),
        Heading(text="A heading", pill="not the answer"),
        Facts(title="Settings", content={
            "seed": 7, "weights": "a" * 64, "nested": {"list": [1, 2.5], "none": None, "yes": True},
            "records": [{"x": 1}], "limit": float("inf"),
        }),
        make_table("An ordinary table", wide=("column 2",)),
        Side(blocks=(make_figure("left"), make_figure("right", 3))),
        make_figure("broad", wide=True),
        make_picture(),
        make_sheet(),
        Confusion(caption="Calls", labels=("CN", "AD"), counts=((7, 3), (3, 7)),
                  shares=((0.7, 0.3), (0.25, 0.75))),
        Folded(title="A fold", blocks=(Heading(text="Inside"), make_table("Folded table"))),
        PatientPanels(caption="Every patient", labels=("CN", "AD"), panels=(
            make_panel(HOSTILE, [make_sheet(), make_table("Scores by repeat")]), make_panel("p2"),
        )),
    )  # fmt: skip


def make_report(*blocks: Block, title: str = "AD against CN from T1 brain MRI") -> Report:
    """Return a report of a section with these blocks, and one at the end."""
    front = Front(
        answer="The AUC is 0.79 (95\u00a0% CI 0.71 to 0.85).", comparison="Baseline 0.75.",
        studied="Slices of T1 scans.", on_whom="140 patients.",
        key_figures=(KeyFigure(title="AUC", value="0.79", note="0.71 to 0.85"),),
        top_caveats=("Small cohort.", "One site.", "Ages differ."), other_caveats=("A fourth.",),
        banners=(Banner(role="synthetic", title="Synthetic cohort.", text="Grown by software.",
                        items=("no patient",), link=Link(text="Data", target="#end")),),
    )  # fmt: skip
    sections = (
        Section(id="first", title="First section", short="First", blocks=blocks),
        Section(id="end", title="End of it", short="End", blocks=(Text(text="Done."),)),
    )
    return Report(
        title=title, confidence=0.95, front=front, sections=sections, made_by="mri-transfer 9.9"
    )
