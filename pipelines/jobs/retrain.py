"""retrain: a run's procedure refitted on all its patients, and packed as a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from mri_transfer.bundle import (
    ConformalSets,
    ModelBundle,
    Seal,
    TrainingScan,
    TrainingSummary,
    calibrate,
    demand_free,
    describe_scan,
    expected_performance,
    make_bundle,
    write_bundle,
)
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import RunFolderError
from mri_transfer.evaluation import EvaluationDocument
from mri_transfer.evaluation.external.case_mix import describe_case_mix
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail
from mri_transfer.models.tails.tuned_trunk import open_model_trunk
from mri_transfer.scans.preparation import PreparedStore
from mri_transfer.scans.preparation.identity import IdentityStore, identity_key
from mri_transfer.scans.quality import ScoreStore, score_key
from mri_transfer.scans.slices import SliceStore
from mri_transfer.scans.volumes import check_header
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.predictions import InnerScores, PatientScores
from mri_transfer.training.refit import BootstrapSpec, bootstrap_heads, refit_on_all
from mri_transfer.training.tuning import TailPlan
from pipelines.config import RunConfig, read_config
from pipelines.indexes import read_prepared_index
from pipelines.lock import locked
from pipelines.plan.models import trained_files
from pipelines.plan.order import STAGES
from pipelines.record import StageRecord
from pipelines.running import demand_trusted
from pipelines.stage import Context, Reporter
from pipelines.stages.brain_volumes import learn_norm
from pipelines.stages.features import read_activations, read_feature_tables
from pipelines.stages.folds import read_folds
from pipelines.stages.instances import read_instances
from pipelines.stages.train import covariates_of, read_trained, tail_plan
from pipelines.workspace import Workspace

__all__ = [
    "COHORT_CACHES",
    "known_tail",
    "plan_of",
    "Packing",
    "cohort_files",
    "read_cohort",
    "read_training_summary",
    "model_config_of",
    "retrain_run",
    "scan_digests",
]


#: The stages whose entries of the cache are read with `cohort_files`.
COHORT_CACHES = ("prepare", "slices", "features")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packing:
    """Where a bundle goes, and what its maker decides about it."""

    out: Path
    zipped: bool = False
    version: str | None = None
    """By default 1, and one more than the old bundle's."""
    sign: Path | None = None
    with_features: bool = False
    bootstrap: BootstrapSpec = dataclasses.field(default_factory=BootstrapSpec)


def cohort_files(workspace: Workspace) -> list[tuple[Path, str]]:
    """Return the files that hold a run's patients, each with the stage that makes it."""
    return [
        (workspace.manifest, "prepare"),
        (workspace.prepared, "prepare"),
        (workspace.slices, "slices"),
        (workspace.features, "features"),
    ]


def model_config_of(workspace: Workspace, config: RunConfig) -> ModelConfig:
    """Return a run's settings from scan to decision, with what its features were computed on."""
    record = StageRecord.read(workspace, "features")
    if record is None:
        raise RunFolderError(
            "the record of the features is missing or of another version",
            where=str(workspace.root),
            remedy="Run `mri-transfer features` on this folder again",
        )
    names = {field.name for field in dataclasses.fields(ModelConfig)}
    shared = {name: value for name, value in vars(config).items() if name in names}
    resolved = {name: record.specs["features"][name] for name in ("precision", "device")}
    changed = {
        "features": dataclasses.replace(config.features, **resolved),
        # What is kept is named by scan: nobody's name leaves.
        "quality": dataclasses.replace(config.quality, keep=()),
        # Of a frozen trunk the settings for tails say nothing.
        "tuning": config.tuning if config.tuning.trains else TuningSpec(),
    }
    return ModelConfig(**{**shared, **changed})


