"""The options of `mri-transfer manifest KIND` and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
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
ImagesFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder for the converted images; what is there and current is used again. By "
        "default M_images beside the manifest M.csv.",
    ),
]
MAPPING = typer.Option(
    metavar="FILE|NAME",
    help="How the table's columns become ours: a TOML file, or one of adni, adni_search, aibl, "
    "nacc, oasis1 and oasis3, which ship with the package.",
)
LabelColumn = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Column that holds the diagnosis; found by itself if usual."
    ),
]
KnownLabels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VALUE=LABEL",
        help="A value of that column and the label it stands for, such as Dementia=AD; AD alone "
        "for AD=AD, MCI= for no label. May be repeated; values that are not named are then "
        "refused. By default every value is a label.",
    ),
]
EntityFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="ENTITY=VALUE",
        help="Which images are taken, such as ses=01; acq= for those without acq. May be repeated; "
        "of one entity, all values named are taken.",
    ),
]
ImageSpace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Space of the images that are taken, such as MNI152NLin2009cAsym; native for those "
        "without space-. By default, of a scan in several spaces, the native image is taken.",
    ),
]
PadIds = Annotated[
    bool,
    typer.Option(
        "--pad-ids",
        help="Take ids of the table that differ from the images' only in leading zeros or capitals "
        "for the same, such as 50701 for 0050701. By default they are refused.",
    ),
]
PhenotypeTables = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Table of phenotype/ to read; by default all of them. May be repeated.",
    ),
]
TablesFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Data set whose participants.tsv, sessions.tsv and phenotype/ are read; by default "
        "SOURCE itself or, if that lies in derivatives/, the one it was derived from.",
    ),
]
ClinicalTable = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE",
        help="Clinical table (.csv, .xlsx); found by itself in or beside SOURCE.",
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
        "files. May be repeated; without any, no scan has a label.",
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
        help="Series whose description this regular expression is found in are taken for T1, and "
        "no others. By default the headers decide.",
    ),
]
SaltFile = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="File with the secret that ids are hashed with, of 16 letters or more. By default one "
        "is drawn, and kept beside the folder of images.",
    ),
]
