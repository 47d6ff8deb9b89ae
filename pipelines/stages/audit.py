"""audit: whether the evaluation leaks, what else the features tell, how far the model holds."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.results import ResultStore
from mri_transfer.core.specs import digest
from mri_transfer.evaluation.audit import (
    AuditDocument,
    LearningCurveSpec,
    blind_activations,
    blinded_refit,
    check_instances,
    check_preprocessing,
    check_provenance,
    check_trunk_unseen,
    compare_scans,
    find_shortcuts,
    identity_probe,
    learning_curve,
    retest,
    robustness_rows,
    run_audit,
    scan_scores,
    stress_test,
)
from mri_transfer.evaluation.audit.document import CheckResult, Retest, RobustnessRow
from mri_transfer.evaluation.audit.learning_results import LearningCurve
from mri_transfer.evaluation.audit.shortcut_results import Shortcuts
from mri_transfer.explain.cohort_maps import own_heads
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.tails.tuned_features import TailTrunks, TunedTables
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier, configured_estimator
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds
from mri_transfer.training.predictions import InnerScores, PatientScores, SliceScores
from mri_transfer.training.search import Hyperparameters
from mri_transfer.training.tuning import TailPlan
from pipelines.config import RunConfig
from pipelines.indexes import read_index, scan_rows
from pipelines.stage import Context, StageResult
from pipelines.stages.baselines import random_trunk_table
from pipelines.stages.duplicates import read_duplicates
from pipelines.stages.features import (
    read_activations,
    read_feature_table,
    read_feature_tables,
)
from pipelines.stages.fold_trunks import open_fold_trunks, read_tuned_tables
from pipelines.stages.folds import read_folds
from pipelines.stages.recompute import recomputed_features
from pipelines.stages.robustness import perturbed_tables
from pipelines.stages.train import labelled_features, read_trained, tail_plan
from pipelines.trunk_weights import seen_scans

__all__ = ["work"]

Tables = Mapping[str, FeatureTable]

#: Name of the control in the learning curve.
_UNTRAINED = "random trunk"


def _usual_hyperparameters(config: RunConfig, trained: Sequence[FittedModel]) -> Hyperparameters:
    """Return those that most outer folds chose; of equals the configured one."""
    chosen = Counter(one.record.hyperparameters for one in trained)
    configured = config.hyperparameters.resolved
    return max(chosen, key=lambda one: (chosen[one], one == configured))


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    folds = read_folds(workspace, config)
    plan = tail_plan(context)
    trained = [
        one.with_source(plan.source if plan else None)
        for one in read_trained(workspace, config, folds)
    ]
    tables = read_feature_tables(workspace, config)
    if plan is not None:
        context.reporter.note(
            "the leakage stress test and the learning curve are those of the frozen trunk; "
            "blinded refits train the tails"
        )
    # First, because it says how long it will take: the longest part by far where it is asked for.
    robustness = _robustness(context, tables, folds, trained)
    procedure = _usual_hyperparameters(config, trained)
    table = tables[procedure.pooling]
    features_id = digest(read_index(workspace.features).to_dict("records"))
    results = ResultStore(workspace.cache)
    estimator = configured_estimator(config).with_hyperparameters(procedure)
    stress = stress_test(
        estimator,
        labelled_features(context, {procedure.pooling: table}, folds),
        folds,
        fold_spec=config.folds,
        n_permutations=config.audit.n_permutations,
        bootstrap_samples=config.audit.bootstrap_samples,
        seed=config.seed,
        results=results,
        features_id=f"{features_id} {procedure.pooling}",
        progress=context.reporter.counter("leakage stress test"),
    )
    context.reporter.note("identity, likeness, shortcuts, records, blinding")
    identity = identity_probe(
        table,
        dict(zip(folds.patient_ids, folds.labels, strict=True)),
        bootstrap_samples=config.audit.bootstrap_samples,
        seed=config.seed,
    )
    similar = compare_scans(table, folds=folds)
    shortcuts = _shortcuts(context, table)
    again = _retest(context, tables, folds, trained)
    curve = _learning_curve(context, estimator, table, folds, features_id, results)
    # Refits read the features anew; a large cohort's do not fit into memory twice.
    del table, tables
    audit = run_audit(
        stress=stress,
        identity=identity,
        duplicates=read_duplicates(workspace),
        similar=similar,
        checks=_checks(context, folds, trained, plan),
        shortcuts=shortcuts,
        retest=again,
        robustness=robustness,
        learning_curve=curve,
    )
    audit.write(workspace.audit)
    return StageResult(outputs=[workspace.audit], summary=_summary(audit, stress.sentence))


def _summary(audit: AuditDocument, sentence: str) -> str:
    n = len(audit.checks)
    return f"{sentence} {n - len(audit.failed)} of {n} checks passed."


def _checks(
    context: Context, folds: Folds, trained: Sequence[FittedModel], plan: TailPlan | None
) -> list[CheckResult]:
    workspace, config = context.workspace, context.config
    inner = InnerScores.read(workspace.inner_scores).table
    return [
        *check_provenance(
            {(one.repeat, one.fold): one.head.facts for one in trained},
            folds=folds.table(),
            features=read_index(workspace.features),
            patients=PatientScores.read(workspace.patient_scores).table,
            slices=SliceScores.read(workspace.slice_scores).table,
            # Empty where nothing was chosen: then there is nothing to hold against the folds.
            inner=None if inner.empty else inner,
        ),
        *check_instances(
            {(one.repeat, one.fold): one.head.facts for one in trained},
            features=read_index(workspace.features),
            slices=SliceScores.read(workspace.slice_scores).table,
        ),
        *blinded_refit(
            partial(_refit, context, plan),
            partial(read_feature_tables, workspace, config),
            folds,
            trained,
            labels=(config.labels.positive, config.labels.others),
            n_checked=config.audit.blinded_folds,
            seed=config.seed,
        ),
        *(
            [check_preprocessing(recomputed_features(context))]
            if config.audit.recomputed_patients
            else ()
        ),
        *_trunk_unseen(context),
    ]


def _refit(
    context: Context,
    plan: TailPlan | None,
    read: Callable[[], Tables],
    folds: Folds,
    place: tuple[int, int],
) -> FittedModel:
    """Fit one outer fold from the start, to tables that may be blinded or in another order."""
    with tempfile.TemporaryDirectory() as folder:

        def labelled() -> LabelledFeatures:
            tables = read()
            activations = _activations_like(context, tables, Path(folder), place)
            return labelled_features(context, tables, folds, activations=activations)

        result = cross_validate(
            configured_estimator(context.config, tail=plan),
            labelled,
            folds,
            seed=context.config.seed,
            only={place},
        )
    return result.trained[0]


def _activations_like(
    context: Context, tables: Tables, folder: Path, place: tuple[int, int]
) -> ActivationTable | None:
    """Return what lies at the cut, blinded where a table is; None if no tail is trained."""
    workspace, config = context.workspace, context.config
    if not config.tuning.trains:
        return None
    own = read_feature_table(workspace)
    activations = read_activations(workspace, config, own.scan_ids)
    assert activations is not None
    given = tables[config.features.pooling]
    return blind_activations(activations, own, given, folder, seed=place[1])


def _trunk_unseen(context: Context) -> list[CheckResult]:
    """Check weights that were trained on scans; of others it is known that none took part."""
    seen = seen_scans(context.workspace, context.config, context.weights)
    if seen is None:
        return []
    scans = scan_rows(read_index(context.workspace.features))
    return [check_trunk_unseen(seen.shared(scans), n_scans=len(scans))]


def _shortcuts(context: Context, table: FeatureTable) -> Shortcuts | None:
    workspace, config = context.workspace, context.config
    if not config.audit.shortcut_permutations:
        return None
    names, means = table.patient_means()
    patients = read_manifest(workspace.manifest, check_files=False).patients().loc[list(names)]
    scores = PatientScores.read(workspace.patient_scores).table
    wide = scores.pivot(index="repeat", columns="patient_id", values="score")[list(names)]
    return find_shortcuts(
        means,
        patients,
        seed=config.seed,
        n_permutations=config.audit.shortcut_permutations,
        scores=wide.to_numpy(),
        n_samples=config.audit.bootstrap_samples,
        confidence=config.evaluation.confidence,
    )


def _retest(
    context: Context, tables: Tables, folds: Folds, trained: Sequence[FittedModel]
) -> Retest:
    config = context.config
    scan_ids = next(iter(tables.values())).scan_ids
    scores = scan_scores(
        trained,
        tables,
        folds,
        positive_label=config.labels.positive,
        negative_label=config.labels.others,
        activations=read_activations(context.workspace, config, scan_ids),
    )
    return retest(
        scores,
        n_samples=config.audit.bootstrap_samples,
        seed=config.seed,
        confidence=config.evaluation.confidence,
    )


def _robustness(
    context: Context, tables: Tables, folds: Folds, trained: Sequence[FittedModel]
) -> tuple[RobustnessRow, ...] | None:
    config = context.config
    if not config.audit.robustness_patients:
        return None
    trunks = open_fold_trunks(context)
    return robustness_rows(
        trained,
        tables if trunks is None else _held_out_tables(context, trunks, trained, tables, folds),
        perturbed_tables(
            context,
            tables,
            n_patients=config.audit.robustness_patients,
            trunks=trunks,
            trained=trained,
        ),
        folds,
        positive_label=config.labels.positive,
        n_samples=config.audit.bootstrap_samples,
        seed=config.seed,
        confidence=config.evaluation.confidence,
    )


def _held_out_tables(
    context: Context,
    trunks: TailTrunks,
    trained: Sequence[FittedModel],
    tables: Tables,
    folds: Folds,
) -> TunedTables:
    """Return the features of each fold's held-out patients as its tail makes them."""
    held_out: dict[str, list[str]] = {model.reads: [] for model in trained}
    for name, heads in own_heads(trained, folds).items():
        for head in heads:
            held_out[trained[head].reads].append(name)
    frozen = next(iter(tables.values()))
    return read_tuned_tables(context, trunks, trained, frozen, patients=held_out)


def _learning_curve(
    context: Context,
    estimator: TransferClassifier,
    table: FeatureTable,
    folds: Folds,
    features_id: str,
    results: ResultStore,
) -> LearningCurve | None:
    config = context.config
    if not config.audit.learning_curve:
        return None
    tables = {"trained trunk": table}
    if config.trunk.weights != "random":
        tables[_UNTRAINED] = random_trunk_table(context)
    return learning_curve(
        estimator,
        {
            name: labelled_features(
                context, {estimator.pooling: one}, folds, instances=name != _UNTRAINED
            )
            for name, one in tables.items()
        },
        folds,
        spec=LearningCurveSpec(
            bootstrap_samples=config.audit.bootstrap_samples,
            confidence=config.evaluation.confidence,
        ),
        seed=config.seed,
        results=results,
        identities={name: f"{features_id} {estimator.pooling} {name}" for name in tables},
        progress=context.reporter.counter("learning curve"),
    )
