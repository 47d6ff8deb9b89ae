"""explain: where in the brain each score comes from, by heads that had not seen the patient."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.synthetic.cohort import SPEC_FILE, DemoSpec
from mri_transfer.core.files import read_json_object
from mri_transfer.core.specs import digest
from mri_transfer.core.threads import map_on_cores
from mri_transfer.explain import Explanation, write_explanation
from mri_transfer.explain.attribution import Activations, FeaturesByPooling, explain_scan
from mri_transfer.explain.choice import ChosenPatient, choose_patients
from mri_transfer.explain.cohort_maps import centred_maps, own_heads, score_mismatch
from mri_transfer.explain.compose import compose, without_maps
from mri_transfer.explain.explanation import DOCUMENT
from mri_transfer.explain.findings import Findings, Space
from mri_transfer.explain.geometry import slice_geometry
from mri_transfer.explain.neighbours import nearest_patients
from mri_transfer.explain.pixel_attribution import (
    PixelAttribution,
    PixelAttributionStore,
    PixelTrunks,
    attribute_pixels,
    pixel_attribution_key,
)
from mri_transfer.explain.scan_maps import MapStore, ScanMaps, maps_key
from mri_transfer.models.features import FeatureTable, MaximaStore, resolve_features
from mri_transfer.models.heads import HEADS
from mri_transfer.models.pooling import Maxima
from mri_transfer.models.tails.tuned_features import TailTrunks, TunedTables
from mri_transfer.models.trunks import Trunk, untrained
from mri_transfer.scans.slices import SliceStack, SliceStore
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds
from mri_transfer.training.predictions import PatientScores
from pipelines.config import RunConfig
from pipelines.indexes import read_index, read_prepared_index
from pipelines.stage import Context, StageResult
from pipelines.stages.feature_maps import make_feature_maps
from pipelines.stages.features import key_column, open_trunk, read_feature_tables
from pipelines.stages.fold_trunks import open_fold_trunks, read_tuned_tables
from pipelines.stages.folds import read_folds
from pipelines.stages.train import read_trained
from pipelines.workspace import Workspace

__all__ = ["work"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """What is read once and used throughout."""

    context: Context
    trained: list[FittedModel]
    tables: Mapping[str, FeatureTable]
    """Of the frozen trunk, by pooling."""
    folds: Folds
    scans: list[dict[str, str]]
    """In the order of the tables: scan_id, patient_id, volume, and the keys `slices`, `maps` and,
    where features are max-pooled, `maxima`."""
    trunks: TailTrunks | None
    """Where tails were trained."""

    @property
    def config(self) -> RunConfig:
        """The run's settings."""
        return self.context.config

    def stack(self, i: int) -> SliceStack:
        """Return the slices of a scan."""
        scan = self.scans[i]
        store = SliceStore(self.context.workspace.cache)
        return store.get(scan["slices"], scan_id=scan["scan_id"])

    @functools.cached_property
    def trunk(self) -> Trunk:
        """The trunk, loaded when it is first asked for: often nothing has to pass through it."""
        config = self.config
        return open_trunk(self.context, config.trunk, resolve_features(config.features))

    @functools.cached_property
    def tuned(self) -> TunedTables | None:
        """The features that the folds' tails make; None if the trunk stays frozen."""
        if self.trunks is None:
            return None
        frozen = next(iter(self.tables.values()))
        return read_tuned_tables(self.context, self.trunks, self.trained, frozen)

    @functools.cached_property
    def _random_trunk(self) -> Trunk:
        config = self.config
        control = untrained(config.trunk, seed=config.seed)
        return open_trunk(self.context, control, resolve_features(config.features))

    @functools.cached_property
    def _frozen_pixels(self) -> PixelTrunks:
        return PixelTrunks.of(self.trunk, self._random_trunk)

    def pixel_trunks(self, model: FittedModel) -> PixelTrunks:
        """Return the trunk of a fold as pixel attribution needs it."""
        if self.trunks is None:
            return self._frozen_pixels
        return PixelTrunks.of(self.trunks.of(model.reader.tail), self._random_trunk)

    @functools.cached_property
    def poolings(self) -> tuple[str, ...]:
        """The poolings that the heads read."""
        return tuple(dict.fromkeys(model.pooling for model in self.trained))

    def features(self, i: int) -> FeaturesByPooling:
        """Return the features of a scan by the frozen trunk, by pooling."""
        return {name: self.tables[name].features[i] for name in self.poolings}

    def kept(self, i: int) -> Activations | None:
        """Return what is kept of a scan's activations, if that is enough for its maps."""
        if self.trunks is not None or self.poolings != ("max",) or self.config.explanation.grad_cam:
            return None
        features = self.features(i)
        store = MaximaStore(self.context.workspace.cache)
        maxima = store.find(self.scans[i]["maxima"], features["max"])
        return None if maxima is None else Activations(features=features, maps=maxima)


