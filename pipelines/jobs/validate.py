"""validate: a finished bundle tested on another cohort, nothing refitted.

The cohort goes through the stages of a run, up to the features, with the settings that the bundle
was made with. Then the bundle's head scores every patient once: `repeat` and `fold` are 0.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mri_transfer.bundle import ModelBundle, Runtime, load_bundle
from mri_transfer.cohorts.exclusions import Exclusion, read_exclusions, write_exclusions
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import atomic_write_text
from mri_transfer.core.specs import spec_dict
from mri_transfer.errors import ConfigurationError
from mri_transfer.evaluation.external.document import ExternalDocument
from mri_transfer.evaluation.external.evaluate import ExternalEvaluation, evaluate_external
from mri_transfer.evaluation.external.settings import ExternalSpec, NewCohort
from mri_transfer.training.predictions import PatientScores
from pipelines.config import RunConfig, config_of
from pipelines.jobs.retrain import COHORT_CACHES
from pipelines.jobs.validate_cohort import (
    adapted_tables,
    demand_known_sites,
    find_known,
    model_facts,
    model_tables,
    score_cohort,
)
from pipelines.jobs.validate_contract import contract_faults
from pipelines.jobs.validate_report import write_aggregate, write_external_report
from pipelines.lock import locked
from pipelines.plan.order import stages_until
from pipelines.plan.scans import FEATURES
from pipelines.runner import begin_run, run_pipeline
from pipelines.running import run_stage
from pipelines.stage import Context, Reporter, Stage, StageResult
from pipelines.workspace import Workspace

__all__ = ["Validation", "validate_bundle"]


@dataclasses.dataclass(frozen=True)
class ValidationFiles:
    """What testing on another cohort leaves in its run folder, beside what every run leaves."""

    workspace: Workspace

    @property
    def external(self) -> Path:
        """The figures, beside those of internal testing."""
        return self.workspace.root / "external.json"

    @property
    def overlap(self) -> Path:
        """Patients who were trained on: patient_id, patient, scan."""
        return self.workspace.root / "overlap.csv"

    @property
    def contract(self) -> Path:
        """Every patient with what keeps it outside the input contract."""
        return self.workspace.root / "contract.csv"

    @property
    def left_out(self) -> Path:
        """Every scan that is not in the figures, each with stage and reason."""
        return self.workspace.root / "left_out.csv"

    @property
    def aggregate(self) -> Path:
        """Folder of what may be sent out."""
        return self.workspace.root / "aggregate"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """What came of testing a bundle on another cohort."""

    files: ValidationFiles
    document: ExternalDocument
    left_out: tuple[Exclusion, ...]


def validate_bundle(
    bundle_path: Path,
    manifest: Path,
    out: Path,
    *,
    spec: ExternalSpec,
    trusted_key: str | None = None,
    allow_programs: bool = False,
    aggregate_only: bool = False,
    adapt_moments: bool = False,
    cache: Path | None = None,
    reporter: Reporter,
    weights: Path | None = None,
    jobs: int | None = None,
) -> Validation:
    """Test a bundle on a cohort; write figures and report into a run folder.

    Parameters
    ----------
    bundle_path : Path
    manifest : Path
        Of the cohort, with a label of the bundle's task where there is one.
    out : Path
        Run folder; made if missing.
    spec : ExternalSpec
    trusted_key : str, optional
        Public key that must have signed the bundle.
    allow_programs : bool
        As in `Runtime`.
    aggregate_only : bool
        Also write the folder `aggregate`, which names nobody.
    adapt_moments : bool
        Whether moments of the trunk's batch normalisation are those of this cohort's scans
        (transductive); the figures then come with a warning.

    Raises
    ------
    ConfigurationError
        If the folder is that of a run with heads of its own, or no scan has a label of the task.
    EvaluationError
        If every patient was trained on and that was not allowed.
    """
    _demand_no_training(out)
    runtime = Runtime(allow_programs=allow_programs)
    bundle = load_bundle(bundle_path, trusted_key=trusted_key, runtime=runtime)
    config = _config(bundle, manifest)
    demand_known_sites(read_manifest(manifest, check_files=False), bundle)
    workspace = begin_run(manifest, out, config, cache=cache)
    files = ValidationFiles(workspace)
    context = Context(workspace=workspace, config=config, reporter=reporter, weights=weights)
    stage = _stage(bundle, spec, aggregate_only=aggregate_only, adapt_moments=adapt_moments)
    with locked(workspace):
        run_pipeline(
            workspace,
            config,
            stages=stages_until("features"),
            reporter=reporter,
            weights=weights,
            jobs=jobs,
        )
        reporter.heading("validate")
        _, ran = run_stage(stage, context)
    if not ran:
        reporter.note("current, nothing to do")
    document = ExternalDocument.read(files.external, stage="validate")
    return Validation(
        files=files, document=document, left_out=tuple(read_exclusions(files.left_out))
    )


def _demand_no_training(out: Path) -> None:
    if (out / "folds.csv").exists() or (out / "heads").exists():
        raise ConfigurationError(
            "this folder holds a run with heads of its own",
            where=str(out),
            remedy="Name another folder with --out: nothing is refitted here",
        )


def _config(bundle: ModelBundle, manifest: Path) -> RunConfig:
    """Return the settings that the bundle was made with, as those of a run."""
    config = config_of(bundle.config)
    found = {label for label in read_manifest(manifest).scans["label"] if isinstance(label, str)}
    if not found & set(config.labels.used):
        raise ConfigurationError(
            "no scan has a label that the bundle tells apart",
            where=str(manifest),
            found=", ".join(sorted(found)) or "no labels at all",
            expected=" or ".join(config.labels.used),
            remedy="Name the labels as the bundle does; for scans without labels use predict",
        )
    # A cohort of one label is no fault here, as it would be where heads are trained.
    one_sided = not set(config.labels.used) <= found
    labels = dataclasses.replace(config.labels, unlabelled="keep" if one_sided else "exclude")
    evaluation = dataclasses.replace(
        config.evaluation, baselines=False, image_baselines=False, random_trunk=False
    )
    return dataclasses.replace(config, labels=labels, evaluation=evaluation)


def _stage(
    bundle: ModelBundle, spec: ExternalSpec, *, aggregate_only: bool, adapt_moments: bool
) -> Stage:
    def inputs(workspace: Workspace) -> list[tuple[Path, str]]:
        return [
            (workspace.source_manifest, "validate"),
            (workspace.manifest, "prepare"),
            (workspace.excluded, "prepare"),
            (workspace.prepared, "prepare"),
            (workspace.quality, "prepare"),
            (workspace.slices, "slices"),
            (workspace.features, "features"),
        ]

    def specs(config: RunConfig) -> dict[str, Any]:
        return {
            "bundle": bundle.digest,
            "external": spec_dict(spec),
            "evaluation": spec_dict(config.evaluation),
            "aggregate": aggregate_only,
            # Not there by default, so that earlier records stay as they were.
            **({"adapt_moments": True} if adapt_moments else {}),
        }

    work = functools.partial(
        _work,
        bundle=bundle,
        spec=spec,
        aggregate_only=aggregate_only,
        adapt_moments=adapt_moments,
    )
    return Stage(
        name="validate",
        inputs=inputs,
        specs=specs,
        work=work,
        caches=lambda _config: COHORT_CACHES,
        after=(FEATURES,),
    )


def _work(
    context: Context,
    *,
    bundle: ModelBundle,
    spec: ExternalSpec,
    aggregate_only: bool,
    adapt_moments: bool,
) -> StageResult:
    workspace, config = context.workspace, context.config
    files = ValidationFiles(workspace)
    tables = model_tables(context, bundle)
    scored = adapted_tables(context, bundle) if adapt_moments else tables
    cohort, unlabelled = score_cohort(workspace, config, bundle, scored)
    overlap = find_known(workspace, bundle, cohort.patients.index.tolist())
    atomic_write_text(files.overlap, overlap.to_csv(index=False, lineterminator="\n"))
    faults = contract_faults(bundle, workspace, tables)
    _write_contract(files.contract, cohort.patients.index.tolist(), faults)
    cohort = dataclasses.replace(
        cohort,
        overlapping=overlap["patient_id"].tolist(),
        faults=faults,
        moments_adapted=adapt_moments,
    )
    _write_left_out(files, unlabelled, cohort, spec)
    found = evaluate_external(cohort, model_facts(bundle), spec=spec, settings=config.evaluation)
    written = _write(files, found, cohort)
    written += write_external_report(workspace, config, found, cohort, left_out=files.left_out)
    if aggregate_only:
        written += write_aggregate(files.aggregate, found, cohort, files.left_out)
    n = found.document.populations.all.n
    return StageResult(
        outputs=[files.overlap, files.contract, files.left_out, *written],
        summary=f"{n} patients scored by a bundle that had not seen them"
        if not spec.allow_overlap
        else f"{n} patients scored, {len(overlap)} of them trained on",
    )


def _write_contract(path: Path, names: Sequence[str], faults: Mapping[str, Sequence[str]]) -> None:
    rows = [
        {
            "patient_id": name,
            "inside": name not in faults,
            "faults": "; ".join(faults.get(name, ())),
        }
        for name in names
    ]
    table = pd.DataFrame(rows, columns=["patient_id", "inside", "faults"])
    atomic_write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _write_left_out(
    files: ValidationFiles,
    unlabelled: Sequence[Exclusion],
    cohort: NewCohort,
    spec: ExternalSpec,
) -> None:
    known = set() if spec.allow_overlap else set(cohort.overlapping)
    scans = cohort.slice_scores[["scan_id", "patient_id"]].drop_duplicates()
    again = [
        Exclusion(
            scan_id=scan["scan_id"],
            patient_id=scan["patient_id"],
            stage="validate",
            reason="the patient or the scan was trained on",
        )
        for scan in scans.to_dict("records")
        if scan["patient_id"] in known
    ]
    earlier = read_exclusions(files.workspace.excluded)
    write_exclusions(files.left_out, [*earlier, *unlabelled, *again])


def _write(files: ValidationFiles, found: ExternalEvaluation, cohort: NewCohort) -> list[Path]:
    workspace = files.workspace
    found.document.write(files.external)
    PatientScores(table=cohort.scores).write(workspace.patient_scores)
    atomic_write_text(
        workspace.slice_scores, cohort.slice_scores.to_csv(index=False, lineterminator="\n")
    )
    written = [files.external, workspace.patient_scores, workspace.slice_scores]
    if found.evaluation is None:
        workspace.evaluation.unlink(missing_ok=True)
        return written
    found.evaluation.document.write(workspace.evaluation)
    return [*written, workspace.evaluation]
