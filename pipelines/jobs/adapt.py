"""adapt: a bundle adapted to a new site with a handful of labelled patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mri_transfer.bundle import (
    ModelBundle,
    Runtime,
    Seal,
    demand_free,
    load_bundle,
    make_bundle,
    write_bundle,
)
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import write_json
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.adaptation.domains import KnownDomains, learn_domains
from mri_transfer.models.adaptation.settings import AdaptationSpec
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tuned_trunk import open_model_trunk
from mri_transfer.report.pages.adaptation import adaptation_report
from mri_transfer.report.render.html import write_report
from mri_transfer.training.adaptation.arms import (
    ARMS,
    Adapted,
    ArmName,
    KnownSource,
    fit_arm,
    lacking,
)
from mri_transfer.training.adaptation.choice import WayChoice, choose_way, held_out_scores
from mri_transfer.training.adaptation.domain_cohorts import domains_of
from mri_transfer.training.adaptation.own_patients import figures_on
from mri_transfer.training.adaptation.spread import (
    bootstrap_adapted,
    draw_labelled,
    old_domain,
)
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.refit import Refit
from mri_transfer.training.tuning import tuned_features
from mri_transfer.version import __version__
from pipelines.config import RunConfig, config_of
from pipelines.jobs.retrain import (
    Packing,
    known_tail,
    plan_of,
    read_cohort,
    read_training_summary,
)
from pipelines.jobs.retrain_update import demand_strangers, next_version, old_patients
from pipelines.opening import open_run
from pipelines.plan.order import stages_until
from pipelines.runner import begin_run, run_pipeline
from pipelines.stage import Context, Reporter
from pipelines.workspace import Workspace

__all__ = ["DEFAULT_WAYS", "SiteAdaptation", "adapt_bundle"]

#: Ways on features, which leave-one-patient-out follows in seconds.
DEFAULT_WAYS: tuple[ArmName, ...] = (
    "recalibrate",
    "moments",
    "combat",
    "warm",
    "linear",
    "url",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiteAdaptation:
    """A new site for an old bundle."""

    bundle: Path
    manifest: Path
    work: Path
    """Run folder of the new site; made if missing."""
    labelled: int
    """Patients whose labels may be used; drawn, labels alike. The site's others are scored."""
    way: ArmName | Literal["auto"] = "auto"
    """`auto`: what leave-one-patient-out speaks for, if anything."""
    ways: tuple[ArmName, ...] = DEFAULT_WAYS
    """Those that `auto` tries."""
    run: Path | None = None
    """Run folder that the bundle was made of."""
    domain_column: str = "site"
    """Column of that run's manifest that names the training domains."""
    spec: AdaptationSpec = dataclasses.field(default_factory=AdaptationSpec)
    seed: int = 0
    trusted_key: str | None = None
    allow_programs: bool = False

    @property
    def wanted(self) -> tuple[ArmName, ...]:
        """The ways that may be followed, besides none."""
        return self.ways if self.way == "auto" else (self.way,)

    def needs(self, need: Any) -> bool:
        """Return whether one of the ways needs it."""
        return any(need in ARMS[way].needs for way in self.wanted)


