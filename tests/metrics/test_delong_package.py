"""DeLong's figures against an independent implementation, MLstatkit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from MLstatkit import Delong_test

from mri_transfer.metrics.delong import delong_difference


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("decimals", [6, 1], ids=["without ties", "with ties"])
def test_difference_standard_error_and_p_are_those_of_another_package(
    seed: int, decimals: int
) -> None:
    rng = np.random.default_rng(seed)
    positive = np.arange(90) % 2 == 1
    signal = positive + rng.standard_normal(90)
    first = np.round(signal + 0.5 * rng.standard_normal(90), decimals)
    second = np.round(0.5 * signal + rng.standard_normal(90), decimals)
    z, p, *_, auc_first, auc_second, facts = Delong_test(positive.astype(int), first, second)
    ours = delong_difference(positive, first[None], second[None])
    assert facts["method"] == "delong"
    assert ours.value == pytest.approx(auc_first - auc_second, abs=1e-12)
    assert ours.p == pytest.approx(p, rel=1e-9)
    assert ours.ci_high is not None
    half = 1.959963984540054 * math.sqrt(facts["var_diff"])
    assert ours.ci_high - ours.value == pytest.approx(half, rel=1e-9)
    assert abs(z) == pytest.approx(abs(auc_first - auc_second) / math.sqrt(facts["var_diff"]))
