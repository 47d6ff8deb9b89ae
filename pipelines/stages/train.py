"""train: a head per outer fold, and the scores of the patients it did not see."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import MachineError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureTable, resolve_features
from mri_transfer.models.harmonisation import demand_one_site
from mri_transfer.models.tails.spec import source_trunk
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.models.trunks import Trunk
from mri_transfer.training.cross_validation import CrossValidation, cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.engine import place_of, training_view, workers
from mri_transfer.training.estimator import TransferClassifier, configured_estimator
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds
from mri_transfer.training.kept_fits import KeptFits
from mri_transfer.training.predictions import ClassScores
from mri_transfer.training.tuning import TailPlan
from pipelines.config import RunConfig
from pipelines.elsewhere import elsewhere
from pipelines.stage import Context, StageResult
from pipelines.stages.features import open_trunk, read_activations, read_feature_tables
from pipelines.stages.instances import read_instances
from pipelines.workspace import Workspace

__all__ = [
    "covariates_of",
    "labelled_features",
    "read_trained",
    "open_source_trunk",
    "tail_plan",
    "work",
]


def _clear_earlier(workspace: Workspace) -> None:
    """Remove what an earlier scheme of folds or classes left, which would pass for this one's."""
    workspace.class_scores.unlink(missing_ok=True)
    for pattern in ("*r*_f*.json", "*r*_f*.safetensors"):
        for file in workspace.heads.glob(pattern):
            file.unlink()


def covariates_of(workspace: Workspace, config: RunConfig) -> pd.DataFrame | None:
    """Return what harmonisation needs of the patients; None if the run does not harmonise."""
    if config.harmonisation.kind == "none":
        return None
    manifest = read_manifest(workspace.manifest, check_files=False)
    demand_one_site(manifest.scans, config.harmonisation.site_column)
    return manifest.patients().drop(columns="label")


def labelled_features(
    context: Context,
    tables: Mapping[str, FeatureTable],
    folds: Folds,
    *,
    positive: str | None = None,
    activations: ActivationTable | None = None,
    instances: bool = True,
) -> LabelledFeatures:
    """Return what the run's models are fitted on; `folds` have two labels.

    Parameters
    ----------
    context : Context
    tables : mapping of str to FeatureTable
    folds : Folds
    positive : str, optional
        The label to be told from the other one; by default the configured positive label.
    activations : ActivationTable, optional
    instances : bool
        Whether the run's instances are among it, which have features of its own trunk only.
    """
    workspace, config = context.workspace, context.config
    data = LabelledFeatures.of_folds(
        tables,
        folds,
        positive or config.labels.positive,
        covariates=covariates_of(workspace, config),
        activations=activations,
    )
    found = read_instances(context) if instances else None
    return data.with_instances(found and found.against(data.positive, data.negative))


def tail_plan(context: Context) -> TailPlan | None:
    """Return what tails start from and how they are trained; None if the trunk stays frozen."""
    tuning = context.config.tuning
    if not tuning.trains:
        return None
    spec = resolve_features(context.config.features)
    source = TailSource.of_trunk(open_source_trunk(context), tuning, spec)
    return TailPlan(spec=tuning, source=source)


def open_source_trunk(context: Context) -> Trunk:
    """Return the trunk as folds find it: in single precision, on a processor, never tuned."""
    config = context.config
    plain = dataclasses.replace(resolve_features(config.features), precision="fp32", device="cpu")
    return open_trunk(context, source_trunk(config.trunk, config.tuning), plain)


