"""explain: where in the brain each score comes from, by heads that had not seen the patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.synthetic.cohort import SPEC_FILE, DemoSpec
from mri_transfer.core.files import read_json_object
from mri_transfer.core.threads import map_on_cores
from mri_transfer.explain import Explanation, write_explanation
from mri_transfer.explain.atlas import Atlas, find_atlas
from mri_transfer.explain.attribution import Activations, explain_scan
from mri_transfer.explain.cohort_maps import centred_maps, score_mismatch
from mri_transfer.explain.compose import compose, without_maps
from mri_transfer.explain.explanation import DOCUMENT
from mri_transfer.explain.findings import Findings, Space
from mri_transfer.explain.geometry import slice_geometry
from mri_transfer.explain.neighbours import nearest_patients
from mri_transfer.explain.scan_maps import MapStore, ScanMaps
from mri_transfer.models.heads import HEADS
from mri_transfer.training.folds import Folds
from mri_transfer.training.predictions import PatientScores
from pipelines.indexes import read_index, read_prepared_index
from pipelines.stage import Context, StageResult
from pipelines.stages.close_views import close_views, covering_curves, pixel_attributions
from pipelines.stages.contrast_views import contrast_views
from pipelines.stages.explain_job import ExplainJob, open_explain_job
from pipelines.stages.feature_maps import make_feature_maps
from pipelines.workspace import Workspace

__all__ = ["work"]


def _explained(job: ExplainJob, i: int, activations: Sequence[Activations]) -> ScanMaps:
    scan, config = job.scans[i], job.config
    stack = job.stack(i)
    return explain_scan(
        stack,
        activations,
        job.trained,
        patient_id=scan["patient_id"],
        geometry=slice_geometry(
            Path(scan["volume"]), stack, spec=config.slices, volumes=config.volumes
        ),
        features=job.features(i) if job.trunks is None else {},
        grad_cam=config.explanation.grad_cam,
    )


def _maps_of_all(job: ExplainJob) -> bool:
    """Put every scan's maps into the cache; return whether the first is the same once more."""
    store, reporter = MapStore(job.context.workspace.cache), job.context.reporter
    todo = [i for i, scan in enumerate(job.scans) if scan["maps"] not in store]
    kept = {i for i in todo if job.kept(i) is not None}
    reporter.note(
        f"maps of {len(job.scans)} scans by {len(job.trained)} heads: "
        f"{len(job.scans) - len(todo)} in the cache, {len(todo)} to compute, "
        f"{len(todo) - len(kept)} of them through the trunk"
        + ("" if job.trunks is None else ", by the tail of each fold")
    )
    computed = _computed(job, todo, kept)
    for i, maps in reporter.track(computed, total=len(todo), what="maps of slices"):
        store.put(job.scans[i]["maps"], maps)
    kept_of_first = job.kept(0)
    first = job.passed(0) if kept_of_first is None else [kept_of_first] * len(job.trained)
    return store.get(job.scans[0]["maps"]).same(_explained(job, 0, first))


def _computed(job: ExplainJob, todo: list[int], kept: set[int]) -> Iterator[tuple[int, ScanMaps]]:
    """Yield the maps of scans; those that need the trunk come first and take all cores each."""
    for i in todo:
        if i not in kept:
            yield i, _explained(job, i, job.passed(i))

    def from_kept(i: int) -> ScanMaps:
        activations = job.kept(i)
        assert activations is not None
        return _explained(job, i, [activations] * len(job.trained))

    rest = [i for i in todo if i in kept]
    yield from zip(rest, map_on_cores(from_kept, rest), strict=True)


def _demo_spec(workspace: Workspace) -> DemoSpec | None:
    """Return what the built-in cohort was grown by; None for real patients."""
    paths = read_index(workspace.manifest)["path"]
    folders = Path(paths.iloc[0]).parents if len(paths) else ()
    for folder in list(folders)[:4]:
        record = read_json_object(folder / SPEC_FILE)
        if record is not None:
            return DemoSpec(**record["spec"])
    return None


