"""The commands `mri-transfer manifest KIND`: from a cohort's files to a manifest.

Nothing heavy is imported before a command runs, so that `--help` is fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pipelines.commands.manifest_options import (
    DEFAULT_MANIFEST,
    MAPPING,
    CapsLabels,
    ClinicalTable,
    EntityFilter,
    ImagesFolder,
    ImageSpace,
    KnownLabels,
    LabelColumn,
    OutManifest,
    PadIds,
    PatientLabels,
    PhenotypeTables,
    SaltFile,
    Selection,
    SeriesPattern,
    TablesFolder,
    VolumeKind,
)
from pipelines.console import open_console

if TYPE_CHECKING:
    from mri_transfer.cohorts.readers.oasis1.reader import Oasis1Selection, Oasis1Volume
    from mri_transfer.cohorts.readers.reading import CohortReading

__all__ = ["chosen_labels", "manifest_app"]

manifest_app = typer.Typer(
    help="Create a manifest (one row per scan) from a cohort's files.", no_args_is_help=True
)


@manifest_app.command("bids")
def manifest_bids(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of the BIDS data set.")],
    out: OutManifest = DEFAULT_MANIFEST,
    label_column: LabelColumn = None,
    label: KnownLabels = None,
    filter_: EntityFilter = None,
    suffix: Annotated[str, typer.Option(metavar="NAME", help="Suffix of the images.")] = "T1w",
    space: ImageSpace = None,
    phenotype: PhenotypeTables = None,
    tables: TablesFolder = None,
    pad_ids: PadIds = False,
) -> None:
    """Read the images and tables of a BIDS data set."""
    from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort

    filters: dict[str, list[str]] = {}
    for entity, value in _pairs(filter_, "--filter", "ENTITY=VALUE", may_be_empty=True):
        filters.setdefault(entity, []).append(value)
    reading = read_bids_cohort(
        source,
        label_column=label_column,
        suffix=suffix,
        labels=chosen_labels(label),
        filters=filters or None,
        space=space,
        phenotypes=phenotype or None,
        tables=tables,
        pad_ids=pad_ids,
    )
    _write_manifest(reading, out)


@manifest_app.command("oasis1")
def manifest_oasis1(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="Folder with the OASIS-1 discs, or one disc."),
    ],
    out: OutManifest = DEFAULT_MANIFEST,
    images: ImagesFolder = None,
    clinical: ClinicalTable = None,
    mapping: Annotated[str, MAPPING] = "oasis1",
    volume: VolumeKind = "t88_masked",
    selection: Selection = "all",
    min_age: Annotated[
        float | None, typer.Option(min=0, metavar="YEARS", help="Minimum age.")
    ] = None,
    max_age: Annotated[
        float | None, typer.Option(min=0, metavar="YEARS", help="Maximum age.")
    ] = None,
) -> None:
    """Read the discs of OASIS-1, and convert its Analyze volumes to NIfTI.

    CDR above 0 is AD, CDR 0 is CN; a blank CDR (not assessed) gives no label.
    """
    from mri_transfer.cohorts.readers.oasis1.reader import read_oasis1_cohort
    from pipelines.reporters import reporter_for

    reading = read_oasis1_cohort(
        source,
        images=_images_folder(images, out),
        clinical=clinical,
        mapping=mapping,
        volume=cast("Oasis1Volume", volume),  # checked by the reader
        selection=cast("Oasis1Selection", selection),
        min_age=min_age,
        max_age=max_age,
        progress=reporter_for(open_console()).counter("converting volumes"),
    )
    _write_manifest(reading, out)


@manifest_app.command("caps")
def manifest_caps(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="CAPS folder, which contains subjects/.")
    ],
    out: OutManifest = DEFAULT_MANIFEST,
    labels: CapsLabels = None,
    label_column: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column with the label.")
    ] = "diagnosis",
    cropped: Annotated[
        bool,
        typer.Option("--cropped/--uncropped", help="Which image of each session to use."),
    ] = True,
    pad_ids: PadIds = False,
) -> None:
    """Read Clinica's t1-linear images from a CAPS folder."""
    from mri_transfer.cohorts.readers.caps.reader import read_caps_cohort

    reading = read_caps_cohort(
        source, labels=labels, label_column=label_column, cropped=cropped, pad_ids=pad_ids
    )
    _write_manifest(reading, out)


