"""retrain --from: a bundle takes in a new cohort."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from mri_transfer.bundle import (
    ModelBundle,
    Runtime,
    Seal,
    TrainingSummary,
    demand_free,
    find_overlap,
    load_bundle,
    make_bundle,
    write_bundle,
)
from mri_transfer.core.files import write_json
from mri_transfer.errors import ConfigurationError
from mri_transfer.evaluation.ventricular_norm import VentricularNorm
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail
from mri_transfer.models.tails.tuned_trunk import open_model_trunk
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.forgetting import forgetting
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import (
    BootstrapHeads,
    Refit,
    bootstrap_heads,
    refit_on_all,
)
from mri_transfer.training.tuning import TailPlan, tuned_features
from mri_transfer.training.update import bootstrap_updates, recalibrated, warmed
from mri_transfer.training.update_choice import StrategyComparison, compare_strategies
from mri_transfer.training.update_tail import TailUpdate, demand_tunable
from pipelines.config import config_of, override_tuning
from pipelines.jobs.retrain import (
    COHORT_CACHES,
    Packing,
    cohort_files,
    known_tail,
    model_config_of,
    plan_of,
    read_cohort,
    read_training_summary,
)
from pipelines.opening import open_run
from pipelines.plan.order import STAGES, stages_until
from pipelines.runner import begin_run, run_pipeline
from pipelines.running import demand_trusted
from pipelines.stage import Context, Reporter
from pipelines.stages.brain_volumes import learn_norm
from pipelines.workspace import Workspace

__all__ = ["Update", "demand_strangers", "next_version", "old_patients", "update_bundle"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Update:
    """A new cohort for an old bundle."""

    bundle: Path
    manifest: Path
    work: Path
    """Run folder of the new cohort; made if missing."""
    run: Path | None = None
    """Run folder that the old bundle was made of, for refitting on both cohorts."""
    mode: Literal["auto", "refit", "tune", "warm", "recalibrate"] = "auto"
    """`auto`: what cross-validation speaks for."""
    settings: tuple[str, ...] = ()
    """Of training a tail further, as `tuning.ewc=100`. It is tried in `auto` if there are any."""
    trusted_key: str | None = None
    allow_programs: bool = False


def update_bundle(
    update: Update,
    packing: Packing,
    *,
    cache: Path | None,
    reporter: Reporter,
    weights: Path | None = None,
    jobs: int | None = None,
) -> tuple[StrategyComparison, Seal | None]:
    """Take a new cohort into a bundle; the old one stays as it is.

    Only scans that the cache does not hold are computed. What cross-validation says of the ways
    lies in `update.json` of the new cohort's run folder.

    Returns
    -------
    compared : StrategyComparison
    seal : Seal or None
        Of the new bundle; None if the old one is as good, and no way was named.

    Raises
    ------
    ConfigurationError
        If patients of the new cohort were trained on already, or the old patients are needed and
        not at hand.
    """
    demand_free(packing.out, zipped=packing.zipped)
    runtime = Runtime(allow_programs=update.allow_programs)
    parent = load_bundle(update.bundle, trusted_key=update.trusted_key, runtime=runtime)
    # Before hours are spent on the new cohort.
    tuning = _tuning_of(update, parent)
    workspace, new = _encode(update, parent, cache, reporter, weights, jobs)
    summary = read_training_summary(workspace)
    demand_strangers(parent, new, summary)
    context = Context(
        workspace=workspace, config=config_of(parent.config), reporter=reporter, weights=weights
    )
    plan = plan_of(context, parent.config)
    known = None if parent.tail is None else known_tail(context, parent)
    old, old_summary = old_patients(parent, update.run, workspace.cache, reporter)
    if update.mode == "refit" and old is None:
        raise ConfigurationError(
            "refitting needs the old patients' features, which the bundle does not hold",
            remedy="Name the run it was made of with --run, or choose warm or recalibrate",
        )
    further, norm = None, None
    if tuning is not None and plan is not None:
        further = TailUpdate(config=parent.config, tuning=tuning, plan=plan)
    before = dataclasses.replace(parent.trained, tail=known)
    read = new if known is None else tuned_features(new, known)
    anew = old is not None or further is not None
    compared = compare_strategies(
        parent.config,
        before if anew else parent.trained,
        new if anew else read,
        old=old,
        tail=plan,
        further=further,
        progress=reporter.counter("comparing ways to take in the new cohort"),
    )
    write_json(workspace.root / "update.json", compared.document)
    mode = compared.chosen if update.mode == "auto" else update.mode
    if mode == "unchanged":
        return compared, None
    if mode == "tune" and further is not None:
        made = _tuned_further(further, before, new, old, packing)
    elif mode == "refit" and old is not None:
        summary = summary if old_summary is None else old_summary.joined(summary)
        made = _refitted(parent, old.joined(new), plan, packing)
        norm = _joint_norm(update.run, context)
    else:
        refit, heads = _moved(parent, read, warm=mode == "warm")
        made = _Made(config=parent.config, tail=known, refit=refit, heads=heads, read=read)
    after = dataclasses.replace(made.refit.trained, tail=made.tail)
    meter = forgetting(compared, mode, before, after, guards=made.guards)
    compared = dataclasses.replace(compared, document={**compared.document, "forgetting": meter})
    write_json(workspace.root / "update.json", compared.document)
    bundle = make_bundle(
        made.config,
        made.read,
        summary,
        trunk=open_model_trunk(
            parent.config.trunk,
            dataclasses.replace(parent.config.features, device="auto"),
            made.tail,
            weights_path=weights,
            cache=workspace.weights,
        ),
        refit=made.refit,
        bootstrap=made.heads,
        bootstrap_spec=packing.bootstrap,
        performance=compared.performance(mode),
        version=packing.version or next_version(parent.version),
        mode=mode,
        parent=parent,
        with_features=packing.with_features,
        ventricular_norm=norm,
    )
    seal = write_bundle(bundle, packing.out, sign=packing.sign, zipped=packing.zipped)
    return compared, seal


def _joint_norm(run: Path | None, context: Context) -> VentricularNorm | None:
    """Learn a norm of the ventricles from both cohorts; without the old run there is none."""
    if run is None:
        return None
    workspace, config = open_run(run, cache=context.workspace.cache)
    return learn_norm(dataclasses.replace(context, workspace=workspace, config=config), context)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    """What an update makes of a model: heads on features, and the tail that makes them."""

    config: ModelConfig
    tail: Tail | None
    refit: Refit
    heads: BootstrapHeads
    read: LabelledFeatures
    """The cohort that the new bundle describes, with these features."""
    guards: dict[str, Any] | None = None


def _refitted(
    parent: ModelBundle, both: LabelledFeatures, plan: TailPlan | None, packing: Packing
) -> _Made:
    refit = refit_on_all(parent.config, both, tail=plan)
    tail = refit.trained.tail
    refit, read = refit.on_features(both)
    heads = bootstrap_heads(parent.config, read, refit, spec=packing.bootstrap)
    return _Made(config=parent.config, tail=tail, refit=refit, heads=heads, read=read)


def _tuned_further(
    further: TailUpdate,
    before: FittedModel,
    new: LabelledFeatures,
    old: LabelledFeatures | None,
    packing: Packing,
) -> _Made:
    done = further.run(before, new, old)
    refit, fitted_to = done.refit.on_features(done.patients)
    return _Made(
        config=further.lasting,
        tail=done.refit.trained.tail,
        refit=refit,
        heads=bootstrap_heads(further.lasting, fitted_to, refit, spec=packing.bootstrap),
        # Those who were rehearsed count among the old patients.
        read=fitted_to.only(new.labels),
        guards=further.guards(done),
    )


def _tuning_of(update: Update, parent: ModelBundle) -> TuningSpec | None:
    """Return how the bundle's tail is to be trained further; None if that is not asked for."""
    if update.mode != "tune" and not update.settings:
        return None
    if update.mode not in ("tune", "auto"):
        raise ConfigurationError(
            "settings are of training a tail further, and another update is asked for",
            where="--set",
            found=f"--mode {update.mode}",
            expected="--mode tune or auto",
        )
    tuning = override_tuning(parent.config.tuning, update.settings)
    demand_tunable(parent.config, tuning, old_at_hand=update.run is not None)
    return tuning


