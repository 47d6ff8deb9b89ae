"""What the network makes of one slice: feature maps by stage, filters that training changed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mri_transfer.explain import FeatureMaps
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import how, joined, missing
from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.document import Block, Heading, Picture
from mri_transfer.report.blocks.wording import plain_decimal
from mri_transfer.report.inputs import ReportInputs

__all__ = ["feature_map_blocks"]

_HOW = (
    "Each tile is one channel, scaled to its own darkest and brightest place. The channels shown "
    "are those with the largest mean activation inside the head; first stages show edges and "
    "outlines, later ones coarse places where a pattern is found. One slice is an example and "
    "proves nothing."
)


def feature_map_blocks(inputs: ReportInputs) -> tuple[Block, ...]:
    """Return the feature maps of one slice with their heading, or why there are none."""
    heading = Heading(text="What the network makes of a slice")
    found = inputs.feature_maps
    if found is None:
        return (
            heading,
            missing(
                "Feature maps are not shown: they are made by the stage explain, unless "
                "explanation.maps = false."
            ),
        )
    return joined(heading, _maps(inputs, found), how(_HOW), _filters(inputs, found))


def _maps(inputs: ReportInputs, found: FeatureMaps) -> Picture:
    document = found.document
    rows: list[tuple[tuple[str, ...], npt.NDArray[np.uint8]]] = [
        (("slice", f"z = {document.z_mm:.0f} mm"), found.slice[None])
    ]
    for stage, maps in zip(document.stages, found.stages, strict=True):
        # The font of pictures has no sign of multiplication.
        size = (f"{stage.n_channels} channels", f"of {stage.rows} x {stage.columns}")
        rows.append(((stage.name.replace("_", ", "), *size), maps))
    if found.untuned is not None:
        last = document.stages[-1].name.replace("_", ", ")
        tuned = ((*rows[-1][0], "after tuning"), rows[-1][1])
        rows[-1:] = [((last, "before tuning"), found.untuned), tuned]
    return Picture(
        name="feature-maps",
        content=figures.feature_sheet(rows, orientation=inputs.settings.orientation),
        media_type="image/png",
        alt=f"One slice and, below it, the strongest channels of {len(document.stages)} stages.",
        caption=_caption(document.tuned, found),
        numbers=(_channel_table(found),),
        wide=True,
    )


def _caption(tuned: bool, found: FeatureMaps) -> str:
    document = found.document
    whose = (
        f"The middle slice of {document.patient_id} ({document.label}) in the network of repeat "
        f"{document.repeat}, fold {document.fold}, which had not seen the patient"
    )
    if not tuned:
        return f"{whose}. The trunk is frozen, so that every fold sees the same."
    return (
        f"{whose}. The last stage is shown before and after tuning, both on one scale a channel"
        + ("." if not _unchanged(found) else "; the fold's inner folds left it as it was.")
    )


def _unchanged(found: FeatureMaps) -> bool:
    return found.untuned is not None and np.array_equal(found.untuned, found.stages[-1])


def _channel_table(found: FeatureMaps) -> Table:
    return Table(
        name="feature-map-channels",
        caption="Channels shown, numbered from 0 in the stage's order",
        columns=("Stage", "Channels"),
        rows=tuple(
            Row(stage.name.replace("_", ", "), (", ".join(map(str, stage.channels)),))
            for stage in found.document.stages
        ),
        wide=("Channels",),
    )


def _filters(inputs: ReportInputs, found: FeatureMaps) -> Picture | None:
    """Return the first filters before and after; nothing where training did not change them."""
    if found.filters is None:
        return None
    before, after = _grey(found.filters)
    (change,) = _grey(found.filters[1:] - found.filters[:1])
    moved = np.linalg.norm(found.filters[1] - found.filters[0]) / np.linalg.norm(found.filters[0])
    return Picture(
        name="first-filters",
        content=figures.feature_sheet(
            [
                (("before tuning",), before),
                (("after tuning",), after),
                (("the change,", "magnified"), change),
            ],
            orientation=inputs.settings.orientation,
            tile_px=48,
        ),
        media_type="image/png",
        alt=f"{len(before)} filters of the first layer before and after tuning.",
        caption=f"What the first layer does to a grey slice: the {len(before)} filters that tuning "
        f"changed most, by {plain_decimal(100 * float(moved))} percent of their length. "
        "Mid-grey is zero.",
        wide=True,
    )


def _grey(filters: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return filters as grey values; zero is in the middle, a filter's rows share a scale."""
    limit = np.abs(filters).max(axis=(0, 2, 3), keepdims=True)
    share = filters / np.where(limit > 0, limit, 1)
    return np.rint(127.5 * (1 + share)).astype(np.uint8)
