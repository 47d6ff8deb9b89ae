"""The cohort that a bundle is tested on: its scores, who was trained on, what the bundle says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from mri_transfer.bundle import ModelBundle, find_overlap
from mri_transfer.cohorts.exclusions import Exclusion
from mri_transfer.cohorts.labels import why_unused
from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.evaluation.external.settings import ModelFacts, NewCohort
from mri_transfer.metrics.task import Task
from mri_transfer.models.features import FeatureTable, encode_poolings
from mri_transfer.models.harmonisation import demand_one_site
from mri_transfer.models.moments import adapt_moments
from mri_transfer.models.tails.tuned_trunk import open_model_trunk
from mri_transfer.scans.slices import SliceStore
from mri_transfer.training.score import score_patients
from pipelines.config import RunConfig
from pipelines.indexes import read_index
from pipelines.jobs.retrain import known_tail, scan_digests
from pipelines.stage import Context
from pipelines.stages.features import read_activations, read_feature_tables
from pipelines.workspace import Workspace

__all__ = [
    "adapted_tables",
    "demand_known_sites",
    "find_known",
    "model_facts",
    "model_tables",
    "score_cohort",
]


def model_tables(context: Context, bundle: ModelBundle) -> dict[str, FeatureTable]:
    """Return a run's features as the bundle's trunk makes them, with the tail if there is one."""
    workspace, config = context.workspace, context.config
    tables = read_feature_tables(workspace, config)
    scans = next(iter(tables.values())).scan_ids
    activations = read_activations(workspace, config, scans)
    if activations is None:
        return tables
    features = known_tail(context, bundle).features(activations, tables)
    return {
        pooling: dataclasses.replace(table, features=features[pooling])
        for pooling, table in tables.items()
    }


def adapted_tables(context: Context, bundle: ModelBundle) -> dict[str, FeatureTable]:
    """Return a run's features by the bundle's trunk with moments of the run's own scans.

    All scans of the run take part, labelled or not; no label is read. The trunk computes in single
    precision.

    Raises
    ------
    ConfigurationError
        If the trunk has no batch normalisation.
    """
    workspace, config = context.workspace, context.config
    plain = dataclasses.replace(config.features, precision="fp32", device="cpu")
    trunk = open_model_trunk(
        config.trunk, plain, bundle.tail, weights_path=context.weights, cache=workspace.weights
    )
    # In an order that no name decides: rounding depends on it.
    scans = read_index(workspace.slices).sort_values("scan_sha256")
    store = SliceStore(workspace.cache)
    stacks = [(key, scan_id) for key, scan_id in zip(scans["key"], scans["scan_id"], strict=True)]
    reporter = context.reporter
    adapted = adapt_moments(
        trunk,
        (
            store.get(key, scan_id=scan_id).pixels
            for key, scan_id in reporter.track(
                stacks, total=len(stacks), what="moments of this cohort's scans"
            )
        ),
    )
    poolings = {model.pooling for model in (bundle.trained, *bundle.bootstrap)}
    encoded = [
        encode_poolings(store.get(key, scan_id=scan_id), adapted, poolings)
        for key, scan_id in reporter.track(
            stacks, total=len(stacks), what="features with these moments"
        )
    ]
    patients, digests = scans["patient_id"].tolist(), scans["scan_sha256"].tolist()
    return {
        pooling: FeatureTable.collect((one[pooling] for one in encoded), patients, digests)
        for pooling in poolings
    }


def demand_known_sites(manifest: Manifest, bundle: ModelBundle) -> None:
    """Refuse a cohort that the bundle's heads cannot harmonise, before its scans are prepared.

    Raises
    ------
    HeadError
        If the heads harmonise sites, and a patient's is not told, unknown to them, or one of
        several; if a column that they keep is missing.
    """
    if bundle.trained.harmoniser is None:
        return
    combat = bundle.trained.harmoniser.combat
    labelled = manifest.scans["label"].isin(bundle.config.labels.used)
    scored = manifest.keep(manifest.scans["scan_id"][labelled])
    demand_one_site(scored.scans, combat.site_column)
    combat.check(scored.patients())


def score_cohort(
    workspace: Workspace,
    config: RunConfig,
    bundle: ModelBundle,
    tables: Mapping[str, FeatureTable],
) -> tuple[NewCohort, list[Exclusion]]:
    """Score every patient that has a label of the task; list the scans of the others.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
    bundle : ModelBundle
    tables : mapping of str to FeatureTable
        By pooling, of the bundle's own trunk: see `model_tables`.
    """
    labels = dataclasses.replace(config.labels, unlabelled="exclude")
    manifest = read_manifest(workspace.manifest, check_files=False)
    patients = manifest.patients()
    reasons = {
        str(name): why_unused(label if isinstance(label, str) else None, labels)
        for name, label in patients["label"].items()
    }
    unlabelled = [
        Exclusion(
            scan_id=scan["scan_id"],
            patient_id=scan["patient_id"],
            stage="validate",
            reason=str(reasons[scan["patient_id"]]),
        )
        for scan in manifest.scans.to_dict("records")
        if reasons[scan["patient_id"]] is not None
    ]
    kept = patients[[reasons[str(name)] is None for name in patients.index]]
    called = kept["label"].map(
        lambda label: labels.positive if label == labels.positive else labels.others
    )
    scores, slices = score_patients(
        bundle.trained,
        tables,
        {str(name): str(label) for name, label in called.items()},
        positive=labels.positive,
        others=labels.others,
        covariates=patients.drop(columns="label"),
    )
    synthetic = "synthetic" in manifest.covariates
    return (
        NewCohort(
            scores=scores.table,
            slice_scores=slices.table,
            patients=kept.assign(label=called),
            synthetic=synthetic,
        ),
        unlabelled,
    )


def find_known(workspace: Workspace, bundle: ModelBundle, names: Sequence[str]) -> pd.DataFrame:
    """List the patients whose name or scan is among the bundle's training data."""
    prepared = read_index(workspace.prepared)
    rows = []
    for name in names:
        digests = scan_digests(workspace, prepared[prepared["patient_id"] == name])
        found = find_overlap(bundle.marks, patient_id=name, scan_digests=digests)
        if found:
            rows.append({"patient_id": name, "by_name": found.patient, "by_scan": found.scan})
    return pd.DataFrame(rows, columns=["patient_id", "by_name", "by_scan"])


def model_facts(bundle: ModelBundle) -> ModelFacts:
    """Return what a bundle says of itself, as testing needs it."""
    facts = bundle.facts
    performance = facts["performance"]
    return ModelFacts(
        version=bundle.version,
        digest=bundle.digest,
        task=Task(positive=facts["labels"]["positive"], negative=facts["labels"]["others"]),
        threshold=bundle.trained.threshold,
        choices=bundle.trained.head.facts,
        performance=performance["figures"],
        performance_from=performance["from"],
        case_mix=performance.get("case_mix"),
        n_patients=facts["cohort"]["n_patients"],
        trunk_weights=facts["recipe"]["trunk"]["weights"],
        synthetic=facts["cohort"]["synthetic"],
    )
