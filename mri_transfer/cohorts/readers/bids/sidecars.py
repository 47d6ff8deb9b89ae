"""Site and scanner of an image, from the JSON sidecars of a BIDS data set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mri_transfer.cohorts.manifest.text_table import clean_cell, parse_number
from mri_transfer.core.files import read_json_object

__all__ = ["Sidecars", "scanner_name", "site_name"]

_MAX_TESLA = 30.0


class Sidecars:
    """The sidecars of one data set, each file read once.

    By BIDS' inheritance principle a sidecar applies to every image in and below its folder whose
    name has all the entities of the sidecar's name. The deeper sidecar takes precedence and, in
    one folder, the one with more entities.

    Parameters
    ----------
    root : Path
        The data set's folder; nothing outside it is read.
    suffix : str
        Suffix of the images, such as ``T1w``.

    Attributes
    ----------
    unread : list of str
        Sidecars without a JSON object, or behind a link that leaves the data set.
    """

    def __init__(self, root: Path, suffix: str) -> None:
        self.unread: list[str] = []
        self._root = root
        self._suffix = suffix
        self._folders: dict[PurePosixPath, list[tuple[dict[str, str], dict[str, Any]]]] = {}

    def of(self, path: str, entities: Mapping[str, str]) -> dict[str, Any]:
        """Return all metadata that applies to one image.

        Parameters
        ----------
        path : str
            Path of the image, relative to the data set.
        entities : mapping
            Entities of the image.
        """
        known: dict[str, Any] = {}
        for folder in reversed(PurePosixPath(path).parents):
            for needed, content in self._in_folder(folder):
                if needed.items() <= entities.items():
                    known.update(content)
        return known

    def _in_folder(self, folder: PurePosixPath) -> list[tuple[dict[str, str], dict[str, Any]]]:
        if folder not in self._folders:
            sidecars = []
            for path in sorted((self._root / folder).glob(f"*{self._suffix}.json")):
                needed = self._entities(path.name)
                if needed is not None:
                    sidecars.append((needed, self._content(path)))
            self._folders[folder] = sorted(sidecars, key=lambda entry: len(entry[0]))
        return self._folders[folder]

    def _entities(self, name: str) -> dict[str, str] | None:
        import bids2table  # slow: it pulls in pyarrow

        entities: dict[str, str] = bids2table.parse_bids_entities(name)
        if entities.pop("suffix", None) != self._suffix or entities.pop("ext", None) != ".json":
            return None
        return entities

    def _content(self, path: Path) -> dict[str, Any]:
        is_inside = path.resolve().is_relative_to(self._root.resolve())
        content = read_json_object(path) if is_inside else None
        if content is None:
            self.unread.append(path.relative_to(self._root).as_posix())
            return {}
        return content


def site_name(sidecar: Mapping[str, Any]) -> str | None:
    """Return the ``InstitutionName``, or None."""
    return _text(sidecar.get("InstitutionName"))


def scanner_name(sidecar: Mapping[str, Any]) -> str | None:
    """Return manufacturer, model and field strength as one name, such as ``Siemens Prisma 3T``.

    Parameters
    ----------
    sidecar : mapping
        ``Manufacturer``, ``ManufacturersModelName`` and ``MagneticFieldStrength`` (tesla, rounded
        to a tenth: scanners of one model differ in the second decimal). Missing parts are left
        out; the name is None if all are missing.
    """
    maker, model = _text(sidecar.get("Manufacturer")), _text(sidecar.get("ManufacturersModelName"))
    if maker is not None and model is not None and model.casefold().startswith(maker.casefold()):
        maker = None
    field = sidecar.get("MagneticFieldStrength")
    tesla = parse_number(field) if isinstance(field, str) else field
    if isinstance(tesla, bool) or not isinstance(tesla, int | float):
        tesla = None
    plausible = tesla is not None and math.isfinite(tesla) and 0 < tesla <= _MAX_TESLA
    strength = f"{round(tesla, 1):g}T" if tesla is not None and plausible else None
    return " ".join(part for part in (maker, model, strength) if part) or None


def _text(value: object) -> str | None:
    return clean_cell(" ".join(value.split())) if isinstance(value, str) else None
