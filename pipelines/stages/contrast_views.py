"""Contrast maps of some patients, and of the healthy ones whom they are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from mri_transfer.explain.choice import choose_patients
from mri_transfer.explain.cohort_maps import CohortMaps, own_heads
from mri_transfer.explain.contrast import (
    Cams,
    CamStore,
    ContrastMaps,
    cams_key,
    contrast_maps,
    reference_scans,
    scan_cams,
)
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.training.folds import Folds
from mri_transfer.training.predictions import PatientScores
from pipelines.stages.explain_job import ExplainJob

__all__ = ["contrast_views"]


def contrast_views(
    job: ExplainJob,
    cohort: CohortMaps,
    geometries: Sequence[SliceGeometry],
    own_labels: Folds,
) -> ContrastMaps | None:
    """Return contrast maps of the patients who get them; None if nobody does."""
    config, owners = job.config, cohort.patient_ids
    spec, positive = config.explanation, config.labels.positive
    if not spec.contrast_patients:
        return None
    scores = PatientScores.read(job.context.workspace.patient_scores).table
    n = max(spec.contrast_patients, spec.close_patients)
    chosen = choose_patients(scores, n=n, positive=positive)
    shown = [owners.index(patient.patient_id) for patient in chosen]
    healthy = reference_scans(owners, own_labels, positive=positive, n=n, seed=config.seed)
    return contrast_maps(
        _cams(job, sorted({*shown, *healthy})),
        shown,
        healthy,
        patient_ids=owners,
        own=own_heads(job.trained, job.folds),
        inside=cohort.inside,
        geometries=geometries,
    )


def _cams(job: ExplainJob, scans: Sequence[int]) -> dict[int, Cams]:
    store, reporter = CamStore(job.context.workspace.cache), job.context.reporter
    keys = {i: cams_key(maps_key=job.scans[i]["maps"]) for i in scans}
    todo = [i for i in scans if keys[i] not in store]
    reporter.note(f"contrast maps: {len(todo)} of {len(scans)} scans pass through the trunk")
    for i in reporter.track(todo, total=len(todo), what="contrast maps"):
        cams = scan_cams(job.passed(i), job.trained, patient_id=job.scans[i]["patient_id"])
        store.put(keys[i], cams)
    return {i: store.get(key) for i, key in keys.items()}
