"""Every way to adapt: blind to patients who are scored, small, and right where a way must be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from mri_transfer.errors import ConfigurationError, EvaluationError, HeadError
from mri_transfer.models.adaptation.domains import learn_domains
from mri_transfer.models.adaptation.settings import AdaptationSpec, DomainSpec, StepsSpec
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.training.adaptation.arms import ARMS, ArmName, KnownSource, fit_arm, lacking
from mri_transfer.training.adaptation.domain_cohorts import domains_of
from mri_transfer.training.adaptation.leaks import demand_blind
from mri_transfer.training.adaptation.spread import draw_labelled, old_domain
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.refit import refit_on_all
from tests.bundle.bundles import HARMONISED, RECIPE, made_up_cohort
from tests.tails_phantom import labelled_cohort, renamed, source

QUICK = AdaptationSpec(
    film=StepsSpec(steps=2, slices_per_scan=2),
    domains=DomainSpec(epochs=1, slices_per_scan=2, blender_steps=20),
    projection_steps=5,
    projection_rank=2,
)
NAMES = tuple(ARMS)


@dataclasses.dataclass(frozen=True)
class Case:
    known: KnownSource
    site: LabelledFeatures
    labelled: tuple[str, ...]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    import pandas as pd

    old = labelled_cohort(tmp_path_factory.mktemp("old"), signal=40.0, two_sessions=0)
    fresh = labelled_cohort(
        tmp_path_factory.mktemp("new"), n_patients=12, signal=40.0, two_sessions=0, seed=4
    )
    site = renamed(fresh)
    config = dataclasses.replace(RECIPE, tuning=TuningSpec())
    model = refit_on_all(config, old).trained
    names = old.patient_ids
    patients = pd.DataFrame({"age": 60.0 + np.arange(len(names)), "sex": ["F", "M"] * 8}, names)
    domain = {name: f"site{i // 8}" for i, name in enumerate(names)}
    domains = learn_domains(
        source(),
        TuningSpec(strategy="some", method="ssf"),
        domains_of(old, patients, domain, spec=QUICK.domains),
        pooling="max",
        spec=QUICK.domains,
        seed=0,
    )
    known = KnownSource(model=model, patients=old, stages=source(), domains=domains)
    return Case(known=known, site=site, labelled=draw_labelled(site, 6, seed=0))


def _fit(case: Case, way: ArmName, site: LabelledFeatures) -> FittedModel:
    return fit_arm(way, site.view(case.labelled), case.known, QUICK, seed=0).model


@pytest.mark.parametrize("way", NAMES)
def test_a_way_sees_its_labelled_patients_alone(way: ArmName, case: Case) -> None:
    demand_blind(lambda site: _fit(case, way, site), case.site, case.labelled)


def test_a_label_of_a_patient_to_be_scored_is_caught(case: Case) -> None:
    def leaking(site: LabelledFeatures) -> FittedModel:
        return fit_arm("warm", site.view(site.labels), case.known, QUICK, seed=0).model

    with pytest.raises(EvaluationError, match="patients who were to be scored"):
        demand_blind(leaking, case.site, case.labelled)


def test_moments_of_patients_to_be_scored_are_caught(case: Case) -> None:
    """No label leaks: the site's moments alone are those of everybody."""

    def leaking(site: LabelledFeatures) -> FittedModel:
        return fit_arm("moments", site.view(site.labels), case.known, QUICK, seed=0).model

    with pytest.raises(EvaluationError, match=r"tensor|weight|bias"):
        demand_blind(leaking, case.site, case.labelled)


def test_scans_of_patients_to_be_scored_in_a_blend_are_caught(case: Case) -> None:
    def leaking(site: LabelledFeatures) -> FittedModel:
        view = site.view(case.labelled)
        assert site.activations is not None
        whole = dataclasses.replace(view, activations=site.activations.rows(range(6, 12)))
        return fit_arm("film_blended", whole, case.known, QUICK, seed=0).model

    with pytest.raises(EvaluationError):
        demand_blind(leaking, case.site, case.labelled)


