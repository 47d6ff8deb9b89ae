"""ComBat removes the site, keeps what it should, and learns from training scans only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.models.harmonisation import Combat, HarmonisationSpec, fit_combat

SPEC = HarmonisationSpec(kind="combat")


def cohort(n=60, d=40, *, n_sites=3, offset=2.0, age_effect=0.1, seed=0):
    """Features with a site's offset and scale, an age effect per year, and noise."""
    rng = np.random.default_rng(seed)
    site = np.arange(n) % n_sites
    # The sites' ages differ, so that taking out a site without keeping age would take out age.
    age = (65 + 5 * site + 8 * rng.standard_normal(n)).round(1)
    covariates = pd.DataFrame(
        {
            "site": [f"site{number}" for number in site],
            "age": age,
            "sex": rng.choice(["F", "M"], n),
        },
        index=pd.Index([f"p{i:03d}" for i in range(n)], name="patient_id"),
    )
    shift = offset * rng.standard_normal((n_sites, d))
    slope = age_effect * np.ones(d)
    noise = rng.standard_normal((n, d)) * (1 + 0.5 * site)[:, None]
    return 10 + shift[site] + (age - 70)[:, None] * slope + noise, covariates


def reference(features, covariates):
    from neuroHarmonize import harmonizationLearn

    table = pd.DataFrame(
        {
            "SITE": covariates["site"].to_numpy(),
            "age": covariates["age"].to_numpy(),
            "sex": (covariates["sex"] == "M").to_numpy().astype(float),
        }
    )
    return harmonizationLearn(features, table, seed=0), table


def test_training_features_come_out_as_from_neuroharmonize():
    features, covariates = cohort()
    (_, expected), _ = reference(features, covariates)
    fitted = fit_combat(features, covariates, spec=SPEC)
    np.testing.assert_allclose(fitted.apply(features, covariates), expected, rtol=1e-8)


def test_new_scans_come_out_as_from_neuroharmonize():
    from neuroHarmonize import harmonizationApply

    features, covariates = cohort(n=90)
    (model, _), _ = reference(features[:60], covariates[:60])
    table = reference(features, covariates)[1]
    expected = harmonizationApply(features[60:], table[60:].reset_index(drop=True), model)
    fitted = fit_combat(features[:60], covariates[:60], spec=SPEC)
    np.testing.assert_allclose(fitted.apply(features[60:], covariates[60:]), expected, rtol=1e-8)


def test_a_planted_site_goes_and_a_planted_age_effect_stays():
    features, covariates = cohort(n=300, age_effect=0.1)
    age, site = covariates["age"].to_numpy(), covariates["site"].to_numpy()

    def fit_of(values):
        design = np.column_stack([*(site == name for name in np.unique(site)), age]).astype(float)
        return np.linalg.lstsq(design, values, rcond=None)[0]

    before = fit_of(features)
    harmonised = fit_combat(features, covariates, spec=SPEC).apply(features, covariates)
    after = fit_of(harmonised)
    assert np.ptp(before[:3], axis=0).mean() > 2.0
    assert np.ptp(after[:3], axis=0).mean() < 0.25
    assert after[3].mean() == pytest.approx(0.1, abs=0.02)
    spreads = [(harmonised - age[:, None] * 0.1)[site == s].std(axis=0).mean() for s in set(site)]
    assert max(spreads) / min(spreads) < 1.1
    # Without keeping age, what the sites' different ages explain goes with the site.
    spec = HarmonisationSpec(kind="combat", preserve=())
    blind = fit_combat(features, covariates, spec=spec).apply(features, covariates)
    line = np.polyfit(age, blind.mean(axis=1), 1)
    kept = np.polyfit(age, harmonised.mean(axis=1), 1)
    assert line[0] < kept[0] - 0.01


def test_test_scans_have_no_part_in_the_fit(tmp_path):
    features, covariates = cohort(n=90)
    train = np.arange(90) < 60
    first = fit_combat(features[train], covariates[train], spec=SPEC)
    features[~train] += 100.0
    second = fit_combat(features[train], covariates[train], spec=SPEC)
    first.write(tmp_path / "first")
    second.write(tmp_path / "second")
    for suffix in (".safetensors", ".json"):
        one, other = (tmp_path / f"{name}{suffix}" for name in ("first", "second"))
        assert one.read_bytes() == other.read_bytes()
    # A scan comes out the same whoever it is harmonised with.
    alone = first.apply(features[[70]], covariates.iloc[[70]])
    np.testing.assert_array_equal(alone[0], first.apply(features, covariates)[70])


def test_the_global_random_state_is_left_alone():
    features, covariates = cohort()
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    fit_combat(features, covariates, spec=SPEC)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_what_was_written_is_read_back(tmp_path):
    features, covariates = cohort()
    fitted = fit_combat(features, covariates, spec=SPEC)
    fitted.write(tmp_path / "combat")
    again = Combat.read(tmp_path / "combat")
    assert (again.sites, again.preserve) == (fitted.sites, fitted.preserve)
    np.testing.assert_array_equal(
        again.apply(features, covariates), fitted.apply(features, covariates)
    )
    (tmp_path / "combat.json").write_text("[]")
    with pytest.raises(HeadError, match="description"):
        Combat.read(tmp_path / "combat")


