"""The demo cohort: synthetic patients in a BIDS folder, generated without any download.

No scan is of a real person. Each patient's anatomy is a smooth random deformation of the MNI152
template; age widens ventricles and sulci in all patients; patients labelled AD have, with graded
severity that overlaps with ageing, larger ventricles, smaller medial temporal lobes and a thinner
cortex (`mri_transfer.cohorts.synthetic.template` defines where and how much). The scans are
skull-stripped, like the template. Only anatomy depends on the label: names, storage orientation,
number of sessions, site, sex, noise, bias field and contrast are drawn independently of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.cohorts.synthetic.anatomy import (
    Contrast,
    Grid,
    Tissues,
    draw_deformation,
    draw_picture,
    grow_tissues,
    make_grid,
)
from mri_transfer.cohorts.synthetic.patients import (
    MEAN_AGE,
    DemoPatient,
    DemoSpec,
    draw_patients,
    planted_loads,
)
from mri_transfer.cohorts.synthetic.template import Template, load_template
from mri_transfer.core.files import (
    TEMPORARY_PREFIX,
    atomic_write_bytes,
    atomic_write_text,
    gzip_bytes,
    read_json_object,
    write_json,
)
from mri_transfer.core.specs import digest, spec_dict
from mri_transfer.errors import ConfigurationError

__all__ = [
    "SPEC_FILE",
    "DemoPatient",
    "DemoSpec",
    "draw_patients",
    "grow_demo_cohort",
    "planted_atrophy",
    "planted_loads",
]

#: File in the cohort's folder with its Spec and the Spec's digest.
SPEC_FILE = "demo_spec.json"

_SCHEMA = "mri-transfer/demo/1"  # increment when the same Spec would give other bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Session:
    """A session's values in the tables."""

    age: int
    nwbv: float


def planted_atrophy(spec: DemoSpec) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return where the disease was planted: the reference for saliency maps.

    Parameters
    ----------
    spec : DemoSpec

    Returns
    -------
    loss : ndarray of float32, shape (X, Y, Z)
        Tissue fraction replaced by fluid: the average AD patient compared with a healthy person of
        the same age, in the template's anatomy; RAS+.
    affine : ndarray of float64, shape (4, 4)
        Voxel to MNI world, in mm.
    """
    grid, template = make_grid(spec.spacing_mm), load_template(spacing_mm=spec.spacing_mm)
    points = grid.points_mm()
    healthy, ill = (
        grow_tissues(template, points, planted_loads(spec, age=MEAN_AGE, severity=severity)).fluid
        for severity in (0.0, 0.6)
    )
    return ill - healthy, grid.affine


def grow_demo_cohort(
    folder: Path, *, spec: DemoSpec, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Generate the cohort, or resume an interrupted call; a complete cohort is not changed.

    Parameters
    ----------
    folder : Path
        The BIDS data set's folder; created if it does not exist.
    spec : DemoSpec
    progress : callable, optional
        Called with the number of finished patients and the total.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigurationError
        If the folder contains anything but a demo cohort with the same Spec.
    """
    _claim(folder, spec)
    patients = draw_patients(spec)
    scans = [folder / path for patient in patients for path in patient.scan_paths]
    if (folder / "participants.tsv").is_file() and all(scan.is_file() for scan in scans):
        return folder
    grid, template = make_grid(spec.spacing_mm), load_template(spacing_mm=spec.spacing_mm)
    rows = []
    for done, patient in enumerate(patients, start=1):
        sessions = _grow_patient(folder, patient, spec, grid, template)
        if len(sessions) > 1:
            atomic_write_text(folder / _sessions_path(patient), _sessions_table(sessions))
        rows.append((patient, sessions[0]))
        if progress is not None:
            progress(done, len(patients))
    _describe(folder, spec)
    # The table is written last: a folder with it is complete.
    atomic_write_text(folder / "participants.tsv", _participants_table(rows))
    return folder


def _claim(folder: Path, spec: DemoSpec) -> None:
    """Check that the folder is empty or has the same Spec, and write the Spec first."""
    record: dict[str, Any] = {"schema": _SCHEMA, "spec": spec_dict(spec)}
    record["digest"] = digest(record)
    path = folder / SPEC_FILE
    if path.is_file():
        if read_json_object(path) != record:
            raise ConfigurationError(
                "the folder contains a demo cohort with different settings",
                where=str(folder),
                remedy="Choose another folder, or delete this one",
            )
    elif _is_taken(folder):
        raise ConfigurationError(
            "the demo cohort needs its own folder",
            where=str(folder),
            found="other files",
            expected="an empty or new folder",
            remedy="Choose another folder",
        )
    else:
        write_json(path, record)


def _is_taken(folder: Path) -> bool:
    """Return whether the folder contains more than leftovers of an interrupted call."""
    if not folder.is_dir():
        return folder.exists()
    return any(not path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir())