def read_trained(workspace: Workspace, config: RunConfig, folds: Folds) -> list[FittedModel]:
    """Read the heads of every outer fold."""
    covariates = covariates_of(workspace, config)
    return [
        FittedModel.read(
            workspace.head(one.repeat, one.fold),
            repeat=one.repeat,
            fold=one.fold,
            covariates=covariates,
        )
        for one in folds
    ]


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    folds = Folds.read(workspace.folds)
    result = _cross_validate(context, folds, config.labels.positive, config.labels.others)
    _clear_earlier(workspace)
    outputs = [workspace.patient_scores, workspace.slice_scores, workspace.inner_scores]
    for one in result.trained:
        outputs += one.write(workspace.head(one.repeat, one.fold))
    result.patients.write(workspace.patient_scores)
    result.slices.write(workspace.slice_scores)
    result.inner.write(workspace.inner_scores)
    if config.labels.classes:
        outputs += _each_class(context, folds, result)
    return StageResult(
        outputs=outputs,
        summary=f"{len(result.trained)} {config.heads.kind} heads, "
        f"{len(result.patients.table)} held-out patient scores",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fit:
    """The fit of an outer fold, for other machines: which one, and its key in the cache."""

    positive: str
    others: str
    repeat: int
    fold: int
    key: str


def _read_data(context: Context, two: Folds, positive: str) -> LabelledFeatures:
    """Return what is fitted to, to tell one label from the others."""
    workspace, config = context.workspace, context.config
    tables = read_feature_tables(workspace, config)
    scans = next(iter(tables.values())).scan_ids
    activations = read_activations(workspace, config, scans)
    return labelled_features(context, tables, two, positive=positive, activations=activations)


def _cross_validate(context: Context, folds: Folds, positive: str, others: str) -> CrossValidation:
    config, two = context.config, folds.against(positive, others)
    estimator = configured_estimator(config, tail=tail_plan(context))
    read = partial(_read_data, context, two, positive)
    counter = context.reporter.counter(
        f"fitting {config.heads.kind} heads, {positive} against {others}"
    )
    if not config.tuning.trains:
        return cross_validate(estimator, read, two, seed=config.seed, progress=counter)
    # A tail takes minutes or hours; heads alone are worth neither the space nor the way.
    kept, data = KeptFits(context.workspace.cache), read()
    n_made = _fit_elsewhere(context, kept, estimator, data, two)
    result = cross_validate(estimator, data, two, seed=config.seed, progress=counter, fit=kept.fit)
    if kept.n_found > n_made:
        context.reporter.note(
            f"{kept.n_found - n_made} of {len(result.trained)} folds were fitted before and kept"
        )
    return result


def _fit_elsewhere(
    context: Context,
    kept: KeptFits,
    estimator: TransferClassifier,
    data: LabelledFeatures,
    folds: Folds,
) -> int:
    """Let other machines, if there are any, make the fits that are not kept; return how many."""
    executor = context.executor(gpus=True)
    if not executor.remote:
        return 0
    missing = kept.missing(estimator, data, folds, seed=context.config.seed)
    fits = [
        _Fit(positive=data.positive, others=data.negative, repeat=repeat, fold=fold, key=key)
        for (repeat, fold), key in missing.items()
    ]
    made = executor.map(
        partial(_fit_batch, elsewhere(context)),
        fits,
        reads=partial(_read_by, context.workspace.features.absolute()),
        long=True,
    )
    what = f"fits of folds, {data.positive} against {data.negative}, on other machines"
    for _ in context.reporter.track(made, total=len(fits), what=what):
        pass
    return len(fits)


def _read_by(file: Path, _: _Fit) -> str:
    return str(file)


def _fit_batch(context: Context, fits: Sequence[_Fit], cores: int | None) -> Iterator[None]:
    """Make fits and keep them; yield after each."""
    del cores  # torch's threads are limited already
    workspace, config = context.workspace, context.config
    folds, kept = Folds.read(workspace.folds), KeptFits(workspace.cache)
    estimator = configured_estimator(config, tail=tail_plan(context))
    for fit in fits:
        two = folds.against(fit.positive, fit.others)
        data = _read_data(context, two, fit.positive)
        outer = next(one for one in two if (one.repeat, one.fold) == (fit.repeat, fit.fold))
        view = training_view(data, outer)
        request = estimator.request_of(view, seed=config.seed, place=place_of(outer))
        _demand_same_fit(fit, kept.key(view, request))
        with workers() as run:
            kept.fit(view, request, run=run)
        yield None


def _demand_same_fit(fit: _Fit, key: str) -> None:
    if key != fit.key:
        raise MachineError(
            "this machine would make another fit than the one that was asked for",
            where=f"repeat {fit.repeat}, fold {fit.fold}",
            found=f"key {key[:12]}",
            expected=f"key {fit.key[:12]}",
            remedy="Set features.device and features.precision, which `auto` leaves to the "
            "machine, and install the same libraries on all machines",
        )


def _each_class(context: Context, folds: Folds, positive: CrossValidation) -> list[Path]:
    """Predict every class against the rest, on the same folds; return the files."""
    workspace, labels = context.workspace, context.config.labels
    outputs = [workspace.class_scores]
    results = {labels.positive: positive}
    for number, name in enumerate(labels.classes):
        if name == labels.positive:
            continue
        results[name] = _cross_validate(context, folds, name, f"not {name}")
        for one in results[name].trained:
            # A label may hold signs that no file name can.
            outputs += one.write(workspace.head(one.repeat, one.fold, of_class=number))
    ClassScores.join(
        {name: results[name].patients for name in labels.classes},
        labels=dict(zip(folds.patient_ids, folds.labels, strict=True)),
    ).write(workspace.class_scores)
    return outputs
