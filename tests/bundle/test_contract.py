"""The input contract: what it learns, what it turns away, and what it must not hold."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.decomposition import PCA

from mri_transfer.bundle.checks import Check, InputFacts
from mri_transfer.bundle.contract import ContractSpec, InputContract
from mri_transfer.bundle.contract_learning import learn_contract
from mri_transfer.bundle.density import compressed, learn_density
from mri_transfer.bundle.measures import MEASURES, grey_distance, measure_input
from mri_transfer.scans.quality import ScanScores
from mri_transfer.scans.slices import SliceSpec, SliceStack
from tests.bundle.bundles import training_scan

N_FEATURES = 30


def features(n: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, N_FEATURES)) * np.linspace(3, 0.1, N_FEATURES) + 5


@functools.cache
def contract_of(n: int = 60, *, seed: int = 0, spec: ContractSpec | None = None, **changes):
    names = [f"p{i:03d}" for i in range(n)]
    histogram = tuple(np.eye(10)[4])
    scans = [training_scan(name, i, histogram=histogram, **changes) for i, name in enumerate(names)]
    return learn_contract(
        scans,
        {name: 50.0 + i % 30 for i, name in enumerate(names)},
        features(n, seed=seed),
        slice_means=np.zeros((4, N_FEATURES), dtype=np.float32),
        spec=spec,
    )


def scan_like_training(**changes) -> InputFacts:
    like = training_scan("new")
    known = {
        "passed_through": True,
        "turn": "",
        "measures": like.measures,
        "histogram": np.eye(10)[4],
        "mean": features(60).mean(axis=0),
        "age_years": 60.0,
    }
    return InputFacts(**{**known, **changes})


def failures(contract: InputContract, scan: InputFacts) -> list[str]:
    return [check.name for check in contract.judge(scan) if check.failed]


def test_a_scan_like_those_of_training_passes_every_check() -> None:
    checks = contract_of().judge(scan_like_training())
    assert {check.verdict for check in checks} == {"pass"}
    names = [check.name for check in checks]
    assert names == ["space", "turn", *(one.name for one in MEASURES), "age", "density"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"passed_through": False}, ["space"]),
        ({"turn": "upside down"}, ["turn"]),
        ({"age_years": 20.0}, ["age"]),
        ({"age_years": 47.0}, []),
        ({"age_years": 46.9}, ["age"]),
        ({"age_years": None}, []),
        ({"histogram": np.eye(10)[9]}, ["grey_distance"]),
        ({"mean": features(60).mean(axis=0) + 50}, ["density"]),
    ],
)
def test_what_is_outside_is_named(changes, expected) -> None:
    assert failures(contract_of(), scan_like_training(**changes)) == expected


@pytest.mark.parametrize("measure", [one for one in MEASURES if one.name != "grey_distance"])
def test_a_measure_fails_on_the_sides_on_which_it_can_be_wrong(measure) -> None:
    contract = contract_of()
    usual = training_scan("new").measures
    for away, side in ((-1000.0, "low"), (1000.0, "high")):
        scan = scan_like_training(measures={**usual, measure.name: away})
        assert failures(contract, scan) == (
            [measure.name] if measure.side in (side, "both") else []
        )
    missing = {name: value for name, value in usual.items() if name != measure.name}
    assert failures(contract, scan_like_training(measures=missing)) == [measure.name]


def test_what_few_training_scans_had_counts_as_unknown() -> None:
    names = [f"p{i:03d}" for i in range(100)]
    turns = ["odd"] * 2 + ["rare enough"] * 3 + [""] * 95
    scans = [training_scan(name, turn=turn) for name, turn in zip(names, turns, strict=True)]
    contract = learn_contract(
        scans,
        dict.fromkeys(names),
        features(100),
        slice_means=np.zeros((4, N_FEATURES), dtype=np.float32),
    )
    assert failures(contract, scan_like_training(turn="odd")) == ["turn"]
    assert failures(contract, scan_like_training(turn="rare enough")) == []
    [age] = [check for check in contract.judge(scan_like_training()) if check.name == "age"]
    assert age.verdict == "none"
    # Where the head lies against the header is no matter once it was put right.
    assert "turn" not in failures(contract, scan_like_training(turn="odd", passed_through=False))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_patients_of_the_training_kind_are_seldom_turned_away(seed) -> None:
    contract = contract_of(100, seed=seed)
    found = contract.facts["in_distribution"]
    assert found["n"] == 100
    assert found["n_turned_away"] <= 5
    assert found["ci_low"] < found["share"] < found["ci_high"] or found["n_turned_away"] == 0
    others = features(2000, seed=seed + 100)
    away = [failures(contract, scan_like_training(mean=row)) for row in others]
    assert np.mean([bool(one) for one in away]) < 0.05


@pytest.mark.slow
def test_ranges_are_widened_until_few_patients_are_turned_away() -> None:
    """Numbers with tails so heavy that the narrowest rule turns many away."""
    rng = np.random.default_rng(1)
    names = [f"p{i:03d}" for i in range(60)]
    scans = [
        training_scan(name, measures={one.name: float(rng.standard_cauchy()) for one in MEASURES})
        for name in names
    ]

    def learned(at_most: float) -> InputContract:
        return learn_contract(
            scans,
            dict.fromkeys(names, 60.0),
            features(60),
            slice_means=np.zeros((4, N_FEATURES), dtype=np.float32),
            spec=ContractSpec(abstain_at_most=at_most),
        )

    loose, strict = learned(0.9).facts, learned(0.001).facts
    assert loose["widening"] < strict["widening"]
    assert strict["in_distribution"]["n_turned_away"] < loose["in_distribution"]["n_turned_away"]


def test_the_contract_names_nobody_and_holds_nobodys_features(tmp_path) -> None:
    contract = contract_of()
    contract.write(tmp_path)
    text = (tmp_path / "contract.json").read_text()
    assert "p0" not in text
    rows = features(60)
    for values in contract.density.tensors.values():
        if values.shape[-1] == N_FEATURES:
            gaps = np.abs(np.atleast_2d(values)[:, None] - rows[None]).max(axis=2)
            assert gaps.min() > 1e-3


def test_what_is_written_is_read_again_and_judges_alike(tmp_path) -> None:
    contract = contract_of()
    contract.write(tmp_path)
    again = InputContract.read(tmp_path)
    for scan in (scan_like_training(), scan_like_training(age_years=20.0, turn="x")):
        assert again.judge(scan) == contract.judge(scan)
    assert np.array_equal(again.slice_means, contract.slice_means)


def test_a_reason_says_what_was_found_and_what_is_expected() -> None:
    [check] = [one for one in contract_of().judge(scan_like_training(age_years=20.0)) if one.failed]
    assert check == Check(
        name="age",
        title="Age",
        verdict="fail",
        found="20 years",
        expected="47 to 82 years (training patients were 50 to 79)",
        meaning="a patient of an age that the model has not seen",
    )
    assert check.reason.startswith("Age: found 20 years; expected 47 to 82 years")


def test_the_density_is_a_mahalanobis_distance_along_the_principal_axes() -> None:
    """Against scikit-learn's principal axes and SciPy's distance."""
    rows = features(200)
    density = learn_density(rows)
    pca = PCA(n_components=20).fit(rows)
    new = features(5, seed=9)
    along = pca.transform(new)
    left = np.square(new - pca.inverse_transform(along)).sum(axis=1)
    residual = PCA().fit(rows).explained_variance_[20:].sum()
    expected = [
        np.sqrt(mahalanobis(a, np.zeros(20), np.diag(1 / pca.explained_variance_)) ** 2 + r)
        for a, r in zip(along, left / residual, strict=True)
    ]
    np.testing.assert_allclose(density.distance(new), expected, rtol=1e-6)


def test_p_values_are_ranks_among_training_patients() -> None:
    density = learn_density(features(49))
    known = density.tensors["distances"]
    # On the ray from the middle through one patient the distance grows with the way.
    middle, step = density.tensors["mean"], features(1, seed=4)[0] - density.tensors["mean"]
    step /= density.distance(middle + step[None])[0]
    inside, outside = middle + step * known[10], middle + step * (known[-1] + 1)
    p = density.p_value(np.stack([middle, inside * (1 - 1e-12), outside]))
    assert p[0] == 1.0
    assert p[1] == pytest.approx(40 / 50)
    assert p[2] == pytest.approx(1 / 50)


def test_compressed_rows_have_the_same_distances() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((25, 400))
    short = compressed(rows)
    assert short.shape == (25, 25)
    wide, narrow = learn_density(rows), learn_density(short)
    np.testing.assert_allclose(wide.distance(rows[:7]), narrow.distance(short[:7]), rtol=1e-6)
    np.testing.assert_allclose(wide.tensors["distances"], narrow.tensors["distances"], rtol=1e-6)


def test_grey_distance_is_the_mass_moved_times_the_bins() -> None:
    assert grey_distance(np.eye(10)[2], np.eye(10)[7]) == pytest.approx(5)


SCORES = ScanScores(
    values={"spacing_mm": 1.5, "slice_break": 0.7, "grey_levels": 200.0}, turn=0, histogram=()
)


def brain_stack(*, inner: float = 200, outer: float = 100) -> SliceStack:
    """Disks of 60 pixels in diameter, bright in the middle."""
    u, v = np.meshgrid(np.arange(100) - 49.5, np.arange(100) - 49.5)
    radius = np.hypot(u, v)
    picture = np.where(radius < 30, np.where(radius < 15, inner, outer), 0)
    return SliceStack(
        scan_id="s",
        pixels=np.repeat(picture[None], 6, axis=0).astype(np.uint8),
        z_mm=np.arange(6, dtype=np.float32) - 1,
    )


def measured(stack: SliceStack, **changes):
    known = {"shape": (80, 100, 50), "spacing_mm": (2.0, 2.0, 2.0), **changes}
    return measure_input(stack, SCORES, spec=SliceSpec(n_slices=6, size_px=100), **known)


def test_measures_of_a_disk_are_its_sizes() -> None:
    found = measured(brain_stack())
    assert found["field_mm"] == 200
    assert found["voxel_mm"] == 1.5
    # A pixel is 2 mm: a disk of 60 pixels is 120 mm wide.
    assert (found["width_mm"], found["depth_mm"]) == (120, 120)
    assert found["area_cm2"] == pytest.approx(np.pi * 6**2, rel=0.01)
    assert (found["z_low_mm"], found["z_high_mm"]) == (-1, 4)
    assert found["smallest_slice"] == 1
    assert found["deep_to_rim"] > 1.3
    assert measured(brain_stack(inner=100, outer=200))["deep_to_rim"] < 0.9


def test_noise_makes_grain_and_an_empty_slice_shows() -> None:
    stack = brain_stack()
    noise = np.random.default_rng(0).normal(0, 15, stack.pixels.shape)
    noisy = np.where(stack.pixels > 0, np.clip(stack.pixels + noise, 1, 255), 0).astype(np.uint8)
    assert (
        measured(dataclasses.replace(stack, pixels=noisy))["grain"] > 3 * measured(stack)["grain"]
    )
    cut = stack.pixels.copy()
    cut[-1, 50:] = 0
    assert measured(dataclasses.replace(stack, pixels=cut))["smallest_slice"] < 0.6
