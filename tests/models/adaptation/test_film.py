"""FiLM sets: steps from a start, sets of domains, and the blender of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.errors import HeadError
from mri_transfer.models.adaptation.blender import fit_blender, looks_of
from mri_transfer.models.adaptation.domains import (
    DomainPatients,
    age_bands,
    blended_set,
    fit_domain_set,
    learn_domains,
)
from mri_transfer.models.adaptation.film import fit_steps, random_set
from mri_transfer.models.adaptation.objectives import CentroidLoss
from mri_transfer.models.adaptation.settings import AdaptationSpec, DomainSpec, StepsSpec
from mri_transfer.models.tails.adapters import count_trained
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.trunks import TRUNKS
from mri_transfer.training.dataset import LabelledFeatures
from tests.tails_phantom import N_SLICES, labelled_cohort, source

FILM = TuningSpec(strategy="some", method="ssf")
QUICK = DomainSpec(epochs=2, slices_per_scan=2, learning_rate=0.01, blender_steps=150)
STEPS = StepsSpec(steps=12, slices_per_scan=4, learning_rate=0.05)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> LabelledFeatures:
    return labelled_cohort(tmp_path_factory.mktemp("film"), signal=30.0)


def _steps(cohort: LabelledFeatures, tuning: TuningSpec = FILM, **changes):
    given = {"spec": STEPS, "seed": 0, **changes}
    assert cohort.activations is not None
    return fit_steps(
        source(),
        tuning,
        cohort.activations,
        CentroidLoss(cohort.scan_is_positive, scale=10.0),
        pooling="max",
        n_slices=N_SLICES,
        **given,
    )


@pytest.mark.parametrize("method", ["ssf", "parallel"])
def test_steps_go_down_the_loss_and_move_few_numbers(method, cohort: LabelledFeatures) -> None:
    tuning = dataclasses.replace(FILM, method=method, rank=2)
    fit = _steps(cohort, tuning)
    assert fit.losses[-1] < fit.losses[0]
    assert fit.n_parameters == sum(v.size for v in fit.tail.tensors.values())
    assert fit.n_parameters == (16 if method == "ssf" else 2 * (8 + 6))
    assert set(fit.distances) == {"deep"}
    assert fit.distances["deep"] > 0
    again = _steps(cohort, tuning)
    for name, values in fit.tail.tensors.items():
        assert values.tobytes() == again.tail.tensors[name].tobytes()


def test_a_strong_pull_keeps_the_start(cohort: LabelledFeatures) -> None:
    free = _steps(cohort)
    start = {name: np.full(v.shape, 0.9) for name, v in free.tail.tensors.items()}
    held = _steps(
        cohort,
        start=start,
        spec=dataclasses.replace(STEPS, towards_start=1e6, learning_rate=1e-5),
    )
    for values in held.tail.tensors.values():
        np.testing.assert_allclose(values.astype(float), 0.9, atol=2e-3)


def test_a_blend_is_the_weighted_mean_of_sets() -> None:
    sets = {"a": {"scale": np.array([1.0, 2.0])}, "b": {"scale": np.array([3.0, 0.0])}}
    np.testing.assert_allclose(blended_set(sets, {"a": 0.25, "b": 0.75})["scale"], [2.5, 0.5])
    with pytest.raises(ValueError, match="sum to 1"):
        blended_set(sets, {"a": 0.5, "b": 0.6})


def test_a_random_set_has_a_known_sets_numbers_in_another_order() -> None:
    known = {"a": {"scale": np.arange(50.0)}}
    drawn = random_set(known, seed=0)["scale"]
    assert sorted(drawn) == list(range(50))
    assert list(drawn) != list(range(50))


def _domain(cohort: LabelledFeatures) -> DomainPatients:
    assert cohort.activations is not None
    labels = cohort.scan_is_positive
    targets = np.stack([labels, np.full(len(labels), -1)], axis=1)
    return DomainPatients(activations=cohort.activations, targets=targets, n_slices=N_SLICES)


def test_a_domains_set_depends_on_its_own_patients_alone(
    cohort: LabelledFeatures, tmp_path: Path
) -> None:
    other = labelled_cohort(tmp_path, seed=5)
    alone = fit_domain_set(source(), FILM, _domain(cohort), pooling="max", spec=QUICK, seed=0)
    found = learn_domains(
        source(),
        FILM,
        {"here": _domain(cohort), "there": _domain(other)},
        pooling="max",
        spec=QUICK,
        seed=0,
    )
    assert {n: v.tobytes() for n, v in alone.items()} == {
        n: v.tobytes() for n, v in found.sets["here"].items()
    }
    blend, weights = found.blend(_domain(cohort).activations)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["here"] > 0.5
    assert set(blend) == set(alone)


def test_ages_fall_into_bands_of_equal_size() -> None:
    bands = age_bands([50.0, None, 60.0, 70.0, 80.0, 90.0, 55.0], 3)
    assert bands.tolist() == [0, -1, 1, 1, 2, 2, 0]


def _looks(shift: float, n: int = 20) -> np.ndarray:
    rng = np.random.default_rng(int(10 * shift) + 1)
    return rng.normal(shift, 1, (n, 12)).astype(np.float32)


def test_the_blender_knows_unseen_patients_of_a_domain_in_any_order() -> None:
    labels = np.arange(20) % 2
    known = {name: _looks(shift) for name, shift in (("a", 0.0), ("b", 1.5))}
    blender = fit_blender(known, {"a": labels, "b": labels}, spec=QUICK, seed=0)
    unseen = np.random.default_rng(9).normal(1.5, 1, (8, 12)).astype(np.float32)
    weights = blender.weights(unseen)
    assert weights["b"] > 0.8
    assert blender.weights(unseen[::-1].copy())["b"] == pytest.approx(weights["b"], abs=1e-6)


def test_the_blender_does_not_learn_prevalence() -> None:
    """Domains look alike given the label, and have unlike shares of it."""
    rng = np.random.default_rng(0)

    def drawn(n_positive: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
        labels = (np.arange(n) < n_positive).astype(np.int64)
        looks = rng.normal(0, 1, (n, 6)) + 4.0 * labels[:, None]
        return looks.astype(np.float32), labels

    (rare, of_rare), (common, of_common) = drawn(10), drawn(50)
    blender = fit_blender(
        {"rare": rare, "common": common}, {"rare": of_rare, "common": of_common},
        spec=QUICK, seed=0,
    )  # fmt: skip
    positive, negative = rare[of_rare == 1], rare[of_rare == 0]
    shares = [blender.weights(part)["common"] for part in (positive[:8], negative[:8])]
    assert max(shares) - min(shares) < 0.7


def test_a_blender_of_one_domain_is_refused() -> None:
    with pytest.raises(HeadError, match="two domains"):
        fit_blender({"a": _looks(0.0)}, {"a": np.arange(20) % 2}, spec=QUICK, seed=0)


def test_looks_are_moments_of_channels(cohort: LabelledFeatures) -> None:
    assert cohort.activations is not None
    looks = looks_of(cohort.activations.rows([0]))
    maps = cohort.activations.read(0)
    assert looks[0, 0] == pytest.approx(float(maps[:, 0].mean()), rel=1e-5)
    assert looks[0, maps.shape[1]] == pytest.approx(float(maps[:, 0].std()), rel=1e-4)


def test_film_and_adapters_of_vgg16_stay_below_ten_thousand() -> None:
    with torch.device("meta"):
        stages = dict(TRUNKS["vgg16"].architecture().named_children())
    last = stages["block4_pool"]
    parallel = dataclasses.replace(FILM, method="parallel", rank=AdaptationSpec().adapter_rank)
    assert count_trained(last, FILM) == 3072
    assert count_trained(last, parallel) == 8448
    assert 2 * AdaptationSpec().projection_rank * 512 <= 10_000
