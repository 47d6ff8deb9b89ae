"""Options of `mri-transfer manifest KIND`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_MANIFEST",
    "CapsLabels",
    "ClinicalTable",
    "EntityFilter",
    "ImageSpace",
    "ImagesFolder",
    "KnownLabels",
    "LabelColumn",
    "MAPPING",
    "OutManifest",
    "PadIds",
    "PatientLabels",
    "PhenotypeTables",
    "SaltFile",
    "Selection",
    "SeriesPattern",
    "TablesFolder",
    "VolumeKind",
]

OutManifest = Annotated[
    Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="Manifest to write (.csv).")
]
DEFAULT_MANIFEST = Path("manifest.csv")
ImagesFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder for the converted images; current ones are reused. By default M_images next "
        "to the manifest M.csv.",
    ),
]
MAPPING = typer.Option(
    metavar="FILE|NAME",
    help="Column mapping: a TOML file, or one of adni, adni_search, aibl, nacc, oasis1 and oasis3, "
    "shipped with the package.",
)
LabelColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column with the diagnosis; common names are detected."),
]
KnownLabels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VALUE=LABEL",
        help="Label of a value in that column, such as Dementia=AD; AD is short for AD=AD, MCI= "
        "means no label. Repeatable; other values are then refused. By default every value is a "
        "label.",
    ),
]
EntityFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="ENTITY=VALUE",
        help="Select images by entity, such as ses=01; acq= selects those without acq. Repeatable; "
        "several values of one entity are combined.",
    ),
]
ImageSpace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Space of the images, such as MNI152NLin2009cAsym; native for those without space-. "
        "By default the native image of a scan in several spaces is used.",
    ),
]
PadIds = Annotated[
    bool,
    typer.Option(
        "--pad-ids",
        help="Match ids of the table to images if they differ only in leading zeros or case, such "
        "as 50701 and 0050701. By default they are refused.",
    ),
]
PhenotypeTables = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Table in phenotype/ to read; by default all of them. Repeatable.",
    ),
]
TablesFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Data set with participants.tsv, sessions.tsv and phenotype/; by default SOURCE "
        "itself or, if it is in derivatives/, the data set it was derived from.",
    ),
]
ClinicalTable = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE",
        help="Clinical table (.csv, .xlsx); by default found in SOURCE or its parent.",
    ),
]
VolumeKind = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="t88_masked: in Talairach space, without skull; t88: the same with skull; raw: the "
        "averaged scan before registration.",
    ),
]
Selection = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="all, or hon_khan_2017: the 100 patients with CDR above 0 and the 100 oldest with "
        "CDR 0.",
    ),
]
CapsLabels = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="TABLE",
        help="Table with participant_id, session_id and the label, or a folder of such .tsv "
        "files. Repeatable; without it no scan has a label.",
    ),
]
PatientLabels = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE",
        help="Table with the columns patient_id, as in the DICOM headers, and label; without it no "
        "scan has a label.",
    ),
]
SeriesPattern = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Use the series whose description matches this regular expression as T1, and no "
        "others. By default the headers decide.",
    ),
]
SaltFile = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="File with the secret salt for hashing ids, at least 16 characters. By default one is "
        "generated and stored next to the image folder.",
    ),
]
