"""The stages from features to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mri_transfer.core.specs import spec_dict
from mri_transfer.models.features import resolve_features
from pipelines.config import RunConfig
from pipelines.instances import source_workspace
from pipelines.plan.scans import FEATURES, FOLDS
from pipelines.plan.work import work_of
from pipelines.record import StageRecord, git_commit
from pipelines.stage import Stage
from pipelines.workspace import Workspace

__all__ = ["AUDIT", "EVALUATE", "EXPLAIN", "REPORT", "TRAIN", "trained_files"]


def _train_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    source = source_workspace(workspace)
    return [
        (workspace.manifest, "prepare"),
        (workspace.features, "features"),
        (workspace.folds, "folds"),
        # Of stages on another folder, whose own records are held against them when they are read.
        *([(f, "run") for f in (source.manifest, source.features) if f.exists()]),
    ]


def _train_specs(config: RunConfig) -> dict[str, Any]:
    return {
        **config.sections("labels", "folds", "harmonisation", "heads", "predictions", "search"),
        # Not there without a tail, so that the records of frozen trunks stay as they were.
        **({"tuning": spec_dict(config.tuning)} if config.tuning.trains else {}),
        # Whose they are is among the inputs.
        **({"instances": config.instances.weight} if config.instances.manifest else {}),
    }


TRAIN = Stage(
    name="train",
    inputs=_train_inputs,
    specs=_train_specs,
    work=work_of("train"),
    caches=lambda _config: ("features",),
    after=(
        FEATURES,
        FOLDS,
    ),
)


def trained_files(workspace: Workspace) -> list[tuple[Path, str]]:
    """Return the files of the heads of every outer fold, as inputs of a stage that reads them."""
    files = [*workspace.heads.glob("r*_f*.json"), *workspace.heads.glob("r*_f*.safetensors")]
    return [(file, "train") for file in sorted(files)]


def _evaluate_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.manifest, "prepare"),
        (workspace.folds, "folds"),
        (workspace.patient_scores, "train"),
        (workspace.slice_scores, "train"),
        (workspace.inner_scores, "train"),
        (workspace.slices, "slices"),
        (workspace.prepared, "prepare"),
        *trained_files(workspace),
        *([(workspace.class_scores, "train")] if workspace.class_scores.exists() else []),
    ]


def _evaluate_specs(config: RunConfig) -> dict[str, Any]:
    return config.sections("labels", "folds", "evaluation", "trunk", "heads", "predictions")


def _evaluate_caches(config: RunConfig) -> tuple[str, ...]:
    """Return what the baselines from images read."""
    if config.evaluation.image_baselines:
        return ("prepare", "slices")
    return ("slices",) if config.evaluation.random_trunk else ()


EVALUATE = Stage(
    name="evaluate",
    inputs=_evaluate_inputs,
    specs=_evaluate_specs,
    work=work_of("evaluate"),
    caches=_evaluate_caches,
    after=(TRAIN,),
)


def _audit_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.manifest, "prepare"),
        (workspace.prepared, "prepare"),
        (workspace.duplicates, "prepare"),
        (workspace.features, "features"),
        (workspace.folds, "folds"),
        (workspace.patient_scores, "train"),
        (workspace.slice_scores, "train"),
        (workspace.inner_scores, "train"),
        *trained_files(workspace),
    ]


def _audit_specs(config: RunConfig) -> dict[str, Any]:
    # It trains the same heads again.
    return {
        **TRAIN.specs(config),
        **config.sections("trunk", "audit"),
        "confidence": config.evaluation.confidence,
    }


def _audit_caches(config: RunConfig) -> tuple[str, ...]:
    audit = config.audit
    return (
        *(("prepare",) if audit.robustness_patients else ()),
        *(("slices",) if audit.learning_curve else ()),
        "features",
    )


AUDIT = Stage(
    name="audit",
    inputs=_audit_inputs,
    specs=_audit_specs,
    work=work_of("audit"),
    caches=_audit_caches,
    after=(TRAIN,),
)


def _explain_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.manifest, "prepare"),
        (workspace.prepared, "prepare"),
        (workspace.quality, "prepare"),
        (workspace.slices, "slices"),
        (workspace.features, "features"),
        (workspace.folds, "folds"),
        (workspace.patient_scores, "train"),
        *trained_files(workspace),
    ]


def _explain_specs(config: RunConfig) -> dict[str, Any]:
    return {
        **TRAIN.specs(config),
        "trunk": spec_dict(config.trunk),
        "features": spec_dict(resolve_features(config.features)),
        **config.sections("slices", "explanation"),
        "confidence": config.evaluation.confidence,
    }


def _explain_caches(config: RunConfig) -> tuple[str, ...]:
    return ("prepare", "slices", "features") if config.explanation.maps else ("features",)


EXPLAIN = Stage(
    name="explain",
    inputs=_explain_inputs,
    specs=_explain_specs,
    work=work_of("explain"),
    caches=_explain_caches,
    after=(TRAIN,),
)


def _report_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.config, "run"),
        (workspace.manifest, "prepare"),
        (workspace.excluded, "prepare"),
        (workspace.quality, "prepare"),
        (workspace.folds, "folds"),
        (workspace.slices, "slices"),
        (workspace.patient_scores, "train"),
        (workspace.slice_scores, "train"),
        (workspace.evaluation, "evaluate"),
        (workspace.baseline_scores, "evaluate"),
        (workspace.audit, "audit"),
        *_report_tuned(workspace),
        *_report_instances(workspace),
        *_report_explained(workspace),
    ]


def _report_tuned(workspace: Workspace) -> list[tuple[Path, str]]:
    """Return what is written beside heads whose tails were trained."""
    tails = sorted(workspace.heads.glob("r*_f*_tail.json"))
    return [(tail.with_name(tail.name.replace("_tail", "")), "train") for tail in tails]


def _report_instances(workspace: Workspace) -> list[tuple[Path, str]]:
    """Return what is written beside the first head, where there are instances."""
    head = workspace.head(0, 0).with_name(f"{workspace.head(0, 0).name}.json")
    return [(head, "train")] if source_workspace(workspace).features.exists() else []


def _report_explained(workspace: Workspace) -> list[tuple[Path, str]]:
    from mri_transfer.explain.explanation import DOCUMENT
    from mri_transfer.explain.feature_maps import FEATURE_MAPS

    # A run of before there were explanations has none; the report then says so. Where tails were
    # trained its stage writes feature maps alone.
    record, document = StageRecord.read(workspace, "explain"), workspace.explanations / DOCUMENT
    if record is None:
        promised = [document] if workspace.record("explain").exists() else []
    else:
        promised = [workspace.root / name for name in record.outputs]
    paths = (document, workspace.explanations / FEATURE_MAPS)
    return [(path, "explain") for path in paths if path.exists() or path in promised]


def _report_specs(config: RunConfig) -> dict[str, Any]:
    return {
        **config.sections("labels", "report"),
        "git_commit": git_commit(),
    }


REPORT = Stage(
    name="report",
    inputs=_report_inputs,
    specs=_report_specs,
    work=work_of("report"),
    caches=lambda _config: ("slices",),
    after=(
        EVALUATE,
        AUDIT,
    ),
)
