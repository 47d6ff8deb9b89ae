"""A fitted ComBat: applied to scans, written and read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.files import write_json
from mri_transfer.core.tensorfile import described_files, read_tensors, write_tensors
from mri_transfer.errors import HeadError
from mri_transfer.models.harmonisation.columns import encode_kept, read_sites

__all__ = ["Combat"]

FloatArray = npt.NDArray[np.float64]
AnyFloatArray = npt.NDArray[np.floating[Any]]

_SCHEMA = "mri-transfer/combat/1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Combat:
    """A fitted ComBat, as plain arrays.

    Attributes
    ----------
    site_column : str
    sites : tuple of str
        Sorted.
    preserve : tuple of (str, tuple of str)
        Each column that is kept, with its levels; without levels, it is a number.
    tensors : mapping of str to ndarray of float64
        `mean` and `spread` of shape (n_features,), `effects` of the kept columns (n_columns,
        n_features), and by site `offset` and `variance` (n_sites, n_features), both in units of
        `spread`.
    """

    site_column: str
    sites: tuple[str, ...]
    preserve: tuple[tuple[str, tuple[str, ...]], ...]
    tensors: Mapping[str, FloatArray]

    def apply(self, features: AnyFloatArray, covariates: pd.DataFrame) -> AnyFloatArray:
        """Harmonise scans.

        Parameters
        ----------
        features : ndarray, shape (n_scans, n_features) or (n_scans, n_slices, n_features)
        covariates : DataFrame
            One row a scan, in the same order: the site and the columns that are kept.

        Returns
        -------
        ndarray
            Of the same shape and type.

        Raises
        ------
        HeadError
            If a scan's site was not among the training patients, a column is missing or has no
            value, or the features are not those fitted on.
        """
        site, kept = self._known(covariates)
        n_features = self.tensors["mean"].shape[0]
        if len(features) != len(covariates) or features.shape[-1] != n_features:
            raise HeadError(
                "features do not fit the harmonisation",
                found=f"shape {features.shape} and {len(covariates)} rows of covariates",
                expected=f"a row a scan and {n_features} features",
            )
        kept = kept @ self.tensors["effects"]
        place = np.searchsorted(np.array(self.sites, dtype=object), site)
        harmonised = np.empty_like(features)
        for i, at in enumerate(place):
            # Scan by scan: a cohort's slices in double precision would not fit into memory twice.
            centre = self.tensors["mean"] + kept[i]
            offset = self.tensors["spread"] * self.tensors["offset"][at]
            scale = np.sqrt(self.tensors["variance"][at])
            harmonised[i] = (features[i] - centre - offset) / scale + centre
        return harmonised

    def check(self, covariates: pd.DataFrame) -> None:
        """Refuse scans that cannot be harmonised, whatever their features are.

        Parameters
        ----------
        covariates : DataFrame
            As in `apply`.

        Raises
        ------
        HeadError
            As `apply`.
        """
        self._known(covariates)

    def _known(self, covariates: pd.DataFrame) -> tuple[npt.NDArray[np.object_], FloatArray]:
        """Return each scan's site, and the columns that are kept."""
        site = read_sites(covariates, self.site_column)
        unseen = sorted(set(site) - set(self.sites))
        if unseen:
            raise HeadError(
                "ComBat knows nothing of a site that no training patient is from",
                where=f"column {self.site_column}",
                found=", ".join(unseen),
                expected=f"one of {', '.join(self.sites)}",
                remedy="Fit with patients of that site among the training patients, leave its "
                "patients out, or set harmonisation.kind to none",
            )
        return site, encode_kept(covariates, self.preserve)

    def write(self, stem: Path) -> None:
        """Write `stem`.safetensors and `stem`.json."""
        arrays, description = described_files(stem)
        write_tensors(arrays, self.tensors, schema=_SCHEMA)
        facts = {
            "site_column": self.site_column,
            "sites": list(self.sites),
            "preserve": [[name, list(levels)] for name, levels in self.preserve],
        }
        write_json(description, facts)

    @classmethod
    def read(cls, stem: Path) -> Combat:
        """Read what `write` wrote.

        Raises
        ------
        StoreError, HeadError
            If a file is missing or damaged.
        """
        arrays, description = described_files(stem)
        tensors = read_tensors(arrays, schema=_SCHEMA)
        try:
            facts = json.loads(description.read_text(encoding="utf-8"))
            preserve = tuple((str(name), tuple(levels)) for name, levels in facts["preserve"])
            return cls(
                site_column=str(facts["site_column"]),
                sites=tuple(facts["sites"]),
                preserve=preserve,
                tensors=tensors,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HeadError(
                "cannot read the description of a harmonisation", where=str(description)
            ) from error