def _encode(
    update: Update,
    parent: ModelBundle,
    cache: Path | None,
    reporter: Reporter,
    weights: Path | None,
    jobs: int | None,
) -> tuple[Workspace, LabelledFeatures]:
    """Bring the new cohort to features, as the old one was."""
    config = config_of(parent.config)
    workspace = begin_run(update.manifest, update.work, config, cache=cache)
    run_pipeline(
        workspace,
        config,
        stages=stages_until("features"),
        reporter=reporter,
        weights=weights,
        jobs=jobs,
    )
    context = Context(workspace=workspace, config=config, reporter=reporter)
    return workspace, read_cohort(context)


def demand_strangers(parent: ModelBundle, new: LabelledFeatures, summary: TrainingSummary) -> None:
    """Refuse a new cohort with patients or scans that the old bundle was made of.

    Raises
    ------
    ConfigurationError
        Naming them.
    """
    again = [
        name
        for name in new.patient_ids
        if find_overlap(parent.marks, patient_id=name, scan_digests=())
    ]
    scans = find_overlap(parent.marks, patient_id=None, scan_digests=summary.scan_digests)
    if again or scans:
        by_name = f"{len(again)} patients by name: {', '.join(again[:5])}" if again else ""
        raise ConfigurationError(
            "the new cohort holds what the bundle was trained on",
            found="; ".join(filter(None, (by_name, "scans by content" if scans else ""))),
            remedy="Leave them out of the manifest; rename patients who only share their name, "
            "for example with the site in front",
        )


