"""The aged template: the same brain in the same place, with more fluid inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mri_transfer.scans.preparation.aged_template import aged_template_at
from mri_transfer.scans.preparation.template import (
    affine_of_image,
    array_of_image,
    load_template,
    template_at,
)

SPACING_MM = 2.0


def _fluid_ml(signal: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> float:
    tissue = float(np.median(signal[inside]))
    return float((signal[inside] < 0.6 * tissue).sum()) * SPACING_MM**3 * 1e-3


def test_the_ventricles_hold_three_to_five_times_as_much() -> None:
    aged, young = aged_template_at(SPACING_MM), template_at(SPACING_MM)
    deep = load_template().mask_on(young, margin_mm=-20)
    before, after = (_fluid_ml(array_of_image(image), deep) for image in (young, aged))
    assert 3 * before < after < 6 * before


def test_the_outline_and_what_lies_outside_of_it_have_not_moved() -> None:
    aged, young = aged_template_at(SPACING_MM), template_at(SPACING_MM)
    np.testing.assert_array_equal(affine_of_image(aged), affine_of_image(young))
    outside = ~load_template().mask_on(young, margin_mm=3)
    np.testing.assert_allclose(
        array_of_image(aged)[outside], array_of_image(young)[outside], atol=0.02
    )


def test_it_is_as_symmetric_as_the_template() -> None:
    signal = array_of_image(aged_template_at(4.0))
    mirrored = signal[::-1]
    assert np.corrcoef(signal.ravel(), mirrored.ravel())[0, 1] > 0.97
