"""The inverse power law of learning curves: found where it holds, refused where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.evaluation.audit.power_law import extrapolate, fit_power_law, power_law

SIZES = [16.0, 24.0, 32.0, 48.0, 64.0, 80.0, 112.0]
LABELS = np.array([1] * 20 + [0] * 20)


@pytest.mark.parametrize("truth", [(0.9, 0.1, 0.5), (0.8, 0.02, 1.2), (0.98, 0.25, 0.2)])
def test_parameters_are_found_from_an_exact_curve(truth: tuple[float, float, float]) -> None:
    fitted = fit_power_law(SIZES, power_law(SIZES, *truth))
    assert fitted is not None
    assert power_law([8, 224], *fitted) == pytest.approx(power_law([8, 224], *truth), abs=0.002)


def test_the_curve_by_hand() -> None:
    assert power_law([25.0, 100.0, 400.0], 0.9, 0.1, 0.5) == pytest.approx([0.7, 0.8, 0.85])


def _kernels(aucs: np.ndarray, noise: float = 0.3) -> list[np.ndarray]:
    """Shares of heads that rank each pair rightly, around the AUC of each size."""
    rng = np.random.default_rng(0)
    own = noise * (rng.random((20, 1)) + rng.random((1, 20)) - 1)
    return [auc + own - own.mean() for auc in aucs]


def test_an_extrapolation_lies_on_the_curve_and_in_its_interval() -> None:
    kernels = _kernels(power_law(SIZES, 0.9, 0.1, 0.5))
    found = extrapolate(
        SIZES, kernels, LABELS, at=400.0, n_samples=60, rng=np.random.default_rng(1)
    )
    assert found.value == pytest.approx(0.85, abs=0.003)
    assert (found.at, found.n) == (400.0, 40)
    assert [found.a, found.b, found.c] == pytest.approx([0.9, 0.1, 0.5], abs=0.02)
    assert found.ci_low < 0.85 < found.ci_high < 1.0
    assert found.ci_high - found.ci_low > 0.02


@pytest.mark.parametrize(
    ("sizes", "aucs", "reason"),
    [
        (SIZES[:4], [0.6, 0.65, 0.68, 0.7], "4 sizes; 5 needed"),
        (SIZES, [0.7, 0.69, 0.68, 0.66, 0.66, 0.65, 0.64], "does not rise"),
        (SIZES, [0.7] * 7, "does not rise"),
    ],
)
def test_what_cannot_be_fitted_has_a_reason(
    sizes: list[float], aucs: list[float], reason: str
) -> None:
    found = extrapolate(
        sizes, _kernels(np.array(aucs)), LABELS, at=224.0, n_samples=100,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert found.value is found.ci_low is found.a is None
    assert reason in found.reason