def read_cohort(context: Context) -> LabelledFeatures:
    """Read the features and labels of a run's patients, and of its instances if it has any."""
    workspace, config = context.workspace, context.config
    labels, tables = config.labels, read_feature_tables(workspace, config)
    patients = read_manifest(workspace.manifest, check_files=False).patients()["label"]
    scans = next(iter(tables.values())).scan_ids
    cohort = LabelledFeatures(
        tables=tables,
        labels={
            str(name): labels.positive if label == labels.positive else labels.others
            for name, label in patients.items()
        },
        positive=labels.positive,
        covariates=covariates_of(workspace, config),
        activations=read_activations(workspace, config, scans),
    )
    instances = read_instances(context)
    return cohort.with_instances(instances and instances.against(labels.positive, labels.others))


def plan_of(context: Context, model_config: ModelConfig) -> TailPlan | None:
    """Return what a model's tail starts from, as its features were computed; None if frozen."""
    as_computed = dataclasses.replace(context.config, features=model_config.features)
    return tail_plan(dataclasses.replace(context, config=as_computed))


def known_tail(context: Context, bundle: ModelBundle) -> Tail:
    """Return a bundle's tail, ready for a run's activations."""
    plan = plan_of(context, bundle.config)
    assert bundle.tail is not None  # its configuration trains one, as the run's does
    assert plan is not None
    return bundle.tail.with_source(plan.source)


def read_training_summary(
    workspace: Workspace, *, patient_ids: Collection[str] | None = None
) -> TrainingSummary:
    """Read what else a run knows of its scans and patients, or of some of them."""
    patients = read_manifest(workspace.manifest, check_files=False).patients()
    prepared = _table(workspace, workspace.prepared, made_by="prepare")
    if patient_ids is not None:
        patients = patients.loc[list(patient_ids)]
        prepared = prepared[prepared["patient_id"].isin(list(patient_ids))]
    return TrainingSummary(
        scans=_training_scans(workspace, prepared),
        ages={
            str(name): None if pd.isna(age) else float(age) for name, age in patients["age"].items()
        },
        scan_digests=scan_digests(workspace, prepared),
        synthetic="synthetic" in patients,
    )


def _table(workspace: Workspace, path: Path, *, made_by: str) -> pd.DataFrame:
    return pd.read_csv(workspace.demand(path, made_by=made_by), dtype=str, keep_default_na=False)


def _training_scans(workspace: Workspace, prepared: pd.DataFrame) -> tuple[TrainingScan, ...]:
    """Measure the scans of a run, as new ones will be."""
    config = read_config(workspace.config)
    slices = _table(workspace, workspace.slices, made_by="slices").merge(
        prepared, on=["scan_id", "patient_id"], suffixes=("", "_prepared")
    )
    volumes = {row["scan_id"]: row["volume"] for row in read_prepared_index(workspace)}
    stacks, store = SliceStore(workspace.cache), PreparedStore(workspace.cache)
    scores = ScoreStore(workspace.cache)
    return tuple(
        describe_scan(
            stacks.get(row["key"], scan_id=row["scan_id"]),
            scores.get(score_key(row["key_prepared"])),
            check_header(volumes[row["scan_id"]], scan_id=row["scan_id"], spec=config.volumes),
            patient_id=row["patient_id"],
            passed_through=bool(store.facts(row["key_prepared"])["passed_through"]),
            spec=config.slices,
        )
        for row in slices.to_dict("records")
    )


def scan_digests(workspace: Workspace, prepared: pd.DataFrame) -> frozenset[str]:
    """Return what some scans' files, contents and voxels are recognised by."""
    digests = set(prepared["scan_sha256"])
    store = IdentityStore(workspace.cache)
    for key in map(identity_key, prepared["key"]):
        if key in store:
            known = store.get(key)
            digests |= {known.content_sha256, known.voxel_sha256}
    return frozenset(digests)


