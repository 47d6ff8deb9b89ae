"""Reports of an external test: for the hospital that made it, and for sending out."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.exclusions import read_exclusions
from mri_transfer.evaluation.external.aggregate import aggregate_document
from mri_transfer.evaluation.external.evaluate import ExternalEvaluation
from mri_transfer.evaluation.external.settings import NewCohort
from mri_transfer.report import ReportInputs
from mri_transfer.report.external_inputs import ExternalInputs
from mri_transfer.report.pages.aggregate_report import aggregate_report
from mri_transfer.report.pages.external_report import external_report
from mri_transfer.report.render.html import write_report
from mri_transfer.report.render.pdf import write_pdf
from pipelines.config import RunConfig
from pipelines.stages.report import report_settings
from pipelines.workspace import Workspace

__all__ = ["write_aggregate", "write_external_report"]


def write_external_report(
    workspace: Workspace,
    config: RunConfig,
    found: ExternalEvaluation,
    cohort: NewCohort,
    *,
    left_out: Path,
) -> list[Path]:
    """Write the report as page, print and JSON; return the files."""
    names = set(found.scores["patient_id"])
    inputs = ExternalInputs(
        document=found.document,
        overlapping=sorted(cohort.overlapping),
        faults={name: cohort.faults[name] for name in sorted(names & set(cohort.faults))},
        left_out=_left_out(left_out),
    )
    report = external_report(inputs, _report_inputs(config, found, cohort, inputs.left_out))
    write_report(report, workspace.report)
    write_pdf(report, workspace.report_pdf, paper=config.report.paper)
    report.write(workspace.report_json)
    return [workspace.report, workspace.report_pdf, workspace.report_json]


def write_aggregate(
    folder: Path, found: ExternalEvaluation, cohort: NewCohort, left_out: Path
) -> list[Path]:
    """Write what may be sent out, as JSON and page; return the files."""
    stages = collections.Counter(one.stage for one in read_exclusions(left_out))
    document = aggregate_document(found, cohort, stages)
    files = [folder / "aggregate.json", folder / "index.html"]
    document.write(files[0])
    write_report(aggregate_report(document), files[1])
    return files


def _left_out(path: Path) -> pd.DataFrame:
    rows = [dataclasses.asdict(one) for one in read_exclusions(path)]
    return pd.DataFrame(rows, columns=["scan_id", "patient_id", "stage", "reason"])


def _report_inputs(
    config: RunConfig, found: ExternalEvaluation, cohort: NewCohort, left_out: pd.DataFrame
) -> ReportInputs | None:
    if found.evaluation is None:
        return None
    names = found.scores["patient_id"].tolist()
    slices = cohort.slice_scores
    return ReportInputs(
        title="External test",
        evaluation=found.evaluation.document,
        audit=None,
        patients=cohort.patients.loc[names].drop(columns=["synthetic", "n_scans"], errors="ignore"),
        excluded=left_out,
        patient_scores=found.scores,
        slice_scores=slices[slices["patient_id"].isin(names)],
        settings=report_settings(config),
        provenance=None,
    )
