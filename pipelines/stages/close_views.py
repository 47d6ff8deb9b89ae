"""A closer look at a few patients: pixels, patches, and curves of covering their cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mri_transfer.core.specs import digest
from mri_transfer.explain.choice import ChosenPatient, choose_patients
from mri_transfer.explain.cohort_maps import CohortMaps, own_heads
from mri_transfer.explain.contrast import ContrastMaps
from mri_transfer.explain.faithfulness import (
    Curves,
    CurveStore,
    close_curves,
    close_maps,
    curves_key,
)
from mri_transfer.explain.pixel_attribution import (
    PixelAttribution,
    PixelAttributionStore,
    attribute_pixels,
    pixel_attribution_key,
)
from mri_transfer.explain.scan_maps import MapStore
from mri_transfer.training.predictions import PatientScores
from pipelines.stages.explain_job import ExplainJob

__all__ = ["close_views", "covering_curves", "pixel_attributions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloseView:
    """A patient chosen for a closer look: the first scan, and the heads that had not seen it."""

    patient: ChosenPatient
    i: int
    """Of the scan."""
    own: list[int]
    """Positions of the heads."""
    key: str
    """Of the pixel attribution."""


def close_views(job: ExplainJob) -> list[CloseView]:
    """Choose the patients, of each label those called rightly and wrongly with most certainty."""
    config = job.config
    spec = config.explanation
    if not spec.close_patients:
        return []
    scores = PatientScores.read(job.context.workspace.patient_scores).table
    chosen = choose_patients(scores, n=spec.close_patients, positive=config.labels.positive)
    own = own_heads(job.trained, job.folds)
    views = []
    for patient in chosen:
        i = next(i for i, s in enumerate(job.scans) if s["patient_id"] == patient.patient_id)
        heads = own[patient.patient_id]
        key = pixel_attribution_key(
            maps_key=job.scans[i]["maps"],
            repeats=[(job.trained[h].repeat, job.trained[h].fold) for h in heads],
            spec=spec,
        )
        key = digest([key, {"seed": config.seed}])
        views.append(CloseView(patient=patient, i=i, own=heads, key=key))
    return views


def pixel_attributions(job: ExplainJob, views: Sequence[CloseView]) -> list[PixelAttribution]:
    """Attribute the log-odds of each patient's close slices to pixels and patches."""
    context, spec = job.context, job.config.explanation
    if not views:
        return []
    context.reporter.note(
        f"pixel attribution of {len(views)} patients, {spec.close_slices} slices each: "
        f"{spec.gradient_steps} steps of integrated gradients, then occlusion"
    )
    store = PixelAttributionStore(context.workspace.cache)
    maps_store = MapStore(context.workspace.cache)
    found = []
    for view in context.reporter.track(views, total=len(views), what="pixel attribution"):
        if view.key not in store:
            maps = maps_store.get(job.scans[view.i]["maps"])
            heads = [job.trained[h] for h in view.own]
            attribution = attribute_pixels(
                job.stack(view.i),
                [job.pixel_trunks(model) for model in heads],
                heads,
                patient_id=view.patient.patient_id,
                weights=maps.weights[view.own],
                raw=maps.exact[view.own[0]],
                spec=spec,
            )
            store.put(view.key, attribution)
        found.append(store.get(view.key))
    return found


def covering_curves(
    job: ExplainJob,
    views: Sequence[CloseView],
    pixels: Sequence[PixelAttribution],
    cohort: CohortMaps,
    contrast: ContrastMaps | None,
) -> list[Curves]:
    """Cover and uncover the cells of close slices in the order of each kind of map."""
    context, spec = job.context, job.config.explanation
    store, maps_store = CurveStore(context.workspace.cache), MapStore(context.workspace.cache)
    found = []
    pairs = list(zip(views, pixels, strict=True))
    for view, attribution in context.reporter.track(pairs, total=len(pairs), what="covering cells"):
        maps = close_maps(
            cohort.maps[view.i],
            attribution,
            patch_cells=spec.patch_cells,
            contrast=None if contrast is None else contrast.of(view.i),
        )
        key = curves_key(attribution_key=view.key, maps=maps)
        if key not in store:
            heads = [job.trained[h] for h in view.own]
            curves = close_curves(
                job.stack(view.i),
                [job.pixel_trunks(model) for model in heads],
                heads,
                patient_id=view.patient.patient_id,
                weights=maps_store.get(job.scans[view.i]["maps"]).weights[view.own],
                slices=attribution.slices,
                maps=maps,
            )
            store.put(key, curves)
        found.append(store.get(key, list(maps)))
    return found