def _job(context: Context) -> _Job:
    workspace, config = context.workspace, context.config
    folds = read_folds(workspace, config)
    trunks = open_fold_trunks(context)
    trained = [
        one.with_source(trunks.source if trunks else None)
        for one in read_trained(workspace, config, folds)
    ]
    tables = read_feature_tables(workspace, config)
    features = read_index(workspace.features)
    columns = [str(name) for name in features if str(name).startswith("key")]
    slices = read_index(workspace.slices)
    slices_key = dict(zip(slices["scan_id"], slices["key"], strict=True))
    volume = {row["scan_id"]: row["volume"] for row in read_prepared_index(workspace)}
    scans = []
    for row in features.to_dict("records"):
        key = digest([row[name] for name in columns])
        scans.append(
            {
                "scan_id": str(row["scan_id"]),
                "patient_id": str(row["patient_id"]),
                "volume": volume[row["scan_id"]],
                "slices": slices_key[row["scan_id"]],
                "maxima": str(row.get(key_column("max", config), "")),
                "maps": maps_key(
                    features_key=key,
                    patient_id=row["patient_id"],
                    trained=trained,
                    grad_cam=config.explanation.grad_cam,
                ),
            }
        )
    return _Job(
        context=context, trained=trained, tables=tables, folds=folds, scans=scans, trunks=trunks
    )


def _explained(job: _Job, i: int, activations: Sequence[Activations]) -> ScanMaps:
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


def _passed(job: _Job, i: int) -> list[Activations]:
    """Pass a scan through the trunk, or the tail of each fold, once more, for each head."""
    if job.tuned is None:
        return [_passed_frozen(job, i)] * len(job.trained)
    return [
        Activations.of_maps(job.tuned.maps(model.reads, i), [model.pooling])
        for model in job.trained
    ]


def _passed_frozen(job: _Job, i: int) -> Activations:
    """Pass a scan through the trunk once more; keep where the largest values lie."""
    activations = Activations.through(job.trunk, job.stack(i), job.poolings)
    if "max" in job.poolings and not isinstance(activations.maps, Maxima):
        store = MaximaStore(job.context.workspace.cache)
        maxima = Maxima.of(activations.maps)
        store.put(job.scans[i]["maxima"], maxima, activations.features["max"])
    return activations


def _maps_of_all(job: _Job) -> bool:
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
    first = _passed(job, 0) if kept_of_first is None else [kept_of_first] * len(job.trained)
    return store.get(job.scans[0]["maps"]).same(_explained(job, 0, first))


def _computed(job: _Job, todo: list[int], kept: set[int]) -> Iterator[tuple[int, ScanMaps]]:
    """Yield the maps of scans; those that need the trunk come first and take all cores each."""
    for i in todo:
        if i not in kept:
            yield i, _explained(job, i, _passed(job, i))

    def from_kept(i: int) -> ScanMaps:
        activations = job.kept(i)
        assert activations is not None
        return _explained(job, i, [activations] * len(job.trained))

    rest = [i for i in todo if i in kept]
    yield from zip(rest, map_on_cores(from_kept, rest), strict=True)


