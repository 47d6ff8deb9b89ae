"""The source cohort of a run with instances: a folder of its own, up to the features."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.errors import ConfigurationError
from mri_transfer.training.settings import InstancesSpec
from pipelines.config import RunConfig
from pipelines.workspace import Workspace

__all__ = ["demand_source", "source_config", "source_workspace"]

#: Names that a message lists.
_LISTED = 5


def source_workspace(workspace: Workspace) -> Workspace:
    """Return the folder of the source cohort inside a run folder."""
    return Workspace(root=workspace.root / "instances", cache=workspace.cache)


def source_config(config: RunConfig) -> RunConfig:
    """Return the settings for the source cohort: those of the run, so that features agree.

    Scans without a label of the task are left out later; one label may be missing altogether.
    """
    labels = dataclasses.replace(config.labels, unlabelled="keep")
    return dataclasses.replace(config, labels=labels, instances=InstancesSpec())


def demand_source(config: RunConfig, cohort: Manifest) -> Path:
    """Return the manifest of the source cohort, if nobody in it is to be tested.

    Parameters
    ----------
    config : RunConfig
        Names the manifest.
    cohort : Manifest
        Of the run.

    Raises
    ------
    ConfigurationError
        If a patient is in both manifests, or no scan of the source has a label of the task.
    """
    path = Path(config.instances.manifest)
    source = read_manifest(path)
    both = sorted(set(source.scans["patient_id"]) & set(cohort.scans["patient_id"]))
    if both:
        more = f" and {len(both) - _LISTED} others" if both[_LISTED:] else ""
        raise ConfigurationError(
            "a patient is in the cohort and among the instances",
            where=f"instances.manifest {path}",
            found=", ".join(both[:_LISTED]) + more,
            expected="another cohort: whoever is tested must not be trained on",
            remedy="Leave the patient out of one manifest; rename patients who only share their "
            "name, for example with the site in front",
        )
    if not set(source.labels) & set(config.labels.used):
        raise ConfigurationError(
            "no scan among the instances has a label of the task",
            where=f"instances.manifest {path}",
            found=", ".join(source.labels) or "no labels at all",
            expected=" or ".join(config.labels.used),
        )
    return path
