"""report: the page that people read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mri_transfer.cohorts.exclusions import read_exclusions
from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import read_json_object
from mri_transfer.evaluation import EvaluationDocument
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.evaluation.volumetry_baselines import PERCENTILE
from mri_transfer.explain import Explanation, FeatureMaps, read_explanation, read_feature_maps
from mri_transfer.explain.explanation import DOCUMENT
from mri_transfer.explain.feature_maps import FEATURE_MAPS
from mri_transfer.models.trunks import trunk_digest
from mri_transfer.report import Provenance, ReportInputs, ReportSettings
from mri_transfer.report.blocks.report import Report
from mri_transfer.report.compose import compose_report, compose_summary
from mri_transfer.report.pages.cards import write_data_sheet, write_model_card
from mri_transfer.report.pages.patient_pages import write_patient_pages
from mri_transfer.report.pseudonyms.pseudonym_check import check_report, without_pages
from mri_transfer.report.pseudonyms.pseudonym_key import read_or_make_key
from mri_transfer.report.pseudonyms.pseudonyms import cohort_pseudonyms, pseudonymise
from mri_transfer.report.render.html import write_report
from mri_transfer.report.render.pdf import write_pdf, write_summary
from mri_transfer.scans.slices import SliceStore
from mri_transfer.training.fit_record import FitRecord, TuningRecord
from mri_transfer.training.folds import Folds
from mri_transfer.training.instances import InstancesRecord
from mri_transfer.training.predictions import PatientScores, SliceScores
from mri_transfer.version import __version__
from pipelines.config import RunConfig
from pipelines.indexes import read_index
from pipelines.plan.models import REPORT
from pipelines.record import StageRecord, file_digests, git_commit, package_versions
from pipelines.running import demand_trusted
from pipelines.stage import Context, StageResult, earlier_stages
from pipelines.stages.crate import recorded_paths, write_run_crate
from pipelines.stages.tables import write_tables
from pipelines.stages.volume_pages import write_volume_pages
from pipelines.workspace import Workspace

__all__ = [
    "report_inputs",
    "report_settings",
    "work",
    "write_pseudonymous_report",
    "write_short_report",
]


def _provenance(workspace: Workspace, config: RunConfig) -> Provenance:
    record = StageRecord.read(workspace, "features")
    computed = record.specs.get("features", {}) if record else {}
    return Provenance(
        version=__version__,
        commit=git_commit() or "installed package",
        seed=config.seed,
        trunk_sha256=trunk_digest(config.trunk),
        device=computed.get("device"),
        precision=computed.get("precision"),
        packages=package_versions(),
        commands=(
            "mri-transfer run --manifest source_manifest.csv --config config.toml --out RUN",
        ),
        verify=(
            "mri-transfer run --manifest RUN/source_manifest.csv --config RUN/config.toml "
            "--out AGAIN",
            "sha256sum RUN/evaluation.json AGAIN/evaluation.json",
        ),
    )


def report_settings(config: RunConfig) -> ReportSettings:
    """Return the settings that a report tells of."""
    named = {field.name for field in dataclasses.fields(ReportSettings)}
    shared = named & {field.name for field in dataclasses.fields(config)}
    return ReportSettings(
        **{name: getattr(config, name) for name in shared},
        orientation=config.report.orientation,
        # Where scans were processed does not matter to what came out.
        every=json.loads(
            json.dumps({k: v for k, v in dataclasses.asdict(config).items() if k != "executor"})
        ),
    )


def report_inputs(workspace: Workspace, config: RunConfig) -> ReportInputs:
    """Collect what a report shows from a run folder."""
    scores = PatientScores.read(workspace.patient_scores).table
    slices = SliceScores.read(workspace.slice_scores).table
    excluded = [dataclasses.asdict(one) for one in read_exclusions(workspace.excluded)]
    patients = read_manifest(workspace.manifest, check_files=False).patients()
    scans = read_index(workspace.slices)
    key_of = dict(zip(scans["scan_id"], scans["key"], strict=True))
    store = SliceStore(workspace.cache)
    return ReportInputs(
        title=f"{spelt_out(config.labels.positive)} against {spelt_out(config.labels.others)} "
        "from T1 brain MRI",
        evaluation=EvaluationDocument.read(workspace.evaluation, stage="evaluate"),
        audit=AuditDocument.read(workspace.audit, stage="audit"),
        patients=patients.drop(columns=["synthetic", "n_scans"], errors="ignore"),
        excluded=pd.DataFrame(excluded, columns=["scan_id", "patient_id", "stage", "reason"]),
        patient_scores=scores,
        slice_scores=slices,
        settings=report_settings(config),
        provenance=_provenance(workspace, config),
        quality=_table(workspace.quality),
        folds=Folds.read(workspace.folds).table(),
        scans=scans[["scan_id", "patient_id"]],
        stack_of=lambda scan_id: store.get(key_of[scan_id], scan_id=scan_id),
        explanation=_explanation(workspace),
        feature_maps=_feature_maps(workspace),
        tunings=_tunings(workspace),
        instances=_instances(workspace),
        ventricles=_ventricles(workspace, patients),
        artefacts=file_digests(workspace, _artefacts(workspace)),
    )


def _ventricles(workspace: Workspace, patients: pd.DataFrame) -> dict[str, float]:
    """Return the ventricular percentile of every patient of known age and sex, over repeats."""
    scores = _table(workspace.baseline_scores)
    if scores is None or not {"age", "sex"} <= set(patients):
        return {}
    known = patients.index[patients["age"].notna() & patients["sex"].fillna("").ne("")]
    found = scores[(scores["baseline"] == PERCENTILE) & scores["patient_id"].isin(known)]
    means = found.groupby("patient_id")["score"].mean()
    return {str(name): float(value) for name, value in means.items()}


def _artefacts(workspace: Workspace) -> list[Path]:
    # A set: what the report reads is mostly in the records of the stages that wrote it.
    return sorted({*recorded_paths(workspace), *(path for path, _ in REPORT.inputs(workspace))})


def _explanation(workspace: Workspace) -> Explanation | None:
    read = (workspace.explanations / DOCUMENT, "explain") in REPORT.inputs(workspace)
    return read_explanation(workspace.explanations) if read else None


def _feature_maps(workspace: Workspace) -> FeatureMaps | None:
    read = (workspace.explanations / FEATURE_MAPS, "explain") in REPORT.inputs(workspace)
    return read_feature_maps(workspace.explanations) if read else None


def _tunings(workspace: Workspace) -> dict[tuple[int, int], TuningRecord]:
    found = {}
    for record in _fit_records(workspace):
        if record.tuning and record.repeat is not None and record.fold is not None:
            found[record.repeat, record.fold] = record.tuning
    return dict(sorted(found.items()))


def _instances(workspace: Workspace) -> InstancesRecord | None:
    # They are the same in every fold.
    records = (one.instances for one in _fit_records(workspace) if one.instances is not None)
    return next((record.nameless for record in records), None)


def _fit_records(workspace: Workspace) -> Iterator[FitRecord]:
    """Yield what is written beside the heads that the report tells of."""
    for path, _ in REPORT.inputs(workspace):
        if path.parent == workspace.heads:
            content = read_json_object(path)
            assert content is not None  # its digest was that of the record
            yield FitRecord.from_dict(content)


def _table(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    # Patients may be called 007 or NA.
    text = dict.fromkeys(("scan_id", "patient_id"), str)
    return pd.read_csv(path, dtype=text, keep_default_na=False)


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace = context.workspace
    inputs = report_inputs(workspace, context.config)
    folder = workspace.report.parent
    pages = write_volume_pages(inputs, context)
    inputs = dataclasses.replace(
        inputs,
        volume_pages={name: path.relative_to(folder).as_posix() for name, path in pages.items()},
    )
    report = compose_report(inputs)
    written = _write(inputs, report, workspace, context.config, folder=folder)
    written += [
        *pages.values(),
        *write_patient_pages(inputs, folder),
        *write_tables(workspace),
    ]
    read = [path for path, _ in REPORT.inputs(workspace)]
    write_run_crate(workspace, title=inputs.title, inputs=read, outputs=written)
    return StageResult(
        outputs=[*written, workspace.crate],
        summary=f"report in {workspace.report}, tables in {workspace.tables}",
    )


def _write(
    inputs: ReportInputs, report: Report, workspace: Workspace, config: RunConfig, *, folder: Path
) -> list[Path]:
    """Write every form of a report into a folder."""
    page, print_, summary, machine, card, sheet = written = [
        folder / path.name
        for path in (
            workspace.report,
            workspace.report_pdf,
            workspace.report_summary,
            workspace.report_json,
            workspace.model_card,
            workspace.data_sheet,
        )
    ]
    write_report(report, page)
    write_pdf(report, print_, paper=config.report.paper)
    write_summary(report, summary, paper=config.report.paper)
    report.write(machine)
    write_model_card(inputs, report.front, card)
    write_data_sheet(inputs, sheet)
    return written


def write_short_report(context: Context) -> Path:
    """Write the clinical summary of a finished run once more, without the rest of the report.

    Parameters
    ----------
    context : Context

    Returns
    -------
    Path
        A PDF of two pages, `report/summary.pdf`.

    Raises
    ------
    RunFolderError
        If the run is not finished, or its files were edited or are stale.
    """
    _demand_inputs(context)
    workspace, config = context.workspace, context.config
    summary = compose_summary(report_inputs(workspace, config))
    write_summary(summary, workspace.report_summary, paper=config.report.paper)
    return workspace.report_summary


def _demand_inputs(context: Context) -> None:
    """Refuse a run whose report could not be made of trusted files."""
    demand_trusted(
        context,
        REPORT.inputs(context.workspace),
        stages=earlier_stages(REPORT),
        caches=REPORT.caches(context.config),
    )


def write_pseudonymous_report(context: Context, key_file: Path) -> Path:
    """Write the report of a finished run once more, under pseudonyms, so that it can be handed on.

    Parameters
    ----------
    context : Context
    key_file : Path
        Holds the secret key; made if it is not there. The same key gives the same pseudonyms.

    Returns
    -------
    Path
        The page. Beside it, in `report_pseudonymised/`, stand the other forms of the report.

    Raises
    ------
    ConfigurationError
        If the key lies inside the run folder or is too short.
    RunFolderError
        If the run is not finished, or its files were edited or are stale, or a name would be left
        in the report.
    """
    workspace, config = context.workspace, context.config
    key = read_or_make_key(key_file, apart_from=workspace.root)
    _demand_inputs(context)
    inputs = report_inputs(workspace, config)
    source = read_manifest(workspace.source_manifest, check_files=False).scans
    pseudonyms = cohort_pseudonyms(inputs, key=key, source=source)
    inputs = pseudonymise(inputs, pseudonyms)
    report = without_pages(compose_report(inputs))
    check_report(report, pseudonyms)
    folder = workspace.pseudonymous_report
    return _write(inputs, report, workspace, config, folder=folder)[0]