def retrain_run(
    workspace: Workspace,
    config: RunConfig,
    packing: Packing,
    *,
    reporter: Reporter,
    weights: Path | None = None,
) -> Seal:
    """Refit a run's procedure on all its patients, and write the bundle.

    Raises
    ------
    RunFolderError
        If the run was not evaluated, or its files were edited or are stale: a bundle promises
        what was measured.
    """
    demand_free(packing.out, zipped=packing.zipped)
    context = Context(workspace=workspace, config=config, reporter=reporter, weights=weights)
    with locked(workspace):
        demand_trusted(context, _files(workspace), stages=STAGES, caches=COHORT_CACHES)
        return _retrain(context, packing)


def _files(workspace: Workspace) -> list[tuple[Path, str]]:
    """Return everything that a bundle of a run is made of."""
    return [
        *cohort_files(workspace),
        (workspace.folds, "folds"),
        *trained_files(workspace),
        (workspace.patient_scores, "train"),
        (workspace.inner_scores, "train"),
        (workspace.evaluation, "evaluate"),
    ]


def _retrain(context: Context, packing: Packing) -> Seal:
    workspace, config, reporter = context.workspace, context.config, context.reporter
    document = EvaluationDocument.read(workspace.evaluation, stage="evaluate").plain()
    model_config, cohort = model_config_of(workspace, config), read_cohort(context)
    _demand_evaluated(workspace, config, cohort.patient_ids)
    refit = refit_on_all(
        model_config,
        cohort,
        tail=plan_of(context, model_config),
        progress=reporter.counter(f"fitting {config.heads.kind} heads"),
    )
    reporter.note(f"refitted on {len(cohort.patient_ids)} patients")
    tail = refit.trained.tail
    refit, cohort = refit.on_features(cohort)
    heads = bootstrap_heads(model_config, cohort, refit, spec=packing.bootstrap)
    reporter.note(f"{len(heads.heads)} heads of resampled patients")
    trunk = open_model_trunk(
        model_config.trunk,
        model_config.features,
        tail,
        weights_path=context.weights,
        cache=workspace.weights,
    )
    bundle = make_bundle(
        model_config,
        cohort,
        read_training_summary(workspace),
        trunk=trunk,
        refit=refit,
        bootstrap=heads,
        bootstrap_spec=packing.bootstrap,
        performance={
            **expected_performance(document),
            "case_mix": _case_mix(workspace, config),
        },
        version=packing.version or "1",
        with_features=packing.with_features,
        conformal=_conformal(workspace, config),
        ventricular_norm=learn_norm(context),
    )
    return write_bundle(bundle, packing.out, sign=packing.sign, zipped=packing.zipped)


def _conformal(workspace: Workspace, config: RunConfig) -> ConformalSets | None:
    """Make sets of labels of the run's own folds: each patient was scored without being seen.

    None where tails were trained: every fold's head reads features of a tail of its own, and the
    bundle holds one tail.
    """
    if config.tuning.trains:
        return None
    return calibrate(
        read_trained(workspace, config, read_folds(workspace, config)),
        PatientScores.read(workspace.patient_scores).table,
        positive=config.labels.positive,
        inner=InnerScores.read(workspace.inner_scores).table,
    )


def _case_mix(workspace: Workspace, config: RunConfig) -> dict[str, Any]:
    """Describe the patients by figures that a later cohort is compared with."""
    scores = PatientScores.read(workspace.patient_scores).table
    wide = scores.pivot(index="repeat", columns="patient_id", values="score")
    patients = read_manifest(workspace.manifest, check_files=False).patients().loc[wide.columns]
    positive = (patients["label"] == config.labels.positive).to_numpy()
    mix = describe_case_mix(patients, wide.to_numpy(), positive, fewest=5)
    return mix.model_dump(mode="json")


def _demand_evaluated(workspace: Workspace, config: RunConfig, patients: Collection[str]) -> None:
    """Refuse patients or settings that the evaluation was not of."""
    stale = set(read_folds(workspace, config).patient_ids) != set(patients)
    if stale:
        raise RunFolderError(
            "the evaluation is of other patients than the run holds now",
            where=str(workspace.root),
            remedy="Run `mri-transfer run` on this folder again",
        )
