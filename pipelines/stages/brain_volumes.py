"""Volumes of a run's brains, measured once and kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.evaluation.ventricular_norm import VentricularNorm, normative_people
from mri_transfer.scans.tissue import TissueSpec
from mri_transfer.scans.volumetry import (
    BrainVolumes,
    VolumesStore,
    measure_volumes,
    volumes_key,
)
from pipelines.indexes import load_prepared, read_prepared_index
from pipelines.stage import Context
from pipelines.stages.filling import fill_cache

__all__ = ["brain_volumes", "learn_norm"]


def brain_volumes(context: Context) -> list[BrainVolumes]:
    """Measure the scans' tissues, in the order of the index of prepared scans."""
    store = VolumesStore(context.workspace.cache)
    scans = read_prepared_index(context.workspace)
    keys = [_key(context, scan) for scan in scans]
    todo = [scan for scan, key in zip(scans, keys, strict=True) if key not in store]
    fill_cache(context, _measure, todo, what="measuring volumes")
    return [store.get(key) for key in keys]


def _key(context: Context, scan: Mapping[str, str]) -> str:
    return volumes_key(
        volume_key=scan["volume_key"], slices=context.config.slices, tissues=TissueSpec()
    )


def _measure(context: Context, scan: Mapping[str, str]) -> None:
    config, store, key = context.config, VolumesStore(context.workspace.cache), _key(context, scan)
    if key not in store:
        volume = load_prepared(scan, config.volumes)
        store.put(key, measure_volumes(volume, config.slices, TissueSpec()))


def learn_norm(*contexts: Context) -> VentricularNorm | None:
    """Learn how large ventricles usually are from patients without the positive label.

    Parameters
    ----------
    *contexts : Context
        Of one run or more.

    Returns
    -------
    VentricularNorm or None
        None if the people are too few, or if a run knows nobody's age or sex: a norm that left out
        a whole cohort would not be one of the bundle's patients.
    """
    people = [_unaffected(context) for context in contexts]
    known = [one for one in people if one is not None]
    return VentricularNorm.learn(pd.concat(known)) if len(known) == len(people) else None


def _unaffected(context: Context) -> pd.DataFrame | None:
    patients = read_manifest(context.workspace.manifest, check_files=False).patients()
    if not {"age", "sex"} <= set(patients):
        return None
    scans = read_prepared_index(context.workspace)
    names = [scan["patient_id"] for scan in scans]
    people = normative_people(brain_volumes(context), names, patients)
    if people is None:
        return None
    label = patients.loc[people.index, "label"]
    return pd.DataFrame(people[(label != context.config.labels.positive).to_numpy()])
