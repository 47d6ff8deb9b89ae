"""report: the page that people read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from mri_transfer import __version__
from mri_transfer.audit import Audit
from mri_transfer.evaluation import Evaluation
from mri_transfer.exclusions import read_exclusions
from mri_transfer.manifest import read_manifest
from mri_transfer.predictions import PatientScores, SliceScores
from mri_transfer.report import Montage, ReportInputs, write_report
from mri_transfer.slices import SliceStore
from mri_transfer.specs import spec_dict
from mri_transfer.trunks import trunk_digest
from pipelines.config import RunConfig
from pipelines.record import file_digests, git_commit, package_versions
from pipelines.stage import Context, Stage, StageResult
from pipelines.tables import write_tables
from pipelines.workspace import Workspace

__all__ = ["REPORT", "report_inputs"]


def _inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.config, "run"),
        (workspace.manifest, "prepare"),
        (workspace.excluded, "prepare"),
        (workspace.slices, "slices"),
        (workspace.patient_scores, "train"),
        (workspace.slice_scores, "train"),
        (workspace.evaluation, "evaluate"),
        (workspace.audit, "audit"),
    ]


def _shown_patients(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Of each label the patient scored highest and lowest: the model's best and worst cases."""
    mean = scores.groupby(["label", "patient_id"])["score"].mean().reset_index()
    shown: list[tuple[str, str]] = []
    for label, rows in mean.groupby("label"):
        ranked = rows.sort_values(["score", "patient_id"])["patient_id"].tolist()
        shown += [(name, str(label)) for name in dict.fromkeys((ranked[-1], ranked[0]))]
    return shown


def _montages(workspace: Workspace, scores: pd.DataFrame, slices: pd.DataFrame) -> list[Montage]:
    index = pd.read_csv(workspace.slices, dtype=str, keep_default_na=False)
    store = SliceStore(workspace.cache)
    mean = slices.groupby(["scan_id", "slice"])["score"].mean()
    montages = []
    for patient_id, label in _shown_patients(scores):
        scan = index[index["patient_id"] == patient_id].iloc[0]
        stack = store.get(scan["key"], scan_id=scan["scan_id"])
        montages.append(
            Montage(
                patient_id=patient_id,
                label=label,
                pixels=stack.pixels,
                z_mm=stack.z_mm,
                slice_scores=mean[scan["scan_id"]].sort_index().to_numpy(),
            )
        )
    return montages


def _provenance(workspace: Workspace, config: RunConfig) -> dict[str, Any]:
    inputs = [path for path, _ in _inputs(workspace)]
    return {
        "mri-transfer": __version__,
        "git commit": git_commit() or "installed package",
        "seed": config.seed,
        "trunk weights (sha256)": trunk_digest(config.trunk),
        "packages": package_versions(),
        "artefacts (sha256)": file_digests(workspace, inputs),
        "commands": [
            "mri-transfer run --manifest source_manifest.csv --config config.toml --out RUN"
        ],
    }


def report_inputs(workspace: Workspace, config: RunConfig) -> ReportInputs:
    """Collect what a report shows from a run folder."""
    scores = PatientScores.read(workspace.patient_scores).table
    slices = SliceScores.read(workspace.slice_scores).table
    excluded = [dataclasses.asdict(one) for one in read_exclusions(workspace.excluded)]
    patients = read_manifest(workspace.manifest, check_files=False).patients()
    scans = pd.read_csv(workspace.slices, dtype=str, keep_default_na=False)
    key_of = dict(zip(scans["scan_id"], scans["key"], strict=True))
    store = SliceStore(workspace.cache)
    return ReportInputs(
        title=f"{config.labels.positive} against {config.labels.others} from T1 brain MRI",
        evaluation=Evaluation.read(workspace.evaluation).document,
        audit=Audit.read(workspace.audit).content,
        patients=patients.drop(columns=["synthetic", "n_scans"], errors="ignore"),
        excluded=pd.DataFrame(excluded, columns=["scan_id", "patient_id", "stage", "reason"]),
        patient_scores=scores,
        slice_scores=slices,
        config=json.loads(json.dumps(dataclasses.asdict(config))),
        provenance=_provenance(workspace, config),
        montages=_montages(workspace, scores, slices),
        quality=_table(workspace.quality),
        folds=pd.read_csv(workspace.folds, dtype={"patient_id": str, "label": str}),
        scans=scans[["scan_id", "patient_id"]],
        stack_of=lambda scan_id: store.get(key_of[scan_id], scan_id=scan_id),
        artefacts=file_digests(workspace, [path for path, _ in _inputs(workspace)]),
    )


def _table(path: Path) -> pd.DataFrame | None:
    return pd.read_csv(path, keep_default_na=False) if path.exists() else None


def _work(context: Context) -> StageResult:
    workspace = context.workspace
    write_report(report_inputs(workspace, context.config), workspace.report)
    return StageResult(
        outputs=[workspace.report, *write_tables(workspace)],
        summary=f"report in {workspace.report}, tables in {workspace.tables}",
    )


def _specs(config: RunConfig) -> dict[str, Any]:
    return {"labels": spec_dict(config.labels), "git_commit": git_commit()}


REPORT = Stage(name="report", inputs=_inputs, specs=_specs, work=_work)
