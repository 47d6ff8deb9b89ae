"""Figures that chance alone makes larger than 0."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.metrics.chance import allow_for_chance, range_by_chance


def test_figures_that_chance_inflates_by_hand():
    draws, chance = np.linspace(0.1, 0.3, 201), np.linspace(0.0, 0.05, 51)
    settings = {"n": 9, "confidence": 0.9, "of": "x"}
    found = allow_for_chance(0.15, draws, chance, **settings)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.11 - 2 * 0.05, 0.29))
    known = allow_for_chance(0.15, draws, chance, bias=0.02, **settings)
    assert known.ci_low == pytest.approx(0.11 - 0.05 - 0.02)
    assert allow_for_chance(0.15, draws, chance + 0.2, **settings).ci_low == 0


def test_a_figure_that_never_changes_has_no_interval():
    found = allow_for_chance(0.2, np.full(9, 0.2), np.zeros(9), n=5, confidence=0.95, of="x")
    assert (found.value, found.ci_low) == (0.2, None)
    assert "same value" in found.reason


def test_the_range_by_chance_is_mean_and_quantiles():
    found = range_by_chance(np.linspace(0.0, 0.4, 401), n=7, confidence=0.9)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((0.2, 0.02, 0.38))
    assert "no interval" in found.method
