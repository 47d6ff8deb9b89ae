"""Maps of features, projections and recalibration of a site: closed forms and slow oracles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from mri_transfer.errors import HeadError
from mri_transfer.models.adaptation.linear_maps import behind_affine, centroid_head
from mri_transfer.models.adaptation.projection import fit_projection
from mri_transfer.models.adaptation.shrunk_platt import shrunk_recalibration
from mri_transfer.models.adaptation.site_maps import combat_map, moments_map
from mri_transfer.models.harmonisation import HarmonisationSpec, fit_combat
from mri_transfer.models.heads import Head, apply_head
from mri_transfer.models.recalibration import Recalibration, fit_recalibration

RNG = np.random.default_rng(0)


def _head(zones: int = 2, n_slices: int = 4, n_features: int = 6) -> Head:
    rng = np.random.default_rng(1)
    return Head(
        kind="linear",
        tensors={
            "weight": rng.standard_normal((zones, n_features)).astype(np.float32),
            "bias": rng.standard_normal(n_slices).astype(np.float32),
        },
        facts={},
    )


def test_a_map_worked_into_a_head_is_the_head_of_mapped_features() -> None:
    head, features = _head(), RNG.standard_normal((5, 4, 6)).astype(np.float32)
    scale, shift = RNG.uniform(0.5, 2, 6), RNG.standard_normal(6)
    expected = apply_head(head, (features * scale + shift).astype(np.float32)).logits
    found = apply_head(behind_affine(head, scale, shift), features).logits
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_map_is_not_worked_into_other_heads() -> None:
    with pytest.raises(HeadError, match="linear head alone"):
        behind_affine(Head(kind="mlp", tensors={}, facts={}), np.ones(2), np.ones(2))


def test_moments_give_the_site_the_old_slices_mean_and_deviation() -> None:
    old = RNG.normal(5, 2, (30, 4, 6))
    new = RNG.normal(-1, 7, (8, 4, 6))
    new[..., 2] = 3.0
    scale, shift = moments_map(old, new)
    mapped = (new * scale + shift).reshape(-1, 6)
    np.testing.assert_allclose(mapped.mean(axis=0), old.reshape(-1, 6).mean(axis=0))
    moving = np.arange(6) != 2
    np.testing.assert_allclose(mapped.std(axis=0)[moving], old.reshape(-1, 6).std(axis=0)[moving])
    # What stands still at the site has no deviation to scale.
    assert scale[2] == 1.0


def test_combat_takes_the_site_into_the_frame_of_the_old_patients() -> None:
    old, new = RNG.normal(5, 2, (20, 3, 8)), RNG.normal(7, 3, (6, 3, 8))
    scale, shift = combat_map(old, new)
    names = ["old"] * 20 + ["new"] * 6
    table = pd.DataFrame({"site": names}, index=[str(i) for i in range(26)])
    rows = np.concatenate([old.mean(axis=1), new.mean(axis=1)])
    fitted = fit_combat(rows, table, spec=HarmonisationSpec(kind="combat", preserve=()))
    harmonised_map = fitted.apply(rows[20:] * scale + shift, table.iloc[:6])
    # Taken as old scans, mapped ones are harmonised to what the new ones themselves are.
    np.testing.assert_allclose(harmonised_map, fitted.apply(rows[20:], table.iloc[20:]))


def test_centroids_rank_patients_by_their_cosines() -> None:
    rows = RNG.standard_normal((10, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = np.arange(10) % 2
    head = centroid_head(_head(), rows, labels, scale=10.0)
    features = np.repeat(rows[:, None], 4, axis=1).astype(np.float32)
    centroids = [rows[labels == k].mean(axis=0) for k in (0, 1)]
    units = [c / np.linalg.norm(c) for c in centroids]
    expected = 10.0 * (rows @ units[1] - rows @ units[0])
    np.testing.assert_allclose(apply_head(head, features).logits.mean(axis=1), expected, atol=1e-4)


def test_a_projection_parts_the_labelled_patients_and_leaves_other_directions() -> None:
    labels = np.arange(8) % 2
    rows = RNG.standard_normal((8, 20)) + 3.0
    projection = fit_projection(
        rows, labels, rank=3, steps=60, learning_rate=0.02, scale=10.0, seed=0
    )
    assert np.linalg.matrix_rank(projection - np.eye(20), tol=1e-4) <= 3

    def gap(given: np.ndarray) -> float:
        units = given / np.linalg.norm(given, axis=1, keepdims=True)
        one, other = (given[labels == k].mean(axis=0) for k in (1, 0))
        difference = one / np.linalg.norm(one) - other / np.linalg.norm(other)
        signs = 2 * labels - 1
        return float((signs * (units @ difference)).mean())

    assert gap(rows @ projection.T) > 1.5 * gap(rows)


def test_four_parted_patients_do_not_have_an_infinite_slope() -> None:
    found = shrunk_recalibration(
        Recalibration("none", {}),
        np.array([0, 0, 1, 1]),
        np.array([0.1, 0.2, 0.8, 0.9]),
        slope_deviation=0.5,
        intercept_deviation=1.0,
    )
    (slope,), (intercept,) = found.parameters["slope"], found.parameters["intercept"]
    assert 1.0 < slope < 2.0
    assert abs(intercept) < 0.1


def test_without_a_prior_it_is_maximum_likelihood_and_works_into_the_old_map() -> None:
    rng = np.random.default_rng(4)
    odds = rng.normal(0, 2, 3000)
    labels = (rng.random(3000) < expit(0.6 * odds - 0.5)).astype(np.int64)
    scores = expit(odds)
    old = Recalibration("platt", {"slope": (2.0,), "intercept": (1.0,)})
    found = shrunk_recalibration(old, labels, scores, slope_deviation=1e3, intercept_deviation=1e3)
    plain = fit_recalibration("platt", labels, scores)
    for name in ("slope", "intercept"):
        assert found.parameters[name][0] == pytest.approx(plain.parameters[name][0], abs=0.01)


def test_a_strict_prior_keeps_the_old_map() -> None:
    old = Recalibration("platt", {"slope": (2.0,), "intercept": (1.0,)})
    found = shrunk_recalibration(
        old,
        np.array([0, 1, 1, 1]),
        np.array([0.4, 0.2, 0.8, 0.9]),
        slope_deviation=1e-6,
        intercept_deviation=1e-6,
    )
    assert found.parameters["slope"][0] == pytest.approx(2.0, abs=1e-4)
    assert found.parameters["intercept"][0] == pytest.approx(1.0, abs=1e-4)