@manifest_app.command("dicom")
def manifest_dicom(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="Folder with DICOM files, in any layout and with any names."
        ),
    ],
    out: OutManifest = DEFAULT_MANIFEST,
    images: ImagesFolder = None,
    labels: PatientLabels = None,
    series: SeriesPattern = None,
    salt_file: SaltFile = None,
    timeout_s: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="Time limit for the conversion of one series."),
    ] = 600,
    pad_ids: PadIds = False,
) -> None:
    """Convert the T1 series of a DICOM folder, named by hashes.

    Names, ids, dates and free text in the headers are removed. The images themselves still show the
    face.
    """
    from mri_transfer.cohorts.readers.dicom.reader import read_dicom_cohort

    reading = read_dicom_cohort(
        source,
        images=_images_folder(images, out),
        salt=None if salt_file is None else _salt(salt_file),
        labels_table=labels,
        series=series,
        timeout_s=timeout_s,
        pad_ids=pad_ids,
    )
    _write_manifest(reading, out)


@manifest_app.command("csv")
def manifest_csv(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="Table with one row per scan (.csv, .tsv or .xlsx)."),
    ],
    out: OutManifest = DEFAULT_MANIFEST,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that relative paths start from; by default the table's folder.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THEIRS=OURS",
            help="Rename a column, such as Subject=patient_id; takes precedence over the mapping. "
            "With a mapping, OURS can also be a column that the mapping reads. Repeatable.",
        ),
    ] = None,
    mapping: Annotated[str | None, MAPPING] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For tables without paths: folder in which to find each row's file by image id "
            "(the column that becomes scan_id) in the file or folder name.",
        ),
    ] = None,
    sheet: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Sheet of a workbook; by default the first."),
    ] = None,
) -> None:
    """Read any table, with renamed columns or a mapping."""
    from mri_transfer.cohorts.readers.csv import read_csv_cohort

    columns = _unique(_pairs(column, "--column", "THEIRS=OURS"), "--column")
    reading = read_csv_cohort(
        source, root=root, columns=columns or None, mapping=mapping, images=images, sheet=sheet
    )
    _write_manifest(reading, out)


def chosen_labels(texts: Sequence[str] | None) -> dict[str, str] | None:
    """Return the label of each value that `--label` names; None if it names none.

    Raises
    ------
    ConfigurationError
        If a value is given two labels.
    """
    spelt = [text if "=" in text else f"{text}={text}" for text in texts or ()]
    pairs = _pairs(spelt, "--label", "VALUE=LABEL", may_be_empty=True)
    return _unique(pairs, "--label") or None


def _pairs(
    texts: Sequence[str] | None, option: str, form: str, *, may_be_empty: bool = False
) -> list[tuple[str, str]]:
    """Split each text at its last equals sign; the left part may contain others."""
    from mri_transfer.errors import ConfigurationError

    pairs = []
    for text in texts or ():
        left, _, right = text.rpartition("=")
        if not left or not (right or may_be_empty):
            raise ConfigurationError(
                "cannot read the option", where=option, found=text, expected=form
            )
        pairs.append((left, right))
    return pairs


def _unique(pairs: Sequence[tuple[str, str]], option: str) -> dict[str, str]:
    from mri_transfer.errors import ConfigurationError

    chosen: dict[str, str] = {}
    for left, right in pairs:
        if chosen.setdefault(left, right) != right:
            raise ConfigurationError(
                "a name is given twice",
                where=option,
                found=f"{left}={chosen[left]} and {left}={right}",
                remedy="Keep one of them",
            )
    return chosen


def _images_folder(images: Path | None, out: Path) -> Path:
    return out.with_name(f"{out.stem}_images") if images is None else images


def _salt(path: Path) -> str:
    from mri_transfer.errors import ConfigurationError

    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "cannot read the salt", where=str(path), found=type(error).__name__
        ) from None


def _write_manifest(reading: CohortReading, out: Path) -> None:
    from mri_transfer.cohorts.words import counted

    console = open_console()
    reading.manifest.write(out)
    for note in reading.notes:
        console.print(f"note: {note}", markup=False)
    scans = reading.manifest.scans
    counts = scans["label"].fillna("no label").value_counts().sort_index()
    labels = ", ".join(f"{label}: {count}" for label, count in counts.items())
    patients = counted(scans["patient_id"].nunique(), "patient")
    console.print(f"{counted(len(scans), 'scan')} of {patients} ({labels})", markup=False)
    console.print(f"written to {out}", markup=False)
