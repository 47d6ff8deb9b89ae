"""A bundle that was adapted to a site: written, read again, and true to what was fitted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.bundle import make_bundle, write_bundle
from mri_transfer.bundle.storage import TUNED_SCHEMA, load_bundle
from mri_transfer.errors import StoreError
from mri_transfer.models.adaptation.settings import AdaptationSpec, StepsSpec
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tuned_trunk import open_model_trunk
from mri_transfer.report.pages.adaptation import adaptation_report
from mri_transfer.training.adaptation.arms import Adapted, ArmName, KnownSource, fit_arm
from mri_transfer.training.adaptation.choice import WayChoice, choose_way, held_out_scores
from mri_transfer.training.adaptation.own_patients import figures_on
from mri_transfer.training.adaptation.spread import bootstrap_adapted, old_domain
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import patient_scores
from mri_transfer.training.refit import BootstrapSpec, Refit
from mri_transfer.training.tuning import tuned_features
from tests.bundle.bundles import RECIPE, made_up_bundle, made_up_norm, summary_of
from tests.bundle.tuned import pictures, plan, tuned_cohort, tuned_recipe

SPEC = AdaptationSpec(film=StepsSpec(steps=2, slices_per_scan=2), projection_rank=2)
FILM = TuningSpec(strategy="some", method="ssf")


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledFeatures, LabelledFeatures]:
    config = tuned_recipe(method="ssf")
    old, site = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("site")
    return (
        tuned_cohort(old, config, n_patients=16),
        tuned_cohort(site, config, n_patients=8, prefix="new-", seed=5),
    )


def _adapted(
    way: ArmName, cohorts: tuple[LabelledFeatures, LabelledFeatures], folder: Path
) -> tuple[Adapted, LabelledFeatures]:
    old, site = cohorts
    bare = dataclasses.replace(old, activations=None)
    parent = made_up_bundle(bare, ventricular_norm=made_up_norm())
    write_bundle(parent, folder / "old")
    parent = load_bundle(folder / "old")
    stages = plan(dataclasses.replace(RECIPE, tuning=FILM)).source
    known = KnownSource(model=parent.trained, patients=old, stages=stages)
    adapted = fit_arm(way, site.view(site.labels), known, SPEC, seed=0)
    tail, config, read = adapted.model.tail, RECIPE, dataclasses.replace(site, activations=None)
    if tail is not None:
        config, read = dataclasses.replace(RECIPE, tuning=tail.spec), tuned_features(site, tail)
    bundle = make_bundle(
        config,
        read,
        summary_of(read),
        trunk=open_model_trunk(config.trunk, config.features, tail),
        refit=Refit(trained=adapted.model.on_features, inner=np.zeros(0), place=(0, 0)),
        bootstrap=bootstrap_adapted(way, parent.bootstrap, site, known, adapted, SPEC, seed=0),
        bootstrap_spec=BootstrapSpec(n_heads=3),
        performance={"from": "A test", "figures": {}, "operating_points": []},
        version="2",
        mode="adapt",
        parent=parent,
        adaptation={
            "way": way,
            "title": "a test",
            "n_labelled": 8,
            "n_parameters": adapted.n_parameters,
        },
    )
    write_bundle(bundle, folder / "new")
    return adapted, site


@pytest.mark.slow
@pytest.mark.parametrize("way", ["moments", "url", "film", "adapters"])
def test_an_adapted_bundle_scores_as_the_way_does(
    way: ArmName, cohorts: tuple[LabelledFeatures, LabelledFeatures], tmp_path: Path
) -> None:
    adapted, site = _adapted(way, cohorts, tmp_path)
    loaded = load_bundle(tmp_path / "new")
    tuned = way in ("film", "adapters")
    assert (loaded.facts["schema"] == TUNED_SCHEMA) == tuned
    assert (loaded.tail is not None) == tuned
    assert loaded.facts["mode"] == "adapt"
    assert loaded.facts["adaptation"]["way"] == way
    # Eight people are no norm: the parent's stays.
    assert loaded.facts["ventricular_norm"] == made_up_norm().as_dict()
    assert [one["version"] for one in loaded.facts["lineage"]] == ["1"]
    read = site
    if tuned:
        assert loaded.tail is not None
        source = plan(dataclasses.replace(RECIPE, tuning=loaded.tail.spec)).source
        read = tuned_features(site, loaded.tail.with_source(source))
    scores = loaded.score(read.tables["max"].features)
    np.testing.assert_allclose(scores[0], patient_scores(adapted.model, site), atol=1e-6)
    if tuned:
        # From pictures, through the trunk with its tail, the features are the same.
        maps = loaded.trunk.forward_slices(torch.from_numpy(pictures(8, seed=5)[0]))
        np.testing.assert_allclose(
            maps.amax((2, 3)).numpy(), read.tables["max"].features[0], atol=1e-4
        )


def test_an_adapted_bundle_must_say_how(
    cohorts: tuple[LabelledFeatures, LabelledFeatures], tmp_path: Path
) -> None:
    bundle = made_up_bundle(dataclasses.replace(cohorts[0], activations=None), mode="adapt")
    write_bundle(bundle, tmp_path / "b")
    with pytest.raises(StoreError, match="an adapted bundle says how"):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize("way", ["none", "film"])
def test_the_report_tells_what_was_tried_and_what_changed(
    way: ArmName, cohorts: tuple[LabelledFeatures, LabelledFeatures]
) -> None:
    old, site = cohorts
    parent = made_up_bundle(dataclasses.replace(old, activations=None))
    stages = plan(dataclasses.replace(RECIPE, tuning=FILM)).source
    known = KnownSource(model=parent.trained, patients=old, stages=stages)
    scores, faults = held_out_scores(site, known, ("none", "warm"), SPEC, seed=0)
    choice: WayChoice = choose_way(site.is_positive, scores, alpha=0.05, faults=faults)
    document = {
        "parent": {"version": "1", "digest": ""},
        "choice": dict(choice.document),
        "way": way,
        "title": "FiLM",
    }
    if way != "none":
        adapted = fit_arm(way, site.view(site.labels), known, SPEC, seed=0)
        document |= {
            "n_parameters": adapted.n_parameters,
            "fitted": {**adapted.facts, "blend": {"site1": 0.75, "site2": 0.25}},
            "own_patients": figures_on(parent.trained, adapted.model, site),
            "old_domain": old_domain(way, RECIPE, site, known, SPEC, seed=0, n_folds=2),
        }
    report = adaptation_report(document, made_by="a test")
    text = report.model_dump_json()
    assert ("Not worth it" in report.front.answer) == (way == "none")
    assert ("site1" in text) == (way != "none")
    assert ("held-out patients of the old cohort" in text) == (way != "none")
