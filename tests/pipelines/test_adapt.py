"""From a bundle and a site to an adapted bundle, or to the word that it is not worth it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from mri_transfer.bundle import make_bundle, write_bundle
from mri_transfer.bundle.storage import load_bundle
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import read_json_object
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.adaptation.settings import AdaptationSpec, DomainSpec, StepsSpec
from mri_transfer.models.tails.tuned_trunk import open_model_trunk
from mri_transfer.training.refit import BootstrapSpec, bootstrap_heads, refit_on_all
from pipelines.jobs.adapt import SiteAdaptation, adapt_bundle
from pipelines.jobs.retrain import (
    Packing,
    model_config_of,
    read_cohort,
    read_training_summary,
)
from pipelines.plan.order import stages_until
from pipelines.reporters import SilentReporter
from pipelines.runner import begin_run, run_pipeline
from pipelines.stage import Context
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob, run_command

pytestmark = pytest.mark.slow

QUICK = AdaptationSpec(
    film=StepsSpec(steps=2, slices_per_scan=2),
    domains=DomainSpec(epochs=1, slices_per_scan=2, blender_steps=20),
)


@dataclasses.dataclass(frozen=True)
class Made:
    """A run to its features, and a bundle of it: nothing was evaluated."""

    run: Workspace
    bundle: Path


@pytest.fixture(scope="module")
def made(small_job: SmallJob, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("adapt")
    workspace = begin_run(
        small_job.manifest, folder / "run", small_job.config, cache=folder / "cache"
    )
    run_pipeline(workspace, small_job.config, stages=stages_until("features"))
    config = model_config_of(workspace, small_job.config)
    context = Context(workspace=workspace, config=small_job.config, reporter=SilentReporter())
    cohort = read_cohort(context)
    refit, spec = refit_on_all(config, cohort), BootstrapSpec(n_heads=3)
    bundle = make_bundle(
        config,
        cohort,
        read_training_summary(workspace),
        trunk=open_model_trunk(config.trunk, config.features, None, cache=workspace.weights),
        refit=refit,
        bootstrap=bootstrap_heads(config, cohort, refit, spec=spec),
        bootstrap_spec=spec,
        performance={"from": "A test", "figures": {}, "operating_points": []},
        version="1",
    )
    write_bundle(bundle, folder / "b")
    return Made(workspace, folder / "b")


def _bytes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _adapt(made: Made, strangers: Path, out: Path, **changes):
    site = SiteAdaptation(
        **{
            "bundle": made.bundle,
            "manifest": strangers,
            "work": out / "run",
            "labelled": 6,
            "run": made.run.root,
            "spec": QUICK,
            **changes,
        }
    )
    return adapt_bundle(
        site,
        Packing(out=out / "b2"),
        cache=made.run.cache,
        reporter=SilentReporter(),
    )


def test_where_nothing_is_shown_there_is_no_new_bundle(
    made: Made, strangers: Path, tmp_path: Path
) -> None:
    before = _bytes(made.bundle)
    document, seal = _adapt(made, strangers, tmp_path)
    assert seal is None
    assert document["way"] == "none"
    # Six ways need 2^-N <= .05 / 6.
    assert document["choice"]["needed"] == 7
    assert not document["choice"]["enough"]
    assert set(document["choice"]["ways"]) == {
        "none", "recalibrate", "moments", "combat", "warm", "linear", "url",
    }  # fmt: skip
    assert not (tmp_path / "b2").exists()
    assert _bytes(made.bundle) == before
    page = (tmp_path / "run" / "adaptation.html").read_text()
    assert "Not worth it" in page
    assert read_json_object(tmp_path / "run" / "adaptation.json") == json.loads(
        json.dumps(document)
    )


@pytest.mark.parametrize("way", ["moments", "film_blended", "adapters", "flute"])
def test_an_adapted_bundle_scores_scans_and_knows_where_it_comes_from(
    way, made: Made, strangers: Path, tmp_path: Path
) -> None:
    before, parent = _bytes(made.bundle), load_bundle(made.bundle)
    document, seal = _adapt(made, strangers, tmp_path, way=way)
    adapted = load_bundle(tmp_path / "b2")
    assert seal is not None
    assert adapted.digest == seal.digest
    assert _bytes(made.bundle) == before
    assert adapted.facts["lineage"][-1]["digest"] == parent.digest
    assert adapted.facts["mode"] == "adapt"
    assert adapted.facts["adaptation"]["way"] == way
    assert 0 < adapted.facts["adaptation"]["n_parameters"] <= 10_000
    assert (adapted.tail is not None) == (way != "moments")
    assert ("blend" in adapted.facts["adaptation"]) == (way in ("film_blended", "flute"))
    # Six of the eight were drawn, and the other two are scored before and after.
    assert document["own_patients"]["n"] == 2
    assert document["old_domain"]["n_old"] == 8
    page = (tmp_path / "run" / "adaptation.html").read_text()
    assert ("Weights of the training domains" in page) == (way in ("film_blended", "flute"))
    scan = read_manifest(strangers).scans.iloc[0]
    predicted = adapted.predict(scan["path"], force=True)
    assert predicted.score is not None
    assert 0 < predicted.score < 1
    known = [
        adapted.predict(row["path"], patient_id=row["patient_id"], force=True).overlap.patient
        for _, row in read_manifest(strangers).scans.iterrows()
    ]
    # Patients whose labels were not used stay strangers.
    assert np.sum(known) == 6


def test_a_way_that_needs_the_run_says_so(made: Made, strangers: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--run"):
        _adapt(made, strangers, tmp_path, way="moments", run=None)


def test_patients_that_the_bundle_was_trained_on_are_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="trained on"):
        _adapt(made, made.run.manifest, tmp_path)


def test_the_command_says_whether_it_was_worth_it(
    made: Made, strangers: Path, tmp_path: Path, capsys
) -> None:
    words = [
        "adapt", str(made.bundle), "--manifest", str(strangers), "--labelled", "6",
        "--out", str(tmp_path / "b2"), "--cache", str(made.run.cache),
        "--try", "recalibrate", "--try", "moments",
    ]  # fmt: skip
    assert run_command(*words) == 0
    printed = capsys.readouterr().out
    assert "Not worth it" in printed
    assert "moments       not tried: needs training patients" in printed
    assert run_command(*words, "--way", "sideways") == 2