def _grow_patient(
    folder: Path, patient: DemoPatient, spec: DemoSpec, grid: Grid, template: Template
) -> list[_Session]:
    """Generate one patient's missing scans."""
    anatomy_seed, *scan_seeds = patient.seed.spawn(1 + patient.n_sessions)
    rng = np.random.default_rng(anatomy_seed)
    own = rng.normal(0, spec.individual_variation, 3)
    course = rng.uniform(0.7, 1.3, 3)  # how strongly the disease affects each site
    points = draw_deformation(rng, grid, variation=spec.shape_variation)
    sessions = []
    for number, (path, seed) in enumerate(zip(patient.scan_paths, scan_seeds, strict=True)):
        years = number * spec.years_between_sessions
        severity = patient.severity * (1 + 0.04 * years)
        age = patient.age + years
        loads = planted_loads(spec, age=age, severity=severity, own=own, course=course)
        tissues = grow_tissues(template, points, loads)
        scan_rng = np.random.default_rng(seed)
        nwbv = tissues.brain_fraction + scan_rng.normal(0, spec.covariate_noise)
        sessions.append(_Session(age=round(age), nwbv=nwbv))
        if not (folder / path).is_file():
            data = _scan_bytes(scan_rng, tissues, patient, spec, grid)
            atomic_write_bytes(folder / path, data)
    return sessions


def _scan_bytes(
    rng: np.random.Generator, tissues: Tissues, patient: DemoPatient, spec: DemoSpec, grid: Grid
) -> bytes:
    """Render a brain and store it as scanners do: integers, in a random orientation."""
    import nibabel as nib

    white, grey, fluid = spec.contrast_variation * rng.standard_normal(3)
    site = spec.contrast_variation if patient.site == "B" else 0.0
    contrast = Contrast(white=1 + white, grey=0.74 + grey + site, fluid=0.28 + fluid)
    picture = draw_picture(rng, tissues, grid, contrast=contrast, noise=spec.noise, bias=spec.bias)
    stored = np.rint(picture * rng.uniform(600, 1400)).astype(np.int16)
    image: Any = nib.Nifti1Image(stored, grid.affine)  # type: ignore[no-untyped-call]
    orientation = np.stack([rng.permutation(3), rng.choice([-1, 1], 3)], axis=1)
    image = image.as_reoriented(orientation)
    image.header.set_xyzt_units("mm", "sec")
    for set_affine in (image.set_sform, image.set_qform):
        set_affine(image.affine, code="scanner")
    return gzip_bytes(image.to_bytes())


def _sessions_path(patient: DemoPatient) -> str:
    return f"{patient.patient_id}/{patient.patient_id}_sessions.tsv"


def _sessions_table(sessions: list[_Session]) -> str:
    lines = [
        f"ses-{number:02d}\t{session.age}\t{session.nwbv:.4f}"
        for number, session in enumerate(sessions, start=1)
    ]
    return "\n".join(["session_id\tage\tnwbv", *lines, ""])


def _participants_table(rows: list[tuple[DemoPatient, _Session]]) -> str:
    lines = [
        f"{patient.patient_id}\t{session.age}\t{patient.sex}\t{patient.label}\t{patient.site}"
        f"\t{session.nwbv:.4f}\t1"
        for patient, session in rows
    ]
    return "\n".join(["participant_id\tage\tsex\tdiagnosis\tsite\tnwbv\tsynthetic", *lines, ""])


def _describe(folder: Path, spec: DemoSpec) -> None:
    """Write the files that describe the data set."""
    columns = {name: _COLUMNS[name] for name in ("age", "nwbv")}
    write_json(folder / "dataset_description.json", _DESCRIPTION)
    write_json(folder / "participants.json", _COLUMNS)
    write_json(folder / "sessions.json", columns)
    atomic_write_text(folder / "README", _README.format(spec=spec))
    atomic_write_text(folder / ".bidsignore", f"{SPEC_FILE}\n")


_DESCRIPTION: dict[str, Any] = {
    "Name": "SYNTHETIC demo cohort of mri-transfer: no real patients",
    "BIDSVersion": "1.9.0",
    "DatasetType": "raw",
    "GeneratedBy": [
        {"Name": "mri-transfer", "Description": f"generated from the MNI152 template, {_SCHEMA}"}
    ],
}

_COLUMNS: dict[str, Any] = {
    "age": {"Description": "Age of the synthetic patient", "Units": "year"},
    "sex": {"Description": "Drawn at random", "Levels": {"F": "female", "M": "male"}},
    "diagnosis": {
        "Description": "What was planted in the anatomy",
        "Levels": {"AD": "atrophy of graded severity", "CN": "ageing only"},
    },
    "site": {
        "Description": "Simulated scanner; grey matter is slightly brighter at B",
        "Levels": {"A": "first", "B": "second"},
    },
    "nwbv": {
        "Description": "Grey and white matter as a fraction of the intracranial volume, with "
        "measurement noise"
    },
    "synthetic": {"Description": "1: not a real person; reports state this first"},
}

_README = """\
SYNTHETIC DATA. No scan is of a real person.

{spec.n_patients} patients, half labelled AD and half CN, generated by mri-transfer from the MNI152
template and its tissue maps: individual anatomy by smooth random deformation, ageing in all
patients, and for AD larger ventricles, smaller medial temporal lobes and a thinner cortex, in
graded severity. T1 contrast, {spec.spacing_mm:g} mm voxels, skull-stripped, with Rician noise, a
smooth bias field and a random storage orientation. Some patients were scanned twice,
{spec.years_between_sessions:g} years apart.

The scans serve to test software. They say nothing about Alzheimer's disease or about performance
on real patients.

The template is ICBM 152 nonlinear symmetric 2009a (Fonov et al. 2011), as shipped with nilearn:
Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological
Institute, McGill University.
"""
