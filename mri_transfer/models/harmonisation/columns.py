"""The columns that ComBat reads: the site, and what is to be kept, as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers
from mri_transfer.errors import HeadError

__all__ = ["demand_one_site", "encode_kept", "kept_levels", "read_sites"]

FloatArray = npt.NDArray[np.float64]


def read_sites(covariates: pd.DataFrame, column: str) -> npt.NDArray[np.object_]:
    """Return the site of each scan, shape (n_scans,).

    Raises
    ------
    HeadError
        If the column is missing, or a scan has no value.
    """
    if column not in covariates:
        raise HeadError(
            "the site of the scans is not given", expected=f"a column {column} of the covariates"
        )
    site = covariate_levels(covariates, column)
    _demand_complete(covariates, site == "", column)
    return site


def demand_one_site(scans: pd.DataFrame, column: str) -> None:
    """Refuse patients who were scanned at several sites.

    What ComBat takes out of a patient's scans is the effect of one site.

    Parameters
    ----------
    scans : DataFrame
        One row a scan: patient_id and, if it is known, the column of the site.
    column : str

    Raises
    ------
    HeadError
        Naming the patients and their sites.
    """
    if column not in scans:
        return
    known = scans[covariate_levels(scans, column) != ""]
    sites = known.groupby("patient_id")[column].unique()
    several = {
        str(name): sorted(map(str, found)) for name, found in sites.items() if len(found) > 1
    }
    if several:
        shown = [f"{name}: {', '.join(found)}" for name, found in list(several.items())[:5]]
        raise HeadError(
            "ComBat takes one site a patient, and some were scanned at several",
            where=f"column {column}",
            found="; ".join(shown) + (f" and {len(several) - 5} more" if len(several) > 5 else ""),
            remedy="Keep the scans of one site of each patient in the manifest, or set "
            "harmonisation.kind to none",
        )


def _demand_complete(covariates: pd.DataFrame, missing: npt.NDArray[np.bool_], column: str) -> None:
    if missing.any():
        names = [str(name) for name in covariates.index[missing]]
        raise HeadError(
            f"ComBat needs the {column} of every patient",
            found=f"none for {', '.join(names[:5])}" + (" and others" if len(names) > 5 else ""),
            remedy=f"Add it to the manifest, leave these patients out, or do without {column}",
        )


def kept_levels(covariates: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Return the levels of a column of texts, sorted; none for a column of numbers."""
    if pd.api.types.is_numeric_dtype(covariates[name]):
        return ()
    return tuple(sorted(set(covariate_levels(covariates, name)) - {""}))


def encode_kept(
    covariates: pd.DataFrame, preserve: tuple[tuple[str, tuple[str, ...]], ...]
) -> FloatArray:
    """Return the kept columns as numbers, one column for each level after the first."""
    columns: list[FloatArray] = []
    for name, levels in preserve:
        if name not in covariates:
            raise HeadError(
                "a column that ComBat was fitted with is missing", expected=f"a column {name}"
            )
        if not levels:
            numbers = covariate_numbers(covariates, name)
            _demand_complete(covariates, np.isnan(numbers), name)
            columns.append(numbers)
            continue
        texts = covariate_levels(covariates, name)
        _demand_complete(covariates, texts == "", name)
        unseen = sorted(set(texts) - set(levels))
        if unseen:
            raise HeadError(
                f"ComBat was fitted without this value of {name}",
                found=", ".join(unseen),
                expected=f"one of {', '.join(levels)}",
            )
        columns += [(texts == level).astype(np.float64) for level in levels[1:]]
    # As neuroHarmonize rounds them, so that what is fitted and what is applied agree.
    stacked = np.array(columns, dtype=np.float32).reshape(len(columns), len(covariates))
    return stacked.T.astype(np.float64)
