"""The content of `explanation.json`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from mri_transfer.core.documents import Count, Document, OptionalText, Part, Share, absent
from mri_transfer.metrics.intervals import Estimate

__all__ = [
    "CurveFigure",
    "ExplanationDocument",
    "GroupRow",
    "Height",
    "Neighbours",
    "PixelAttributionRow",
    "SanityCheck",
    "Truth",
    "TruthFigure",
]

_SCHEMA: Literal["mri-transfer/explanation/2"] = "mri-transfer/explanation/2"
_Label = Annotated[str, Field(description="A label of the cohort.")]
_ByLabel = dict[_Label, Estimate]


class NeighbourAgreement(Part):
    """How many of the nearest training patients carry a patient's own label."""

    label: str
    """The patients' label."""
    n_patients: Count
    """Patients of the label."""
    share: Estimate
    """Share of the nearest with the same label."""
    by_chance: Share
    """The share to expect of patients drawn at random."""


class Neighbours(Part):
    """Nearest training patients by feature."""

    n: Count
    """How many are looked at for each patient."""
    agreement: tuple[NeighbourAgreement, ...]
    """By label."""


class MapSpace(Part):
    """Where maps lie."""

    name: str
    """Name of the space."""
    mni: bool
    """Whether it is that of the template."""
    turned: dict[Annotated[str, Field(description="How the head lies.")], Count]
    """Scans whose content lies otherwise than their header says."""


class GroupRow(Part):
    """The mean map of a group."""

    name: str
    """Stable name."""
    label: str
    """The group in words."""
    n_patients: Count
    """Patients in it."""
    file: str
    """File of the map."""
    viewer: str | None
    """Page that shows it; null without one."""
    lowest: float
    """Lowest value."""
    highest: float
    """Highest value."""


class Height(Part):
    """Mean part of one slice in the log-odds."""

    slice: Count
    """Number of the slice, from 0 at the lowest."""
    by_label: _ByLabel
    """By label."""


class Region(Part):
    """Mean part of one region in the log-odds."""

    region: str
    """Name of the region."""
    share: float | None
    """Its share of the head; null outside."""
    by_label: _ByLabel
    """By label."""


class StructureRow(Part):
    """How much of what speaks for the positive label lies in one structure."""

    structure: str
    """Name, as in the atlas."""
    share: float
    """Its share of the head, as far as the slices cover it."""
    by_label: _ByLabel
    """Share of the map's positive weight, mean over patients, by label."""


class Structures(Part):
    """Named structures of an atlas."""

    atlas: str | None
    """Where the atlas comes from, with its licence; null where no structure is named."""
    rows: tuple[StructureRow, ...]
    """That with the most weight in patients of the positive label first."""
    reason: OptionalText = None
    """Why no structure is named."""


class StructureShare(Part):
    """One structure in one patient's map."""

    structure: str
    """Name, as in the atlas."""
    share: float
    """Share of the map's positive weight."""


class SanityCheck(Part):
    """Whether maps can be believed."""

    check: str
    """Stable name."""
    what: str
    """What must hold."""
    expected: str
    """What is expected."""
    value: Estimate | bool | float | None
    """What was found."""
    passed: bool | None
    """Whether it holds; null where it could not be judged."""
    reason: OptionalText = None
    """Why it could not be judged."""


class MethodAgreement(Part):
    """How alike two methods are over patches of the head."""

    first: str
    """A method."""
    second: str
    """Another."""
    correlation: Estimate
    """Rank correlation, mean over patients."""


class CurveFigure(Part):
    """The area under a curve of covering or uncovering cells, in log-odds."""

    value: Estimate
    """In the order of the map."""
    random: Estimate
    """In orders drawn at random."""
    difference: Estimate
    """Of the two."""


class Faithfulness(Part):
    """Whether the cells that a kind of map puts first are those that the model reads."""

    method: str
    """The kind of map."""
    deletion: CurveFigure
    """While cells are covered; the difference of a faithful map is below 0."""
    insertion: CurveFigure
    """While cells are uncovered; the difference of a faithful map is above 0."""


class Contrast(Part):
    """Contrast maps of some scans, against healthy training patients."""

    scan_ids: tuple[str, ...]
    """The scans, in the order of the maps."""
    n_healthy: Count
    """Healthy patients who were compared with, each scan with those who trained its heads."""
    smoothing_mm: float
    """Standard deviation of the smoothing."""