def _pixel_attributions(job: _Job) -> list[tuple[ChosenPatient, str, PixelAttribution]]:
    context, config = job.context, job.config
    spec = config.explanation
    if not spec.close_patients:
        return []
    scores = PatientScores.read(context.workspace.patient_scores).table
    chosen = choose_patients(scores, n=spec.close_patients, positive=config.labels.positive)
    context.reporter.note(
        f"pixel attribution of {len(chosen)} patients, {spec.close_slices} slices each: "
        f"{spec.gradient_steps} steps of integrated gradients, then occlusion"
    )
    tracked = context.reporter.track(chosen, total=len(chosen), what="pixel attribution")
    return [(patient, *_pixel_attribution(job, patient)) for patient in tracked]


def _pixel_attribution(job: _Job, patient: ChosenPatient) -> tuple[str, PixelAttribution]:
    i = next(i for i, s in enumerate(job.scans) if s["patient_id"] == patient.patient_id)
    scan, spec = job.scans[i], job.config.explanation
    own = own_heads(job.trained, job.folds)[patient.patient_id]
    heads = [job.trained[h] for h in own]
    cache = job.context.workspace.cache
    store = PixelAttributionStore(cache)
    repeats = [(model.repeat, model.fold) for model in heads]
    seed = {"seed": job.config.seed}
    key = digest([pixel_attribution_key(maps_key=scan["maps"], repeats=repeats, spec=spec), seed])
    if key not in store:
        maps = MapStore(cache).get(scan["maps"])
        attribution = attribute_pixels(
            job.stack(i),
            [job.pixel_trunks(model) for model in heads],
            heads,
            patient_id=patient.patient_id,
            weights=maps.weights[own],
            raw=maps.exact[own[0]],
            spec=spec,
        )
        store.put(key, attribution)
    return scan["scan_id"], store.get(key)


def _demo_spec(workspace: Workspace) -> DemoSpec | None:
    """Return what the built-in cohort was grown by; None for real patients."""
    paths = read_index(workspace.manifest)["path"]
    folders = Path(paths.iloc[0]).parents if len(paths) else ()
    for folder in list(folders)[:4]:
        record = read_json_object(folder / SPEC_FILE)
        if record is not None:
            return DemoSpec(**record["spec"])
    return None


def _space(workspace: Workspace, demo: DemoSpec | None) -> Space:
    came_ready = any(row["path"] for row in read_prepared_index(workspace))
    quality = read_index(workspace.quality)
    used = set(read_index(workspace.slices)["scan_id"])
    turns = quality.loc[
        quality["scan_id"].isin(used) & (quality["passed_through"] == "True"), "turn"
    ]
    counts = {str(turn): int(n) for turn, n in turns.value_counts().items() if turn}
    return Space(mni=demo is not None or not came_ready, turned=counts)


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    spec, positive = config.explanation, config.labels.positive
    # What an earlier run of the stage left could pass for this one's.
    (workspace.explanations / DOCUMENT).unlink(missing_ok=True)
    for pattern in ("group_*", "difference.*", "feature_maps.*"):
        for file in workspace.explanations.glob(pattern):
            file.unlink()
    shown = make_feature_maps(context) if spec.maps else []
    job = _job(context)
    own_labels = Folds.read(workspace.folds)
    # First, since a tail that passes for a map makes the features of the neighbours as well.
    same_again = _maps_of_all(job) if spec.maps else None
    tables = job.tables if job.tuned is None else job.tuned
    neighbours = nearest_patients(job.trained, tables, own_labels, n=spec.neighbours)
    files = shown
    if spec.maps:
        found, made = _with_maps(job, neighbours, own_labels, same_again=same_again)
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
    job: _Job, neighbours: pd.DataFrame, own_labels: Folds, *, same_again: bool | None
) -> tuple[Explanation, list[Path]]:
    context, config = job.context, job.config
    workspace = context.workspace
    pixels = _pixel_attributions(job)
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
    findings = Findings(
        cohort=cohort,
        geometries=[read(i).geometry(config.slices) for i in range(len(job.scans))],
        pictures=lambda i: job.stack(i).pixels,
        pixels=pixels,
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
        space=_space(workspace, demo),
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
