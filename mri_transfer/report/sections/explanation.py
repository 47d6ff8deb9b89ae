"""Section `explanation`: where in the head scores come from, and whether that can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mri_transfer.explain import Explanation
from mri_transfer.explain.document import ExplanationDocument, GroupRow, Truth
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import figure, folded, how, missing, section_of
from mri_transfer.report.blocks.document import Block, Heading, Link, Picture, Section, Text
from mri_transfer.report.blocks.wording import estimate, number
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables import explanation_tables as tables

__all__ = ["explanation_section"]

_TITLE = "Maps: where in the head scores come from"
_PLANES = 12
_COLUMNS = 4


def explanation_section(inputs: ReportInputs) -> Section:
    """Return the maps of groups, their checks, the detailed views and the nearest patients.

    Parameters
    ----------
    inputs : ReportInputs
        `explanation` is shown; `stack_of` gives the slices of the detailed views.
    """
    found = inputs.explanation
    if found is None:
        return section_of(
            "explanation",
            _TITLE,
            missing(
                "Not computed in this run. Run the stage explain (mri-transfer explain RUN), "
                "then the report again."
            ),
            short="Maps",
        )
    document = found.document
    parts: tuple[Block | None, ...] = (
        tuple(_maps(inputs, found))
        if found.scan_ids
        else (missing(f"Maps are not shown: {document.reason or 'none were computed'}."),)
    )
    return section_of(
        "explanation",
        _TITLE,
        parts,
        Heading(text="Nearest training patients"),
        tables.neighbour_table(inputs, document),
        how(
            "For each patient, the training patients of the head that scored it whose features are "
            "most alike. Where no more of them carry the patient's label than by chance, any head "
            "on these features has a hard task. Names stand in the patients' panels."
        ),
        short="Maps",
    )


def _maps(inputs: ReportInputs, explanation: Explanation) -> Iterator[Block | None]:
    document = explanation.document
    positive = document.positive_label
    yield Text(text=_LIMITS_TEXT.format(positive=positive), role="fault")
    yield from (Text(text=text, role="finding") for text in _findings(inputs, document))
    yield Text(text=_METHODS_TEXT.format(positive=positive))
    yield Heading(text="Groups")
    yield from (_group_picture(inputs, explanation, group) for group in document.groups)
    yield how(f"{_how_groups(document)} {figures.convention_text(inputs.settings.orientation)}")
    yield _viewers(document)
    yield figure(
        "attribution-heights",
        figures.draw_attribution_heights(
            document.heights or (), labels=tables.labels_positive_first(document)
        ),
        "Part of each slice in the log-odds, mean of the patients of a label, against the average "
        "training patient; bands are intervals.",
        tables.height_table(inputs, document),
    )
    yield tables.region_table(inputs, document)
    yield how(_REGIONS_TEXT)
    yield from _structures(inputs, document)
    yield Heading(text="Can the maps be believed?")
    yield tables.check_table(inputs, document)
    yield how(_CHECKS_TEXT)
    truth = tables.truth_table(inputs, document)
    if truth is not None:
        yield Heading(text="Against the planted atrophy")
        yield truth
        yield how(_TRUTH_TEXT)
    yield from _close(inputs, explanation)


def _findings(inputs: ReportInputs, document: ExplanationDocument) -> Iterator[str]:
    confidence = inputs.evaluation.confidence
    judged = [check for check in document.checks if check.passed is not None]
    failed = [check.what for check in judged if not check.passed]
    if failed:
        yield (
            f"The maps fail {len(failed)} of {len(judged)} sanity checks and should not be relied "
            f"on. What does not hold: {'; '.join(failed)}."
        )
    else:
        yield f"The maps pass all {len(judged)} sanity checks that could be judged."
    truth = document.truth
    if truth:
        yield _truth_sentence(truth, confidence)
        if "contrast" in truth.methods:
            yield _contrast_sentence(truth, confidence)
    shown = _agreement(document, "maps")
    if shown and shown.value is not None:
        value = shown.value
        how_well = "weakly" if value < 0.3 else "in part" if value < 0.6 else "well"
        sentence = (
            "Covering a patch and looking at the score, which needs no gradient, agrees "
            f"{how_well} with the maps shown: rank correlation "
            f"{estimate(shown, confidence=confidence)} over the patches of the patients examined "
            "in detail"
        )
        raw = _agreement(document, "maps, not centred")
        if raw and raw.value is not None:
            before = number(raw.value, 2)
            sentence += f"; {before} before the training patients' mean is subtracted"
        yield f"{sentence}."


def _agreement(document: ExplanationDocument, method: str) -> Estimate | None:
    """Return how occlusion and another method agree."""
    for pair in document.agreement or []:
        if (pair.first, pair.second) == ("occlusion", method):
            return pair.correlation
    return None


def _truth_sentence(truth: Truth, confidence: float) -> str:
    """Say whether the maps find what was planted, and how well."""
    found = truth.methods["maps"]
    difference, value = found.auc.difference, found.auc.value
    low = difference.ci_low
    if value.value is None or low is None:
        return "Whether the maps find the planted atrophy is not defined here."
    text = estimate(value, confidence=confidence)
    if low <= 0:
        return (
            "The maps do not find the planted atrophy: the AUC of their strength for planted "
            f"places is {text}, no better than the same maps flipped."
        )
    how_well = "poorly" if value.value < 0.6 else "in part" if value.value < 0.8 else "well"
    return (
        f"The maps find the planted atrophy {how_well}: the AUC of their strength for planted "
        f"places is {text}, where 0.5 is guessing; it is higher than that of the same maps "
        f"flipped by {estimate(difference, confidence=confidence)}."
    )


def _contrast_sentence(truth: Truth, confidence: float) -> str:
    """Say what contrast maps find, beside both of their controls."""
    found, control = (truth.methods[name].auc for name in ("contrast", "contrast, randomised head"))
    text = (
        "Contrast maps, which compare with healthy training patients, reach an AUC of "
        f"{estimate(found.value, confidence=confidence)}; flipped, "
        f"{estimate(found.chance, confidence=confidence)}; by heads of permuted weights, "
        f"{estimate(control.value, confidence=confidence)}."
    )
    low = found.difference.ci_low
    if low is None or low > 0:
        return text
    return (
        f"{text} They have not been shown to find the planted places better than the same maps "
        "flipped, so that they may find no more than the middle of the head."
    )


def _group_picture(inputs: ReportInputs, explanation: Explanation, group: GroupRow) -> Picture:
    document = explanation.document
    affine = np.array(document.grid_affine, dtype=np.float64)
    background = explanation.groups["background"]
    # The grid's ends may lie just outside of the slices.
    heights_used = np.flatnonzero(background.any(axis=(0, 1)))
    low, high = (int(heights_used[0]), int(heights_used[-1]) + 1) if len(heights_used) else (0, 1)
    affine[:3, 3] += low * affine[:3, 2]
    values = explanation.groups[group.name][:, :, low:high]
    planes, z_mm = figures.axial_planes(values, affine, n=_PLANES)
    grey, _ = figures.axial_planes(background[:, :, low:high], affine, n=_PLANES)
    own = [one for one in document.groups if one.name != "difference"]
    # One scale for all labels, so that they can be compared; the difference has its own.
    shown = [group.name] if group.name == "difference" else [one.name for one in own]
    limit = max(figures.attribution_limit(explanation.groups[name]) for name in shown)
    positive = document.positive_label
    return Picture(
        name=f"attribution-{group.name.replace('_', '-')}",
        content=figures.attribution_png(
            grey,
            planes,
            limits=[limit] * len(planes),
            z_mm=z_mm,
            orientation=inputs.settings.orientation,
            columns=_COLUMNS,
        ),
        media_type="image/png",
        alt=f"Axial planes of the mean scan, coloured where the model found evidence: "
        f"{group.label}, {group.n_patients} patients.",
        caption=f"{group.label} ({group.n_patients} patients). Orange speaks for {positive}, "
        f"blue against, in {document.unit}.",
        numbers=(table,) if (table := tables.group_table(document)) else (),
        wide=True,
    )


def _how_groups(document: ExplanationDocument) -> str:
    space = document.space
    assert space is not None  # with maps
    if space.mni:
        text = (
            "The scans lie in MNI space; the picture is their mean, with heights z of that space."
        )
    else:
        text = (
            "The scans came ready, so positions are those of their own headers, and the picture is "
            "the cohort's own mean."
        )
    for fault, n in space.turned.items():
        text += f" In {n} scans the orientation differs from the header: {fault}."
    return text


def _structures(inputs: ReportInputs, document: ExplanationDocument) -> Iterator[Block | None]:
    """Yield the named structures, or why none is named."""
    found = document.structures
    if found is None:
        return
    yield Heading(text="Named structures")
    if found.atlas is None:
        yield missing(f"No structure is named: {found.reason}.")
        return
    yield tables.structure_table(inputs, document)
    yield how(_STRUCTURES_TEXT.format(atlas=found.atlas))


def _viewers(document: ExplanationDocument) -> Text | None:
    links = tuple(
        Link(text=str(group.label), target=f"../explanations/{group.viewer}")
        for group in document.groups
        if group.viewer
    )
    if not links:
        return None
    text = "To view the maps in all three planes (left on the left), open a viewer:"
    return Text(text=text, links=links)


def _close(inputs: ReportInputs, explanation: Explanation) -> Iterator[Block | None]:
    document = explanation.document
    table = tables.close_table(document)
    yield Heading(text="A few patients in detail")
    if table is None:
        yield missing("No patient was examined in detail (explanation.close_patients = 0).")
        return
    yield table
    yield from _close_pictures(inputs, explanation)
    yield how(_CLOSE_TEXT)
    faithfulness = tables.faithfulness_table(inputs, document)
    if faithfulness is not None:
        yield faithfulness
        yield how(_FAITHFULNESS_TEXT)
    yield folded("Agreement of the methods", tables.agreement_table(inputs, document))


def _close_pictures(inputs: ReportInputs, explanation: Explanation) -> Iterator[Block]:
    if inputs.stack_of is None:
        yield missing("The detailed views are not drawn: the slices are not at hand.")
        return
    for n, patient in enumerate(explanation.document.pixel_attribution or ()):
        stack = inputs.stack_of(patient.scan_id)
        pixels = stack.pixels[list(patient.slices)].astype(np.float32)
        maps = explanation.maps[explanation.scan_ids.index(patient.scan_id)][list(patient.slices)]
        contrast = _contrast_of(explanation, patient.scan_id)
        rows = [
            maps,
            *([] if contrast is None else [contrast[list(patient.slices)]]),
            _blurred(explanation.pixel_attribution[f"gradients {n}"]),
            explanation.pixel_attribution[f"occlusion {n}"],
        ]
        z_mm = [float(z) for z in stack.z_mm[list(patient.slices)]]
        content = _sheet(pixels, rows, z_mm=z_mm, orientation=inputs.settings.orientation)
        yield Picture(
            name=f"attribution-close-{n}",
            content=content,
            media_type="image/png",
            alt=f"{len(pixels)} slices of {patient.patient_id}, with the maps, integrated "
            "gradients and occlusion over them.",
            caption=f"{patient.patient_id}, labelled {patient.label}, called "
            f"{patient.outcome}ly. From above: the maps, "
            f"{'' if contrast is None else 'the contrast map, '}integrated gradients, "
            "occlusion, each row with its own scale, in log-odds"
            f"{'' if contrast is None else '; the contrast map in standard deviations'}.",
        )


def _contrast_of(explanation: Explanation, scan_id: str) -> np.ndarray[Any, Any] | None:
    found = explanation.document.contrast
    if found is None or explanation.contrast is None or scan_id not in found.scan_ids:
        return None
    return np.asarray(explanation.contrast[found.scan_ids.index(scan_id)])


def _sheet(
    pixels: np.ndarray[Any, Any],
    rows: Sequence[np.ndarray[Any, Any]],
    *,
    z_mm: Sequence[float],
    orientation: figures.Orientation,
) -> bytes:
    """Return the slices once for each method, its attribution over them."""
    shape = (len(pixels), *rows[-2].shape[1:])
    fitted = []
    for one in rows:
        at = [np.arange(shape[axis]) * one.shape[axis] // shape[axis] for axis in (1, 2)]
        fitted.append(one[:, at[0]][:, :, at[1]])
    limits = [figures.attribution_limit(one) for one in rows for _ in pixels]
    return figures.attribution_png(
        np.concatenate([pixels] * len(rows)),
        np.concatenate(fitted),
        limits=limits,
        z_mm=[*z_mm] * len(rows),
        orientation=orientation,
        columns=len(pixels),
        tile_px=128,
    )


def _blurred(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Sum pixels into blocks, which the eye can follow where single ones look like noise."""
    block = max(1, values.shape[1] // 28)
    rows, columns = (extent // block for extent in values.shape[1:])
    cut = values[:, : rows * block, : columns * block]
    found: np.ndarray[Any, Any] = cut.reshape(len(cut), rows, block, columns, block).sum((2, 4))
    return found


_METHODS_TEXT = (
    "A map splits what the model says of a patient over the places of the slices: the gradient of "
    "the log-odds of {positive} times the activation, place by place, in the last layer of the "
    "trunk that is used. From it the same of the average training patient is subtracted, so that "
    "a map shows how this patient differs. Every patient is explained by heads that had not seen "
    "the patient, and maps are averaged over the repeats."
)
_REGIONS_TEXT = (
    "Thirds are of the head by the header's axes. A place of a map is some 15 mm wide and sees "
    "further than that, so that small structures share their places with their neighbours. What "
    "lies outside the head is the model reading the outline."
)
_STRUCTURES_TEXT = (
    "Atlas: {atlas}. A place of a map counts for each structure by the share of it that lies "
    "there, in the anatomy of the template: a patient's own anatomy differs, and a place is wider "
    "than many structures. A structure stands out where its share of the weight exceeds its share "
    "of the head."
)
_FAITHFULNESS_TEXT = (
    "Cells are covered in a map's order, that which speaks most for the positive label first, with "
    "the grey of occlusion; in a faithful map the log-odds fall faster than in a random order "
    "(deletion), and rise faster while cells are uncovered (insertion). The random order is the "
    "mean of two. A map that locates well need not be the most faithful: the two are shown beside "
    "each other, not joined."
)
_CHECKS_TEXT = (
    "If randomising the model leaves a map unchanged, the map shows the image and not the model "
    "(Adebayo et al. 2018). Correlations are Spearman's over the places in the head. Heads of "
    "different repeats share most of their training patients, so their agreement is that of one "
    "cohort with itself."
)
_TRUTH_TEXT = (
    "This cohort is synthetic: it is known where tissue was made to shrink. The fifth of the head "
    "that changes most counts as planted. Chance is the same map flipped front to back, upside "
    "down, and both. A model need not use all that was planted to tell the labels apart."
)
_CLOSE_TEXT = (
    "Integrated gradients follow each slice from an even grey within its outline to what it is; "
    "what they leave unexplained is in the table. Occlusion covers a patch with that grey and "
    "looks at the score: it needs no gradient and shares no assumption with the other two. The "
    "three compare with different things (the average training patient, an even slice, a covered "
    "patch), so they need not agree in full."
)
_LIMITS_TEXT = (
    "What the maps cannot show: where disease is, whether a place would matter to another model, "
    "or that the model is right. They show what moved this model's log-odds of {positive}, also "
    "where position, brightness or the outline of the head misled it."
)