class PixelAttributionRow(Part):
    """A patient whose pixels were attributed."""

    patient_id: str
    """Patient, as in the manifest."""
    scan_id: str
    """The scan."""
    label: str
    """The patient's label."""
    score: float
    """Mean score."""
    outcome: str
    """`correct` or `incorrect`: how most repeats called the patient."""
    slices: tuple[int, ...]
    """Slices that were attributed."""
    change: tuple[float, ...] = ()
    """What a mean slice in its place does to the log-odds, by slice."""
    missing: tuple[float, ...] = ()
    """What integrated gradients leave unexplained, by slice."""
    missing_share: float | None
    """The same as a share of the whole; null where nothing changes."""
    strongest_patch: float
    """Largest change of the log-odds by one patch."""
    structures: tuple[StructureShare, ...] = ()
    """The structures with the most of the map's positive weight, the first first."""


class TruthFigure(Part):
    """How well maps find what was planted."""

    value: Estimate
    """Of the maps."""
    chance: Estimate
    """Of the maps turned about."""
    difference: Estimate
    """Of the two."""


class TruthMethod(Part):
    """How well one method finds what was planted."""

    auc: TruthFigure
    """AUC of strength for planted cells."""
    pointing: TruthFigure
    """Whether the strongest cell is planted."""
    mass: TruthFigure
    """Share of all strength in planted cells."""
    group_auc: Estimate
    """AUC of the difference of the groups' mean maps."""


class Truth(Part):
    """Maps against what was planted in a made-up cohort."""

    planted_share: float
    """Share of a cell's volume from which it counts as planted."""
    label: str
    """The label of the patients in whom it was planted."""
    methods: dict[Annotated[str, Field(description="The method.")], TruthMethod]
    """By method."""


class ExplanationDocument(Document):
    """Attributions of a cohort, each scan by heads that had never seen its patient."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/explanation/2"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    positive_label: str
    """What speaks for the positive label is above 0."""
    labels: dict[_Label, Count]
    """Patients by label."""
    n_patients: Count
    """Patients."""
    n_repeats: Annotated[int, Field(ge=1)]
    """Repetitions of the cross-validation."""
    confidence: float
    """Of every interval."""
    settings: dict[str, JsonValue]
    """How explanations were made."""
    neighbours: Neighbours
    n_scans: Count
    """Scans with a map; 0 where maps were not asked for."""
    scan_ids: tuple[str, ...] = ()
    """The scans, in the order of the maps."""
    reason: OptionalText = None
    """Why there are no maps."""
    groups: tuple[GroupRow, ...] = ()
    """Mean maps of groups."""
    checks: tuple[SanityCheck, ...] = ()
    """Whether the maps can be believed."""
    map_shape: tuple[int, ...] | None = Field(default=None, exclude_if=absent)
    """Slices, rows and columns of a map."""
    space: MapSpace | None = Field(default=None, exclude_if=absent)
    """Where maps lie."""
    unit: OptionalText = None
    """Unit of the maps of groups."""
    grid_mm: float | None = Field(default=None, exclude_if=absent)
    """Spacing of the grid of groups, in millimetres."""
    grid_affine: tuple[tuple[float, ...], ...] | None = Field(default=None, exclude_if=absent)
    """Affine of that grid."""
    heights: tuple[Height, ...] | None = Field(default=None, exclude_if=absent)
    """Mean part of each slice in the log-odds."""
    regions: tuple[Region, ...] | None = Field(default=None, exclude_if=absent)
    """Mean part of each region in the log-odds."""
    structures: Structures | None = Field(default=None, exclude_if=absent)
    """Named structures."""
    agreement: tuple[MethodAgreement, ...] | None = Field(default=None, exclude_if=absent)
    """How alike the methods are."""
    contrast: Contrast | None = Field(default=None, exclude_if=absent)
    """Contrast maps; absent where nobody got them."""
    faithfulness: tuple[Faithfulness, ...] | None = Field(default=None, exclude_if=absent)
    """Deletion and insertion, by kind of map, of the patients whose pixels were attributed."""
    pixel_attribution: tuple[PixelAttributionRow, ...] | None = Field(
        default=None, exclude_if=absent
    )
    """Patients whose pixels were attributed."""
    truth: Truth | None = None
    """Maps against what was planted; null where the truth is not known."""
