"""study: arms of transfer learning on one cohort, run from the cheapest to the dearest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import read_json_object
from mri_transfer.errors import ConfigurationError, MriTransferError
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.evaluation.transfer_study import (
    StudyArm,
    StudyDocument,
    TransferType,
    advise,
    compared_arms,
    fewer_patients,
)
from mri_transfer.models.features import resolve_features
from mri_transfer.models.tails.cost import estimated_seconds, measure_rates, stage_gflop
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from mri_transfer.report.pages.transfer_study import study_report
from mri_transfer.report.render.html import write_report
from mri_transfer.version import __version__
from pipelines.config import RunConfig
from pipelines.console import estimate_text
from pipelines.jobs.compare import compare_run_folders
from pipelines.plan.order import stages_until
from pipelines.record import StageRecord
from pipelines.runner import begin_run, run_pipeline
from pipelines.stage import Reporter
from pipelines.workspace import Workspace, default_cache

__all__ = ["StudyPlan", "plan_lines", "plan_study", "run_study", "study_lines"]

#: What can be compared: a strategy with its method and start; `untrained` also has a random trunk.
_ARMS: dict[str, TuningSpec] = {
    "frozen": TuningSpec(),
    "some": TuningSpec(strategy="some"),
    "most": TuningSpec(strategy="most"),
    "all": TuningSpec(strategy="all"),
    "ssf": TuningSpec(strategy="all", method="ssf"),
    "norm": TuningSpec(strategy="all", method="norm"),
    "lora": TuningSpec(strategy="all", method="lora"),
    "random": TuningSpec(strategy="all", start="random"),
    "untrained": TuningSpec(),
}
#: Stages whose time counts as an arm's.
_TIMED = ("features", "train")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """An arm before it is run.

    Attributes
    ----------
    name : str
        Also of its run folder.
    config : RunConfig
    estimated_s : float
        Seconds of features and training, with empty caches.
    """

    name: str
    config: RunConfig
    estimated_s: float

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from released weights."""
        return self.config.trunk.weights != "random" and self.config.tuning.start != "random"

    @property
    def transfer(self) -> TransferType:
        """What is transferred."""
        if not self.is_pretrained:
            return "architecture only"
        return "fine-tuning" if self.config.tuning.trains else "feature extraction"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """The arms of a study, from the cheapest to the dearest.

    Attributes
    ----------
    arms : tuple of PlannedArm
    reference : str
        The name of the arm that the others are compared with.
    budget_s : float or None
        Arms are run in order while the estimates add up to no more.
    """

    arms: tuple[PlannedArm, ...]
    reference: str
    budget_s: float | None

    @property
    def affordable(self) -> frozenset[str]:
        """Names of the arms within the budget; the reference always is."""
        names, spent = {self.reference}, 0.0
        for arm in sorted(self.arms, key=lambda one: one.name != self.reference):
            spent += arm.estimated_s
            if self.budget_s is None or spent <= self.budget_s:
                names.add(arm.name)
        return frozenset(names)


def plan_study(
    manifest: Path,
    config: RunConfig,
    *,
    trunks: Sequence[str],
    kinds: Sequence[str],
    hours: float | None,
) -> StudyPlan:
    """Plan a study: its arms, what each will cost, and which of them the budget allows.

    Every kind of arm is planned for the first trunk; the other trunks are used frozen.

    Parameters
    ----------
    manifest : Path
    config : RunConfig
        What all arms share; its trunk and tuning are replaced.
    trunks : sequence of str
        Names of the registry.
    kinds : sequence of str
        Of `_ARMS`; `frozen` is always among them.
    hours : float, optional
        The budget.

    Raises
    ------
    ConfigurationError
        If a kind is unknown or there is no trunk.
    """
    unknown = sorted(set(kinds) - set(_ARMS))
    if unknown or not trunks:
        raise ConfigurationError(
            "no such arm" if unknown else "no trunk to study",
            found=", ".join(unknown) or "none",
            expected=", ".join(_ARMS) if unknown else "the name of a trunk",
        )
    n_scans = len(read_manifest(manifest, check_files=False).scans)
    arms = []
    for trunk in dict.fromkeys(trunks):
        wanted = dict.fromkeys(["frozen", *kinds]) if trunk == trunks[0] else ["frozen"]
        arms += list(_arms_of(trunk, list(wanted), config, n_scans))
    return StudyPlan(
        arms=tuple(sorted(arms, key=lambda arm: arm.estimated_s)),
        reference=f"{trunks[0]}-frozen",
        budget_s=None if hours is None else 3600 * hours,
    )


def _arms_of(
    trunk: str,
    kinds: Sequence[str],
    config: RunConfig,
    n_scans: int,
) -> Iterator[PlannedArm]:
    base = config.trunk if trunk == config.trunk.name else TrunkSpec(name=trunk)
    features = resolve_features(config.features)
    # Rates do not depend on the weights, which may be missing.
    timed = load_trunk(
        dataclasses.replace(base, weights="random"),
        precision=features.precision,
        device=features.device,
    )
    rates = measure_rates(timed, size_px=config.slices.size_px)
    gflop = stage_gflop(base, size_px=config.slices.size_px)
    for kind in kinds:
        own = _ARMS[kind]
        tuning = dataclasses.replace(
            config.tuning,
            strategy=own.strategy,
            method=own.method,
            start=own.start,
        )
        untrained = kind == "untrained"
        yield PlannedArm(
            name=f"{trunk}-{kind}",
            config=dataclasses.replace(
                config,
                trunk=dataclasses.replace(base, weights="random" if untrained else base.weights),
                tuning=tuning,
            ),
            estimated_s=estimated_seconds(
                gflop,
                tuning,
                rates,
                n_scans=n_scans,
                n_slices=config.slices.n_slices,
                n_folds=config.folds.n_folds,
                n_repeats=config.folds.n_repeats,
            ),
        )


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
    for arm in sorted(plan.arms, key=lambda one: one.name != plan.reference):
        if arm.name not in plan.affordable:
            states[arm.name] = _arm(arm, state="over budget", reason="above the budget of hours")
            continue
        reporter.heading(f"{arm.name} (about {duration(arm.estimated_s)})")
        is_its_trunk = arm.config.trunk.name == _reference(plan).config.trunk.name
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
    compared.append(_folder(out, _reference(plan)))
    comparison = compare_run_folders(compared, out / "comparison", reporter=reporter)
    arms = compared_arms(
        [states[arm.name] for arm in plan.arms], comparison, reference=plan.reference
    )
    reference = Workspace(root=_folder(out, _reference(plan)), cache=cache or default_cache())
    curve = AuditDocument.read(reference.audit, stage="audit").learning_curve
    document = StudyDocument(
        n_patients=comparison.n_common,
        n_positive=comparison.n_positive,
        confidence=comparison.confidence,
        positive_label=comparison.positive_label,
        negative_label=comparison.negative_label,
        slice_px=_reference(plan).config.slices.size_px,
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


def plan_lines(plan: StudyPlan) -> list[str]:
    """Return the arms of a plan with their estimates."""
    lines = []
    for arm in plan.arms:
        mark = "" if arm.name in plan.affordable else ": over the budget, not run"
        lines.append(f"  {arm.name}: about {duration(arm.estimated_s)}{mark}")
    total = sum(arm.estimated_s for arm in plan.arms if arm.name in plan.affordable)
    return [*lines, f"about {duration(total)} in all, beside preparation and evaluation"]


def duration(seconds: float) -> str:
    """Return a time such as `40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _reference(plan: StudyPlan) -> PlannedArm:
    return next(arm for arm in plan.arms if arm.name == plan.reference)


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
