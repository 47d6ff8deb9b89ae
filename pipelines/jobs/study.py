"""study: arms of transfer learning on one cohort, run from the cheapest to the dearest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mri_transfer.core.files import read_json_object
from mri_transfer.errors import ConfigurationError, MriTransferError
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.evaluation.transfer_study import (
    StudyArm,
    StudyDocument,
    advise,
    compared_arms,
    fewer_patients,
)
from mri_transfer.report.pages.transfer_study import study_report
from mri_transfer.report.render.html import write_report
from mri_transfer.version import __version__
from pipelines.console import duration, estimate_text
from pipelines.jobs.compare import compare_run_folders
from pipelines.jobs.study_plan import PlannedArm, StudyPlan
from pipelines.plan.order import stages_until
from pipelines.record import StageRecord
from pipelines.runner import begin_run, run_pipeline
from pipelines.stage import Reporter
from pipelines.workspace import Workspace, default_cache

__all__ = ["run_study", "study_lines"]

#: Stages whose time counts as an arm's.
_TIMED = ("features", "train")


def run_study(
    manifest: Path,
    out: Path,
    plan: StudyPlan,
    *,
    cache: Path | None,
    weights: Path | None,
    jobs: int | None,
    reporter: Reporter,
    similar: bool = False,
) -> StudyDocument:
    """Run the arms of a study within its budget, compare them, and write `study.json` and a page.

    Each arm is a run folder below `out`, so that a study that was stopped goes on where it was.
    An arm that fails is listed with the reason, and the others are run.

    Parameters
    ----------
    manifest, out : Path
    plan : StudyPlan
    cache, weights : Path, optional
        `weights` are those of the reference's trunk.
    jobs : int, optional
    reporter : Reporter
    similar : bool
        Whether the source of the weights resembles the cohort; natural images do not.

    Raises
    ------
    MriTransferError
        If the reference cannot be run, or no other arm.
    """
    states: dict[str, StudyArm] = {}
    for arm in plan.in_order:
        if arm.name not in plan.affordable:
            states[arm.name] = _arm(arm, state="over budget", reason="above the budget of hours")
            continue
        reporter.heading(f"{arm.name} (about {duration(arm.estimated_s)})")
        is_its_trunk = arm.config.trunk.name == plan.reference_arm.config.trunk.name
        try:
            workspace = begin_run(manifest, _folder(out, arm), arm.config, cache=cache)
            run_pipeline(
                workspace,
                arm.config,
                # The reference's audit holds the learning curve.
                stages=stages_until("audit" if arm.name == plan.reference else "evaluate"),
                weights=weights if is_its_trunk else None,
                jobs=jobs,
                reporter=reporter,
            )
        except MriTransferError as error:
            if arm.name == plan.reference:
                raise
            reporter.note(f"{arm.name} failed: {error.message}")
            states[arm.name] = _arm(arm, state="failed", reason=error.message)
            continue
        states[arm.name] = _measured(arm, workspace)
    return _write(out, plan, states, cache=cache, reporter=reporter, similar=similar)


def _write(
    out: Path,
    plan: StudyPlan,
    states: dict[str, StudyArm],
    *,
    cache: Path | None,
    reporter: Reporter,
    similar: bool,
) -> StudyDocument:
    done = [name for name, arm in states.items() if arm.state == "done" and name != plan.reference]
    if not done:
        raise ConfigurationError(
            "a study needs an arm beside the frozen trunk",
            found="; ".join(f"{arm.name}: {arm.reason}" for arm in states.values() if arm.reason)
            or "none",
            remedy="Raise --hours, or name other arms or trunks",
        )
    # Last, so that every pair with it is an arm minus the reference.
    compared = [_folder(out, arm) for arm in plan.arms if arm.name in done]
    compared.append(_folder(out, plan.reference_arm))
    comparison = compare_run_folders(compared, out / "comparison", reporter=reporter)
    arms = compared_arms(
        [states[arm.name] for arm in plan.arms], comparison, reference=plan.reference
    )
    reference = Workspace(root=_folder(out, plan.reference_arm), cache=cache or default_cache())
    curve = AuditDocument.read(reference.audit, stage="audit").learning_curve
    document = StudyDocument(
        n_patients=comparison.n_common,
        n_positive=comparison.n_positive,
        confidence=comparison.confidence,
        positive_label=comparison.positive_label,
        negative_label=comparison.negative_label,
        slice_px=plan.reference_arm.config.slices.size_px,
        reference=plan.reference,
        warnings=tuple(w for w in comparison.warnings if w.code != "random_trunk"),
        arms=arms,
        learning_curve=curve,
        fewer_patients=fewer_patients(curve),
        advice=advise(
            arms, reference=plan.reference, n_patients=comparison.n_common, similar=similar
        ),
    )
    document.write(out / "study.json")
    write_report(study_report(document, made_by=f"mri-transfer {__version__}"), out / "index.html")
    return document


def study_lines(document: StudyDocument) -> list[str]:
    """Return a study's answer in a few lines of text."""
    lines = [f"WARNING: {notice}" for notice in document.warnings]
    lines.append(f"{document.n_patients} patients, {document.n_positive} positive")
    for arm in document.arms:
        if arm.auc is None:
            lines.append(f"  {arm.name}: {arm.state}, {arm.reason}")
            continue
        text = f"  {arm.name}: AUC {estimate_text(arm.auc)}, {duration(arm.measured_s or 0.0)}"
        if arm.difference is not None:
            text += f"; minus {document.reference}: {estimate_text(arm.difference)}"
        lines.append(text)
    if document.fewer_patients is not None:
        lines.append(document.fewer_patients.sentence)
    return [*lines, document.advice.rule, document.advice.sentence]


def _folder(out: Path, arm: PlannedArm) -> Path:
    return out / arm.name


def _arm(arm: PlannedArm, *, state: Literal["over budget", "failed"], reason: str) -> StudyArm:
    return _described(arm).model_copy(update={"state": state, "reason": reason})


def _described(arm: PlannedArm) -> StudyArm:
    tuning = arm.config.tuning
    return StudyArm(
        name=arm.name,
        trunk=arm.config.trunk.name,
        strategy=tuning.strategy,
        method=tuning.method,
        pretrained=arm.is_pretrained,
        transfer=arm.transfer,
        state="done",
        estimated_s=arm.estimated_s,
        measured_s=None,
        n_trained=None,
        auc=None,
        difference=None,
        p_holm=None,
    )


def _measured(arm: PlannedArm, workspace: Workspace) -> StudyArm:
    records = [StageRecord.read(workspace, stage) for stage in _TIMED]
    seconds = sum(record.seconds for record in records if record is not None)
    n_trained = 0
    if arm.config.tuning.trains:
        content = read_json_object(workspace.heads / "r0_f0.json") or {}
        n_trained = int(content.get("tuning", {}).get("parameters", 0))
    return _described(arm).model_copy(update={"measured_s": seconds, "n_trained": n_trained})
