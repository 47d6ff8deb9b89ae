"""Times the parts of the stage `explain`: maps, contrast maps, pixels and curves of covering cells.

Weights are random, so nothing is downloaded; they do not change how long anything takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks._common import Target, argument_parser, finish, show_table
from mri_transfer.explain.attribution import Activations, explain_scan
from mri_transfer.explain.contrast import scan_cams
from mri_transfer.explain.faithfulness import close_curves, close_maps
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.mean_log_odds import PixelTrunks
from mri_transfer.explain.pixel_attribution import attribute_pixels
from mri_transfer.explain.spec import ExplanationSpec
from mri_transfer.models.heads import Head
from mri_transfer.models.pooling import Maxima
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from mri_transfer.scans.slices import SliceSpec, SliceStack
from mri_transfer.training.fitted_model import FittedModel

CHANNELS, HEADS, PATIENTS = 512, 15, 140


def main(argv: Sequence[str] | None = None) -> None:
    """Time the parts and scale them up to a cohort of 140 patients."""
    arguments = argument_parser(__doc__ or "").parse_args(argv)
    rng = np.random.default_rng(0)
    spec, few = SliceSpec(), ExplanationSpec()
    stack = _stack(spec, rng)
    trunk = load_trunk(TrunkSpec(weights="random"))
    trained = [_fold(i, spec.n_slices, rng) for i in range(HEADS)]
    geometry = SliceGeometry.of((176, 208, 176), np.eye(4), stack.z_mm, spec)
    trunks = [PixelTrunks.of(trunk, trunk)] * 3
    passed = Activations.through(trunk, stack, ["max"])
    assert isinstance(passed.maps, torch.Tensor)
    # As the stage finds them: only where the largest values lie.
    kept = Activations(features=passed.features, maps=Maxima.of(passed.maps))
    maps: Any = None
    view: Any = None

    def one_scan() -> None:
        nonlocal maps
        maps = explain_scan(
            stack,
            [kept] * HEADS,
            trained,
            patient_id="p",
            geometry=geometry,
            features=kept.features,
        )

    def contrast() -> None:
        whole = Activations.through(trunk, stack, ["max"])
        scan_cams([whole] * HEADS, trained, patient_id="p")

    def pixels() -> None:
        nonlocal view
        view = attribute_pixels(
            stack,
            trunks,
            trained[:3],
            patient_id="p",
            weights=maps.weights[:3],
            raw=maps.exact[0],
            spec=few,
        )

    def curves() -> None:
        shown = maps.exact[0]
        close_curves(
            stack,
            trunks,
            trained[:3],
            patient_id="p",
            weights=maps.weights[:3],
            slices=view.slices,
            maps=close_maps(shown, view, patch_cells=few.patch_cells, contrast=shown),
        )

    one_scan()
    scan_s, contrast_s = _seconds(one_scan, 3), _seconds(contrast, 1)
    pixels_s, curves_s = _seconds(pixels, 1), _seconds(curves, 1)
    # Those who get contrast maps, and as many to compare with.
    n_contrast = min(2 * few.contrast_patients, PATIENTS)
    close_s = few.close_patients * (pixels_s + curves_s)
    total = (PATIENTS * scan_s + n_contrast * contrast_s + close_s) / 60
    show_table(
        f"Stage explain: {n_contrast} scans for contrast maps; {few.close_patients} close views "
        f"of {few.close_slices} slices, {few.gradient_steps} steps",
        ["", "seconds"],
        [
            [f"maps of a scan by {HEADS} heads", f"{scan_s:.2f}"],
            ["a scan for contrast maps", f"{contrast_s:.1f}"],
            ["pixels of a patient", f"{pixels_s:.1f}"],
            ["covering cells of a patient", f"{curves_s:.1f}"],
        ],
    )
    finish(
        "explanation",
        out=arguments.out,
        figures={
            "scan_s": scan_s,
            "contrast_s": contrast_s,
            "pixels_s": pixels_s,
            "curves_s": curves_s,
            "n_patients": PATIENTS,
        },
        targets=[Target(name="minutes for 140 patients", value=total, limit=15.0, at_least=False)],
    )


def _stack(spec: SliceSpec, rng: np.random.Generator) -> SliceStack:
    stack = SliceStack.blank(spec)
    edge = spec.size_px
    y, x = np.mgrid[-1 : 1 : edge * 1j, -1 : 1 : edge * 1j]
    head = (x / 0.7) ** 2 + (y / 0.85) ** 2 < 1
    stack.pixels[:, head] = rng.integers(60, 220, (spec.n_slices, int(head.sum())))
    return stack


def _fold(number: int, n_slices: int, rng: np.random.Generator) -> FittedModel:
    tensors = {
        "weight": rng.normal(size=(2, CHANNELS)).astype(np.float32),
        "bias": np.zeros(n_slices, dtype=np.float32),
    }
    facts = {
        "procedure": {"pooling": "max", "aggregation": "mean_logit", "head": {"kind": "linear"}},
        "recalibration": {"method": "none", "parameters": {}},
        "threshold": 0.5,
    }
    head = Head(kind="linear", tensors=tensors, facts=facts)
    return FittedModel(repeat=number // 5, fold=number % 5, head=head)


def _seconds(work: Callable[[], None], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times


if __name__ == "__main__":
    main()