def _space(workspace: Workspace, demo: DemoSpec | None, *, registered: bool) -> Space:
    came_ready = any(row["path"] for row in read_prepared_index(workspace))
    quality = read_index(workspace.quality)
    used = set(read_index(workspace.slices)["scan_id"])
    turns = quality.loc[
        quality["scan_id"].isin(used) & (quality["passed_through"] == "True"), "turn"
    ]
    counts = {str(turn): int(n) for turn, n in turns.value_counts().items() if turn}
    return Space(mni=demo is not None or (registered and not came_ready), turned=counts)


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    spec, positive = config.explanation, config.labels.positive
    # What an earlier run of the stage left could pass for this one's.
    (workspace.explanations / DOCUMENT).unlink(missing_ok=True)
    # First, so that a fault in it costs no computing.
    atlas = find_atlas(spec.atlas, spec.atlas_labels) if spec.maps else None
    for pattern in ("group_*", "difference.*", "feature_maps.*"):
        for file in workspace.explanations.glob(pattern):
            file.unlink()
    shown = make_feature_maps(context) if spec.maps else []
    job = open_explain_job(context)
    own_labels = Folds.read(workspace.folds)
    # First, since a tail that passes for a map makes the features of the neighbours as well.
    same_again = _maps_of_all(job) if spec.maps else None
    tables = job.tables if job.tuned is None else job.tuned
    neighbours = nearest_patients(job.trained, tables, own_labels, n=spec.neighbours)
    files = shown
    if spec.maps:
        found, made = _with_maps(job, neighbours, own_labels, atlas=atlas, same_again=same_again)
        files = [*shown, *made]
    else:
        found = without_maps(
            neighbours,
            own_labels,
            spec=spec,
            positive=positive,
            seed=config.seed,
            confidence=config.evaluation.confidence,
        )
    files += write_explanation(found, workspace.explanations)
    return StageResult(outputs=files, summary=_summary(found))


def _with_maps(
    job: ExplainJob,
    neighbours: pd.DataFrame,
    own_labels: Folds,
    *,
    atlas: Atlas | None,
    same_again: bool | None,
) -> tuple[Explanation, list[Path]]:
    context, config = job.context, job.config
    workspace = context.workspace
    views = close_views(job)
    pixels = pixel_attributions(job, views)
    store = MapStore(workspace.cache)
    context.reporter.note("checks, groups, regions")

    def read(i: int) -> ScanMaps:
        return store.get(job.scans[i]["maps"])

    owners = [scan["patient_id"] for scan in job.scans]
    scan_ids = [scan["scan_id"] for scan in job.scans]
    cohort = centred_maps(scan_ids, owners, read, job.trained, own_labels)
    if job.trunks is not None:
        scores = PatientScores.read(workspace.patient_scores).table
        gap = score_mismatch(owners, read, job.trained, job.folds, scores)
        cohort = dataclasses.replace(cohort, mismatch=gap)
    geometries = [read(i).geometry(config.slices) for i in range(len(job.scans))]
    contrast = contrast_views(job, cohort, geometries, own_labels)
    findings = Findings(
        cohort=cohort,
        geometries=geometries,
        pictures=lambda i: job.stack(i).pixels,
        pixels=[
            (view.patient, scan_ids[view.i], one) for view, one in zip(views, pixels, strict=True)
        ],
        curves=covering_curves(job, views, pixels, cohort, contrast),
        contrast=contrast,
        is_complete=all(
            HEADS[one.head.kind].additive and one.harmoniser is None for one in job.trained
        ),
        same_again=same_again,
        tuned=job.trunks is not None,
    )
    demo = _demo_spec(workspace)
    return compose(
        findings,
        neighbours,
        own_labels,
        spec=config.explanation,
        space=_space(workspace, demo, registered=config.preparation.registration),
        atlas=atlas,
        positive=config.labels.positive,
        demo=demo,
        seed=config.seed,
        confidence=config.evaluation.confidence,
        folder=workspace.explanations,
    )


def _summary(found: Explanation) -> str:
    failed = [check.check for check in found.document.checks if check.passed is False]
    text = f"maps of {len(found.scan_ids)} scans, {len(found.document.groups)} group maps"
    return text + (f"; sanity checks not met: {', '.join(failed)}" if failed else "")