def test_slices_of_a_scan_move_together():
    features, covariates = cohort(d=6)
    rng = np.random.default_rng(1)
    pattern = rng.standard_normal((60, 5, 6))
    stacks = (features[:, None, :] + pattern - pattern.mean(axis=1, keepdims=True)).astype(
        np.float32
    )
    fitted = fit_combat(stacks, covariates, spec=SPEC)
    harmonised = fitted.apply(stacks, covariates)
    assert harmonised.dtype == np.float32
    assert harmonised.shape == stacks.shape
    means = fitted.apply(stacks.mean(axis=1), covariates)
    np.testing.assert_allclose(harmonised.mean(axis=1), means, rtol=1e-4, atol=1e-4)
    # One factor a site and feature for all differences between slices.
    ratio = np.diff(harmonised, axis=1) / np.diff(stacks, axis=1)
    of_site = ratio[::3].reshape(-1, 6)
    np.testing.assert_allclose(np.median(of_site, axis=0), of_site[0], rtol=1e-2)
    assert np.ptp(np.median(ratio.reshape(20, 3, 4, 6), axis=(0, 2)), axis=0).min() > 0.05


def test_features_without_variance_are_moved_at_most():
    features, covariates = cohort()
    plain = fit_combat(features, covariates, spec=SPEC).apply(features, covariates)
    constant = np.full((60, 1), 4.0)
    marker = (np.arange(60) % 3)[:, None] * 5.0
    joined = np.hstack([constant, features, marker])
    harmonised = fit_combat(joined, covariates, spec=SPEC).apply(joined, covariates)
    np.testing.assert_allclose(harmonised[:, 0], 4.0)
    np.testing.assert_allclose(harmonised[:, 1:-1], plain)
    np.testing.assert_allclose(harmonised[:, -1], 5.0)


def test_a_feature_that_stands_still_at_one_site_stays_finite():
    features, covariates = cohort(d=4)
    features[::3, 0] = 7.0
    fitted = fit_combat(features, covariates, spec=SPEC)
    assert np.isfinite(fitted.apply(features, covariates)).all()
    # Alone, a feature has no others to borrow a variance from.
    spec = HarmonisationSpec(kind="combat", preserve=())
    single = fit_combat(features[:, :1], covariates, spec=spec)
    harmonised = single.apply(features[:, :1], covariates)
    np.testing.assert_allclose(harmonised[::3], features[:, :1].mean(), rtol=1e-9)


def test_an_unseen_site_is_refused_by_name():
    features, covariates = cohort()
    fitted = fit_combat(features, covariates, spec=SPEC)
    elsewhere = covariates.assign(site="Oslo")
    with pytest.raises(HeadError, match=r"found Oslo; expected one of site0, site1, site2.*Fit"):
        fitted.apply(features, elsewhere)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(site="one"), "only one"),
        (lambda table: table.assign(site=["rare", *table["site"][1:]]), "fewer than two.*rare"),
        (lambda table: table.assign(age=[np.nan, *table["age"][1:]]), "age of every.*p000"),
        (lambda table: table.assign(site=[None, *table["site"][1:]]), "site of every.*p000"),
        (lambda table: table.assign(sex=[None, *table["sex"][1:]]), "sex of every.*p000"),
        (lambda table: table.assign(age=table["site"].str[-1].astype(float)), "told apart"),
    ],
)
def test_cohorts_that_cannot_be_harmonised_are_refused(change, message):
    features, covariates = cohort()
    with pytest.raises(HeadError, match=message):
        fit_combat(features, change(covariates), spec=SPEC)


def test_two_scans_of_one_patient_are_one_patient():
    features, covariates = cohort()
    table = covariates.assign(site=["rare", "rare", *covariates["site"][2:]])
    fit_combat(features, table, spec=SPEC)
    table.index = pd.Index(["p000", "p000", *table.index[2:]])
    with pytest.raises(HeadError, match="fewer than two"):
        fit_combat(features, table, spec=SPEC)


def test_values_and_features_not_fitted_with_are_refused():
    features, covariates = cohort()
    fitted = fit_combat(features, covariates, spec=SPEC)
    with pytest.raises(HeadError, match=r"value of sex.*found X"):
        fitted.apply(features, covariates.assign(sex="X"))
    with pytest.raises(HeadError, match="do not fit"):
        fitted.apply(features[:, :-1], covariates)
    with pytest.raises(HeadError, match="do not fit"):
        fitted.apply(features[:-1], covariates)
    with pytest.raises(HeadError, match="column age"):
        fitted.apply(features, covariates.drop(columns="age"))
    with pytest.raises(HeadError, match="column site"):
        fitted.apply(features, covariates.drop(columns="site"))


@pytest.mark.parametrize("name", ["label", "mmse", "cdr", "Diagnosis"])
def test_the_label_is_never_kept(name):
    with pytest.raises(ConfigurationError, match=r"harmonisation.*diagnosis"):
        HarmonisationSpec(kind="combat", preserve=("age", name))


def test_specs_that_cannot_be_meant_are_refused():
    with pytest.raises(ConfigurationError, match="differ"):
        HarmonisationSpec(preserve=("age", "site"))
    with pytest.raises(ConfigurationError, match="differ"):
        HarmonisationSpec(preserve=("age", "age"))
    features, covariates = cohort()
    with pytest.raises(ValueError, match="none"):
        fit_combat(features, covariates, spec=HarmonisationSpec())
    with pytest.raises(ConfigurationError, match="found sex"):
        fit_combat(features, covariates.drop(columns="sex"), spec=SPEC)
