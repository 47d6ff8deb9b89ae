"""Fitting ComBat on training scans."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.specs import suggestion
from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.models.harmonisation.columns import encode_kept, kept_levels, read_sites
from mri_transfer.models.harmonisation.combat import Combat
from mri_transfer.models.harmonisation.settings import HarmonisationSpec

__all__ = ["check_combat", "fit_combat"]

FloatArray = npt.NDArray[np.float64]
AnyFloatArray = npt.NDArray[np.floating[Any]]

#: Share of a feature's size below which what site and covariates leave over is rounding.
_ROUNDING = 1e-6


def fit_combat(
    features: AnyFloatArray, covariates: pd.DataFrame, *, spec: HarmonisationSpec
) -> Combat:
    """Fit ComBat on training scans.

    A feature of which site and covariates leave nothing over has no variance to scale: it is moved
    by its site's offset alone, which is none for a constant.

    Parameters
    ----------
    features : ndarray, shape (n_scans, n_features) or (n_scans, n_slices, n_features)
        Training scans only. Slices are averaged.
    covariates : DataFrame
        One row a scan in the same order, indexed by patient_id: the site and what is kept.
    spec : HarmonisationSpec
        Of kind `combat`.

    Raises
    ------
    ConfigurationError
        If a column is not in the table.
    HeadError
        If there is one site only, a site has fewer than two patients, a value is missing, or the
        sites cannot be told apart from what is to be kept.
    """
    if spec.kind != "combat":
        raise ValueError(f"nothing to fit for harmonisation of kind {spec.kind}")
    columns = _read_columns(covariates, spec)
    rows = np.asarray(features, dtype=np.float64)
    rows = rows.mean(axis=1) if rows.ndim == 3 else rows
    n_sites = len(columns.sites)
    tensors = _estimate(rows, columns.site, columns.kept, columns.design, n_sites=n_sites)
    return Combat(
        site_column=spec.site_column,
        sites=columns.sites,
        preserve=columns.preserve,
        tensors=tensors,
    )


def check_combat(covariates: pd.DataFrame, *, spec: HarmonisationSpec) -> None:
    """Refuse patients on whom ComBat cannot be fitted, whatever their features are.

    Parameters
    ----------
    covariates, spec
        As in `fit_combat`.

    Raises
    ------
    ConfigurationError, HeadError
        As `fit_combat`.
    """
    _read_columns(covariates, spec)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Columns:
    """What ComBat reads of the covariates, checked."""

    site: npt.NDArray[np.object_]
    sites: tuple[str, ...]
    preserve: tuple[tuple[str, tuple[str, ...]], ...]
    kept: FloatArray
    design: FloatArray


def _read_columns(covariates: pd.DataFrame, spec: HarmonisationSpec) -> _Columns:
    absent = [name for name in (spec.site_column, *spec.preserve) if name not in covariates]
    if absent:
        raise ConfigurationError(
            "a column that harmonisation needs is not in the manifest",
            where="harmonisation",
            found=", ".join(absent),
            expected=f"columns of {', '.join(map(str, covariates.columns))}",
            remedy=f"{suggestion(absent[0], map(str, covariates.columns))}Add it to the manifest, "
            "or change harmonisation.site_column or harmonisation.preserve",
        )
    site = read_sites(covariates, spec.site_column)
    sites = _checked_sites(site, covariates.index, spec.site_column)
    preserve = tuple((name, kept_levels(covariates, name)) for name in spec.preserve)
    kept = encode_kept(covariates, preserve)
    design = np.column_stack([*(site == name for name in sites), kept]).astype(np.float64)
    _demand_separable(design, spec)
    return _Columns(site=site, sites=sites, preserve=preserve, kept=kept, design=design)


def _estimate(
    rows: FloatArray,
    site: npt.NDArray[np.object_],
    kept: FloatArray,
    design: FloatArray,
    *,
    n_sites: int,
) -> dict[str, FloatArray]:
    from neuroHarmonize import harmonizationLearn

    weights = np.linalg.lstsq(design, rows, rcond=None)[0]
    mean = design[:, :n_sites].mean(axis=0) @ weights[:n_sites]
    left = np.sqrt(np.square(rows - design @ weights).mean(axis=0))
    varies = left > _ROUNDING * np.maximum(np.abs(rows).max(axis=0), _ROUNDING)
    tensors = {
        "mean": mean,
        "spread": np.ones(len(mean)),
        "effects": weights[n_sites:],
        "offset": weights[:n_sites] - mean,
        "variance": np.ones((n_sites, len(mean))),
    }
    if varies.any():
        table = pd.DataFrame({f"x{i}": column for i, column in enumerate(kept.T)})
        table.insert(0, "SITE", site)
        # Without a seed it would set NumPy's global one. Shrinking needs more than one feature.
        model, _ = harmonizationLearn(rows[:, varies], table, eb=int(varies.sum()) > 1, seed=0)
        tensors["mean"][varies] = model["stand_mean"][:, 0]
        tensors["spread"][varies] = np.sqrt(model["var_pooled"][:, 0])
        tensors["effects"][:, varies] = model["B_hat"][n_sites:]
        tensors["offset"][:, varies] = model["gamma_star"]
        # A site in which a feature stands still has no variance to scale by, but for rounding.
        variance = model["delta_star"]
        tensors["variance"][:, varies] = np.where(variance > _ROUNDING**2, variance, 1.0)
    if not all(np.isfinite(values).all() for values in tensors.values()):
        raise HeadError(
            "ComBat's estimates are not finite",
            remedy="Look for features that repeat each other or are not finite",
        )
    return {name: np.ascontiguousarray(values) for name, values in tensors.items()}


def _checked_sites(
    site: npt.NDArray[np.object_], patients: pd.Index[Any], column: str
) -> tuple[str, ...]:
    sites = tuple(sorted(set(site)))
    if len(sites) < 2:
        raise HeadError(
            "ComBat needs two sites or more among the training patients",
            where=f"column {column}",
            found=f"only {sites[0]}" if sites else "no patient",
            remedy="Set harmonisation.kind to none: with one site there is nothing to harmonise",
        )
    few = [name for name in sites if len(set(patients[site == name])) < 2]
    if few:
        raise HeadError(
            "a site has fewer than two training patients, which give no variance",
            where=f"column {column}",
            found=", ".join(few),
            remedy="Join small sites, leave their patients out, or use fewer folds",
        )
    return sites


def _demand_separable(design: FloatArray, spec: HarmonisationSpec) -> None:
    spread = np.abs(design).max(axis=0)
    scaled = design / np.where(spread > 0, spread, 1.0)
    if np.linalg.matrix_rank(scaled) < design.shape[1]:
        raise HeadError(
            "the sites cannot be told apart from what is to be kept",
            where="harmonisation.preserve",
            found=", ".join(spec.preserve),
            remedy="Keep fewer columns: one that is the same for all patients, or for all of a "
            "site, leaves ComBat no way to say which of the two a difference belongs to",
        )
