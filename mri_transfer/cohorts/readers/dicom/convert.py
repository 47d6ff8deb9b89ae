"""Convert a DICOM series to a NIfTI file without patient data other than the image itself."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.cohorts.readers.dicom.privacy import technical_fields
from mri_transfer.cohorts.readers.dicom.series import DicomSeries
from mri_transfer.core.files import atomic_path, read_json_object
from mri_transfer.errors import ConfigurationError, UnsupportedScanError

__all__ = ["Converted", "convert_series", "converter_version", "write_image"]

#: Largest distance of the volume's corners from the positions in the headers.
_MAX_SHIFT_MM = 0.5
#: The element that group 2 of a DICOM file begins with.
_FILE_META = b"\x02\0\0\0"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Converted:
    """A converted series.

    Parameters
    ----------
    voxels : ndarray of shape (X, Y, Z)
        As stored, scaled if the header has a scaling.
    affine : ndarray of shape (4, 4), float64
        Voxel index to RAS+ world, in mm.
    sidecar : dict
        Technical fields.
    """

    voxels: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    sidecar: dict[str, Any]


def converter_version() -> str:
    """Return the version of dcm2niix.

    Raises
    ------
    ConfigurationError
        If it is not installed.
    """
    _converter()
    import dcm2niix

    return str(dcm2niix.__version__)


def _converter() -> str:
    try:
        import dcm2niix
    except ImportError:
        path = ""
    else:
        path = str(dcm2niix.bin)
    if not Path(path).is_file():
        raise ConfigurationError(
            "dcm2niix is not installed", remedy="Install its Python package: pip install dcm2niix"
        )
    return path


def convert_series(series: DicomSeries, *, where: str, timeout_s: float) -> Converted:
    """Convert a series with dcm2niix, in a private temporary folder.

    Parameters
    ----------
    series : DicomSeries
    where : str
        Name of the series in messages.
    timeout_s : float
        Time limit for dcm2niix, in seconds.

    Raises
    ------
    UnsupportedScanError
        If dcm2niix writes no volume, several, or one at another position than the slices. Its
        output may contain names and is not repeated.
    """
    # dcm2niix must not depend on its surroundings: it sees numbered files, no defaults file (-g i)
    # and an environment with this folder only.
    with tempfile.TemporaryDirectory(prefix="dicom-") as name:
        folder = Path(name)
        inputs, outputs = folder / "in", folder / "out"
        inputs.mkdir()
        outputs.mkdir()
        for number, file in enumerate(series.files):
            _provide(file.path.resolve(), inputs / f"{number:06d}.dcm")
        options = ["-b", "y", "-ba", "y", "-z", "n", "-g", "i", "-d", "0", "-f", "image"]
        try:
            completed = subprocess.run(
                [_converter(), *options, "-o", str(outputs), str(inputs)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"HOME": name, "TMPDIR": name, "LC_ALL": "C"},
                cwd=name,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            fault = f"dcm2niix took more than {timeout_s:g} s"
            raise UnsupportedScanError(fault, where=where) from None
        volumes = sorted(outputs.rglob("*.nii"))
        if len(volumes) != 1:
            raise UnsupportedScanError(
                "dcm2niix writes several volumes" if volumes else "dcm2niix cannot convert it",
                where=where,
                found=f"exit code {completed.returncode}",
            )
        converted = _load(volumes[0], where)
    _check_position(converted, series, where)
    return converted


def _provide(file: Path, link: Path) -> None:
    """Link or copy a file into the folder that dcm2niix reads."""
    with file.open("rb") as stream:
        if stream.read(4) != _FILE_META:
            link.symlink_to(file)
            return
        # dcm2niix reads files that lack the preamble only if they lack group 2 as well.
        stream.seek(0)
        with link.open("wb") as copy:
            copy.write(bytes(128) + b"DICM")
            shutil.copyfileobj(stream, copy)


def _load(path: Path, where: str) -> Converted:
    import nibabel as nib

    try:
        image: Any = nib.load(path, mmap=False)
        voxels = np.asarray(image.dataobj)
        affine = np.array(image.affine, dtype=np.float64)
    except Exception:  # nibabel's messages name the temporary file
        raise UnsupportedScanError("dcm2niix wrote a damaged volume", where=where) from None
    sidecar = read_json_object(path.with_suffix(".json")) or {}
    if voxels.dtype == np.float64:  # scaled 16-bit values fit into float32
        voxels = voxels.astype(np.float32)
    return Converted(voxels=voxels, affine=affine, sidecar=technical_fields(sidecar))


def _check_position(converted: Converted, series: DicomSeries, where: str) -> None:
    """Refuse a volume whose shape or position disagrees with the slices' headers."""
    technical = series.technical
    shape = converted.voxels.shape
    if sorted(shape) != sorted((technical.rows, technical.columns, series.n_slices)):
        raise UnsupportedScanError(
            "the converted volume and the series have different shapes",
            where=where,
            found=" x ".join(map(str, shape)),
            expected=f"{technical.columns} x {technical.rows} x {series.n_slices}",
        )
    ends = [(0, extent - 1) for extent in shape]
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)])
    world = corners @ converted.affine[:3].T
    # DICOM is LPS, NIfTI RAS. Each slice's first pixel is on an edge of the volume; those of the
    # first and last slice are corners.
    firsts = np.array([position for file in series.files for position in file.positions_mm])
    firsts = firsts * (-1, -1, 1)
    centre = firsts.mean(axis=0)
    first = firsts[np.argmax(np.linalg.norm(firsts - centre, axis=1))]
    last = firsts[np.argmax(np.linalg.norm(firsts - first, axis=1))]
    for corner in (first, last):
        if np.linalg.norm(world - corner, axis=1).min() > _MAX_SHIFT_MM:
            raise UnsupportedScanError(
                "the converted volume and the series have different positions", where=where
            )


def write_image(converted: Converted, path: Path) -> None:
    """Write the volume with a minimal header: data type, shape and affine.

    The header is created from scratch: fields that dcm2niix writes, such as ``descrip`` and
    ``aux_file``, are not copied, and there are no extensions.

    Parameters
    ----------
    converted : Converted
    path : Path
        Ends in .nii.gz; written atomically.
    """
    import nibabel as nib

    image: Any = nib.Nifti1Image(converted.voxels, converted.affine)  # type: ignore[no-untyped-call]
    image.set_sform(converted.affine, code=1)
    image.set_qform(converted.affine, code=1)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