def adapt_bundle(
    site: SiteAdaptation,
    packing: Packing,
    *,
    cache: Path | None,
    reporter: Reporter,
    weights: Path | None = None,
    jobs: int | None = None,
) -> tuple[dict[str, Any], Seal | None]:
    """Adapt a bundle to a site; the old bundle stays as it is.

    `adaptation.json` and `adaptation.html` in the site's run folder say what was tried.

    Returns
    -------
    document : dict
        What `adaptation.json` holds.
    seal : Seal or None
        Of the new bundle; None if no way is significantly better, and none was named.

    Raises
    ------
    ConfigurationError
        If patients of the site were trained on already, or a way that was named needs what is not
        at hand.
    """
    demand_free(packing.out, zipped=packing.zipped)
    runtime = Runtime(allow_programs=site.allow_programs)
    parent = load_bundle(site.bundle, trusted_key=site.trusted_key, runtime=runtime)
    job = _Job(site, parent, cache=cache, reporter=reporter, weights=weights, jobs=jobs)
    choice = job.choose()
    way = choice.chosen if site.way == "auto" else site.way
    document: dict[str, Any] = {
        "schema": "mri-transfer/adaptation/1",
        "parent": {"version": parent.version, "digest": parent.digest},
        "choice": dict(choice.document),
        "way": way,
        "title": ARMS[way].title,
    }
    if way == "none":
        job.write(document)
        return document, None
    adapted = fit_arm(
        way, job.labelled.view(job.labelled.labels), job.source, site.spec, seed=site.seed
    )
    document |= {
        "n_parameters": adapted.n_parameters,
        "fitted": dict(adapted.facts),
        "own_patients": figures_on(parent.trained, adapted.model, job.others),
        "old_domain": old_domain(
            way, parent.config, job.labelled, job.source, site.spec, seed=site.seed
        ),
    }
    job.write(document)
    bundle = job.packed(adapted, choice, way, packing)
    return document, write_bundle(bundle, packing.out, sign=packing.sign, zipped=packing.zipped)