@pytest.mark.parametrize("way", NAMES)
def test_the_old_model_stays_as_it_was(way: ArmName, case: Case) -> None:
    before = {name: values.copy() for name, values in case.known.model.tensors.items()}
    facts = case.known.model.record.as_dict()
    adapted = fit_arm(way, case.site.view(case.labelled), case.known, QUICK, seed=0)
    assert all((values == before[n]).all() for n, values in case.known.model.tensors.items())
    assert case.known.model.record.as_dict() == facts
    assert (adapted.n_parameters == 0) == (way == "none")
    scores = patient_scores(adapted.model, case.site)
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("way", [name for name in NAMES if not ARMS[name].reads_labels])
def test_ways_without_labels_give_the_same_whatever_the_labels_are(
    way: ArmName, case: Case
) -> None:
    view = case.site.view(case.labelled)
    other = {"AD": "CN", "CN": "AD"}
    flipped = dataclasses.replace(
        view, labels={name: other[label] for name, label in view.labels.items()}
    )
    found = [fit_arm(way, one, case.known, QUICK, seed=0).model for one in (view, flipped)]
    for name, values in found[0].tensors.items():
        assert values.tobytes() == found[1].tensors[name].tobytes()


def test_the_blend_is_told(case: Case) -> None:
    adapted = fit_arm("film_blended", case.site.view(case.labelled), case.known, QUICK, seed=0)
    assert set(adapted.facts["blend"]) == {"site0", "site1"}
    assert len(adapted.facts["losses"]) == 2
    assert adapted.model.record.tuning is not None
    assert adapted.model.tail is not None


def test_what_a_way_needs_is_named(case: Case) -> None:
    bare = KnownSource(model=case.known.model)
    view = case.site.view(case.labelled)
    assert [name for name in NAMES if lacking(name, bare) is None] == [
        "none",
        "recalibrate",
        "warm",
        "linear",
        "url",
    ]
    with pytest.raises(ConfigurationError, match="needs training patients"):
        fit_arm("moments", view, bare, QUICK, seed=0)


def test_a_model_bound_to_its_sites_is_not_adapted() -> None:
    cohort = made_up_cohort(sites=True)
    assert isinstance(HARMONISED.harmonisation, HarmonisationSpec)
    model = refit_on_all(HARMONISED, cohort).trained
    with pytest.raises(ConfigurationError, match="bound to the sites"):
        fit_arm("warm", cohort.view(cohort.labels), KnownSource(model=model), QUICK, seed=0)


def test_moments_mend_a_site_whose_features_are_moved_and_scaled() -> None:
    old = made_up_cohort(n_patients=40)
    new = made_up_cohort(n_patients=40, seed=0, prefix="new-")
    rng = np.random.default_rng(1)
    scale, shift = rng.uniform(0.2, 5, 256), rng.normal(0, 5, 256)
    table = new.tables["max"]
    moved = dataclasses.replace(table, features=(table.features * scale + shift).astype(np.float32))
    site = dataclasses.replace(new, tables={"max": moved})
    model = refit_on_all(RECIPE, old).trained
    known = KnownSource(model=model, patients=old)
    scores = {
        way: patient_scores(fit_arm(way, site.view(site.labels), known, QUICK, seed=0).model, site)
        for way in ("none", "moments")
    }
    # The same patients under other names: their scores must come back as they were.
    meant = logit(patient_scores(model, new))
    assert np.abs(logit(scores["none"]) - meant).max() > 2
    np.testing.assert_allclose(logit(scores["moments"]), meant, atol=0.02)


def test_forgetting_is_measured_on_patients_that_no_head_had_seen() -> None:
    old = made_up_cohort(n_patients=30)
    site = made_up_cohort(n_patients=8, prefix="new-", seed=2)
    known = KnownSource(model=refit_on_all(RECIPE, old).trained, patients=old)
    nothing = old_domain("none", RECIPE, site, known, QUICK, seed=0, n_folds=3)
    assert nothing is not None
    assert nothing["auc_difference"]["value"] == 0.0
    assert nothing["auc_before"]["value"] < 1.0
    assert old_domain("none", RECIPE, site, KnownSource(model=known.model), QUICK, seed=0) is None


def test_patients_are_drawn_with_labels_alike(tmp_path: Path) -> None:
    site = made_up_cohort(n_patients=20)
    drawn = draw_labelled(site, 8, seed=3)
    assert sum(site.labels[name] == "AD" for name in drawn) == 4
    assert draw_labelled(site, 8, seed=3) == drawn
    assert draw_labelled(site, 8, seed=4) != drawn
    with pytest.raises(HeadError, match="too few patients of one label"):
        draw_labelled(site, 30, seed=0)