def old_patients(
    parent: ModelBundle, run: Path | None, cache: Path, reporter: Reporter
) -> tuple[LabelledFeatures | None, TrainingSummary | None]:
    """Return the patients behind the bundle, from the run or from the bundle, if they are there.

    Raises
    ------
    ConfigurationError
        If the bundle was made of another run.
    """
    if run is None:
        return parent.features, None
    workspace, config = open_run(run, cache=cache)
    context = Context(workspace=workspace, config=config, reporter=reporter)
    demand_trusted(context, cohort_files(workspace), stages=STAGES, caches=COHORT_CACHES)
    cohort = read_cohort(context)
    known = all(
        find_overlap(parent.marks, patient_id=name, scan_digests=()) for name in cohort.patient_ids
    )
    same = known and len(cohort.patient_ids) == parent.facts["cohort"]["n_patients"]
    if not same or model_config_of(workspace, config) != parent.config:
        raise ConfigurationError(
            "the bundle was not made of this run",
            where=str(run),
            found="other settings" if same else "other patients",
            remedy="Name the run it was made of, unchanged",
        )
    return cohort, read_training_summary(workspace)


def _moved(
    parent: ModelBundle, cohort: LabelledFeatures, *, warm: bool
) -> tuple[Refit, BootstrapHeads]:
    """Update the heads alone, on the features that they read; a tail stays as it is."""
    refit = (warmed if warm else recalibrated)(parent.config, parent.trained, cohort)
    return refit, bootstrap_updates(parent.config, parent.bootstrap, cohort, refit, warm=warm)


def next_version(version: str) -> str:
    """Return the number after a version.

    Raises
    ------
    ConfigurationError
        If it is no number.
    """
    if not version.isdecimal():
        raise ConfigurationError(
            "what comes after this version is for you to say",
            found=version,
            remedy="Name the new one with --version",
        )
    return str(int(version) + 1)