class _Job:
    """The new site's patients, what is known of the training, and where results go."""

    def __init__(
        self,
        site: SiteAdaptation,
        parent: ModelBundle,
        *,
        cache: Path | None,
        reporter: Reporter,
        weights: Path | None,
        jobs: int | None,
    ) -> None:
        self.site, self.parent, self.reporter, self.weights = site, parent, reporter, weights
        self.config = _with_cut(config_of(parent.config), parent, site)
        self.jobs = jobs
        self.workspace = self._encoded(site.manifest, site.work, cache)
        patients = read_cohort(self._context)
        demand_strangers(parent, patients, read_training_summary(self.workspace))
        if parent.tail is not None:
            patients = tuned_features(patients, known_tail(self._context, parent))
        names = draw_labelled(patients, site.labelled, seed=site.seed)
        self.labelled = patients.only(names)
        others = set(patients.patient_ids) - set(names)
        self.others = patients.only(others) if others else None
        self.source = self._source()

    @property
    def _context(self) -> Context:
        return Context(
            workspace=self.workspace,
            config=self.config,
            reporter=self.reporter,
            weights=self.weights,
        )

    def _encoded(self, manifest: Path, work: Path, cache: Path | None) -> Workspace:
        workspace = begin_run(manifest, work, self.config, cache=cache)
        run_pipeline(
            workspace,
            self.config,
            stages=stages_until("features"),
            reporter=self.reporter,
            weights=self.weights,
            jobs=self.jobs,
        )
        return workspace

    def _source(self) -> KnownSource:
        parent, site = self.parent, self.site
        old, _ = old_patients(parent, site.run, self.workspace.cache, self.reporter)
        source = KnownSource(model=parent.trained, patients=old)
        if parent.tail is not None:
            tuned = None if old is None else tuned_features(old, known_tail(self._context, parent))
            return dataclasses.replace(source, patients=tuned)
        if not site.needs("frozen stages"):
            return source
        plan = plan_of(self._context, dataclasses.replace(parent.config, tuning=self.config.tuning))
        assert plan is not None  # _with_cut
        source = dataclasses.replace(source, stages=plan.source)
        if site.run is None:
            return source
        # The same scans again, down to the cut: features come from the cache.
        workspace, _ = open_run(site.run, cache=self.workspace.cache)
        folder = site.work.with_name(f"{site.work.name}_source")
        again = self._encoded(workspace.manifest, folder, self.workspace.cache)
        source = dataclasses.replace(
            source, patients=read_cohort(dataclasses.replace(self._context, workspace=again))
        )
        return dataclasses.replace(source, domains=self._domains(source, again))

    def _domains(self, source: KnownSource, workspace: Workspace) -> KnownDomains | None:
        if not self.site.needs("domains"):
            return None
        assert source.stages is not None
        assert source.patients is not None
        patients = read_manifest(workspace.manifest, check_files=False).patients()
        column = self.site.domain_column
        if column not in patients or patients[column].isna().any():
            raise ConfigurationError(
                "training domains are not known",
                where=f"column {column} of {self.site.run}",
                expected="a value for every patient",
                remedy="Name another column with --domain-column, or choose another way",
            )
        domain = {str(name): str(value) for name, value in patients[column].items()}
        self.reporter.note(f"learning FiLM sets of {len(set(domain.values()))} domains")
        return learn_domains(
            source.stages,
            self.config.tuning,
            domains_of(source.patients, patients, domain, spec=self.site.spec.domains),
            pooling=source.model.pooling,
            spec=self.site.spec.domains,
            seed=self.site.seed,
        )

    def choose(self) -> WayChoice:
        """Score the labelled patients one by one, and choose."""
        site = self.site
        missing = {way: lacking(way, self.source) for way in site.wanted}
        faults = {way: f"needs {need}" for way, need in missing.items() if need is not None}
        if site.way != "auto" and faults:
            raise ConfigurationError(
                f"the way {site.way} cannot be followed",
                found=faults[site.way],
                remedy="Name the run that the bundle was made of with --run",
            )
        ways: Sequence[ArmName] = ("none", *(way for way in site.wanted if way not in faults))
        scores, unsupported = held_out_scores(
            self.labelled,
            self.source,
            ways,
            site.spec,
            seed=site.seed,
            progress=self.reporter.counter("leaving out one patient at a time"),
        )
        return choose_way(
            self.labelled.is_positive,
            scores,
            alpha=site.spec.alpha,
            faults={**faults, **unsupported},
        )

    def write(self, document: dict[str, Any]) -> None:
        """Write what was tried, and what came of it."""
        root = self.workspace.root
        write_json(root / "adaptation.json", document)
        report = adaptation_report(document, made_by=f"mri-transfer {__version__}")
        write_report(report, root / "adaptation.html")

    def packed(
        self, adapted: Adapted, choice: WayChoice, way: ArmName, packing: Packing
    ) -> ModelBundle:
        """Return the adapted bundle."""
        parent, tail = self.parent, adapted.model.tail
        config, read, own = parent.config, self.labelled, parent.tail
        if tail is not None:
            config, own = dataclasses.replace(config, tuning=tail.spec), tail
            read = tuned_features(read, tail)
        elif own is None:
            read = _without_activations(read)
        blend = adapted.facts.get("blend")
        return make_bundle(
            config,
            read,
            read_training_summary(self.workspace, patient_ids=read.patient_ids),
            trunk=open_model_trunk(
                config.trunk,
                dataclasses.replace(config.features, device="auto"),
                own,
                weights_path=self.weights,
                cache=self.workspace.weights,
            ),
            refit=Refit(
                trained=adapted.model.on_features,
                inner=choice.of_way(way),
                place=(0, 0),
            ),
            bootstrap=bootstrap_adapted(
                way,
                parent.bootstrap,
                self.labelled,
                self.source,
                adapted,
                self.site.spec,
                seed=self.site.seed,
            ),
            bootstrap_spec=packing.bootstrap,
            performance=choice.performance(way),
            version=packing.version or next_version(parent.version),
            mode="adapt",
            parent=parent,
            adaptation={
                "way": way,
                "title": ARMS[way].title,
                "n_labelled": len(self.labelled.patient_ids),
                "n_parameters": adapted.n_parameters,
                **({} if blend is None else {"blend": blend}),
            },
        )


def _with_cut(config: RunConfig, parent: ModelBundle, site: SiteAdaptation) -> RunConfig:
    """Return the settings with a cut before the last stage, if a way works behind it."""
    if not site.needs("frozen stages") or parent.config.tuning.trains:
        return config
    return dataclasses.replace(config, tuning=TuningSpec(strategy="some", method="ssf"))


def _without_activations(cohort: LabelledFeatures) -> LabelledFeatures:
    return dataclasses.replace(cohort, activations=None)
