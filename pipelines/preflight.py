"""Check before hours of preparation that the manifest suits the configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pandas as pd

from mri_transfer.cohorts.labels import demand_both_labels, why_unused
from mri_transfer.cohorts.manifest.manifest import Manifest
from mri_transfer.errors import ConfigurationError, MriTransferError
from mri_transfer.evaluation.baselines import covariate_design, default_baselines
from mri_transfer.explain.atlas import demand_atlas
from mri_transfer.models.harmonisation import check_combat, demand_one_site
from mri_transfer.scans.preparation.external import PROGRAMS, demand_program
from mri_transfer.training.folds import demand_enough
from pipelines.config import RunConfig

__all__ = ["demand_possible", "site_notes"]


def demand_possible(
    manifest: Manifest, config: RunConfig, *, without: Collection[str] = ()
) -> None:
    """Refuse a cohort that cannot be evaluated with a configuration.

    Only the manifest is checked: scans excluded later may cause further faults.

    Parameters
    ----------
    manifest : Manifest
    config : RunConfig
    without : collection of str
        Scans that are already excluded.

    Raises
    ------
    ConfigurationError
        Listing every fault.
    """
    faults = [*_faults(manifest, config, without)]
    if len(faults) == 1:
        raise ConfigurationError(faults[0].rstrip("."))
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigurationError(
            f"{len(faults)} settings that the manifest does not support\n{lines}",
            where=str(manifest.source),
        )


def _faults(manifest: Manifest, config: RunConfig, without: Collection[str]) -> Iterator[str]:
    if config.preparation.brain_extraction in PROGRAMS:
        yield from _refusal(demand_program, config.preparation.brain_extraction)
    if config.labels.unlabelled == "keep":
        return  # a run that ends with the features
    if config.explanation.maps:
        yield from _refusal(demand_atlas, config.explanation.atlas, config.explanation.atlas_labels)
    labels = [label if isinstance(label, str) else None for label in manifest.scans["label"]]
    missing = [*_refusal(demand_both_labels, labels, config.labels)]
    yield from missing
    used = manifest.keep(
        scan_id
        for scan_id, label in zip(manifest.scans["scan_id"], labels, strict=True)
        if why_unused(label, config.labels) is None and scan_id not in without
    )
    patients = used.patients()
    if not missing:
        yield from _refusal(
            demand_enough,
            patients["label"].tolist(),
            config.folds,
            inner=_needs_inner_folds(config),
        )
    yield from _refusal(_demand_covariates, patients, config.evaluation.covariates)
    if config.harmonisation.kind == "combat" and len(patients):
        yield from _refusal(demand_one_site, used.scans, config.harmonisation.site_column)
        yield from _refusal(check_combat, patients.drop(columns="label"), spec=config.harmonisation)


def _refusal(check: Callable[..., object], *args: Any, **options: Any) -> Iterator[str]:
    """Yield the message of a failed check."""
    try:
        check(*args, **options)
    except MriTransferError as error:
        yield str(error)


def _needs_inner_folds(config: RunConfig) -> bool:
    """Return whether the configuration needs inner folds."""
    searches = bool(config.search.for_head(config.heads.kind))
    return searches or config.predictions.needs_inner_scores


def _demand_covariates(patients: pd.DataFrame, covariates: Sequence[str]) -> None:
    available = [name for name in patients.columns if name not in ("label", "n_scans")]
    default_baselines(covariates, available)
    covariate_design(patients, covariates)


def site_notes(manifest: Manifest) -> Iterator[str]:
    """Yield notes on patients with several values of a covariate, of which the first is used."""
    for name in ("site", "scanner"):
        several = manifest.scans.groupby("patient_id")[name].nunique()
        count = int((several > 1).sum())
        if count:
            yield (
                f"{count} {'patient was' if count == 1 else 'patients were'} scanned at several "
                f"{name}s: subgroup and shortcut analyses use the first"
            )
