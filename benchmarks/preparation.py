"""Preparation of a scan, step by step, against Clinica's recipe run with ANTs on the same scan.

Both run on one thread; processor time is compared, which stays meaningful on a busy machine.
Quality is judged alike for both: each affine places the scan, the same brain extraction runs on it,
and the brain found is compared with the template's.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._common import Target, argument_parser, finish, show_table
from mri_transfer.scans.preparation import PreparationSpec, prepare_scan
from mri_transfer.scans.preparation.bias import bias_field
from mri_transfer.scans.preparation.brain import MASK_SPACING_MM, brain_mask
from mri_transfer.scans.preparation.registration import align, one_thread
from mri_transfer.scans.preparation.template import (
    affine_of_image,
    array_of_image,
    image_of_array,
    image_of_volume,
    itk_affine,
    load_template,
    prepared_grid,
)
from mri_transfer.scans.volumes import Volume, load_volume

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
_SCANS = ROOT.parent / "shared" / "data" / "oasis1-heads-3"
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _reference(scan: Path, template: Path, out: Path, python: Path) -> tuple[Any, Any, Volume]:
    """Run the recipe; return seconds, the matrix template to scan, and the corrected scan."""
    script = Path(__file__).with_name("reference_preparation.py")
    environment = os.environ | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [str(python), str(script), str(scan), str(template), str(out)], check=True, env=environment
    )
    result = json.loads(Path(f"{out}.json").read_text(encoding="utf-8"))
    moved = np.array(result["moved_lps"])
    lps = np.eye(4)
    lps[:3, 3] = moved[0]
    lps[:3, :3] = (moved[1:] - moved[0]).T
    corrected = load_volume(Path(f"{out}_n4.nii.gz"), scan_id=scan.name)
    return result["seconds"], _LPS @ lps @ _LPS, corrected


def _placed(volume: Volume, matrix: Any) -> Any:
    import SimpleITK as sitk

    grid = prepared_grid(crop=True).image(spacing_mm=MASK_SPACING_MM)
    return sitk.Resample(
        image_of_volume(volume), grid, itk_affine(matrix), sitk.sitkLinear, 0.0, sitk.sitkFloat32
    )


def _figures(volume: Volume, matrix: Any, *, correct: bool) -> dict[str, float]:
    """Dice with the template, likeness to it, and the spread of white matter, of one result."""
    template = load_template()
    image = _placed(volume, matrix)
    if correct:
        field = bias_field(image, template.mask_on(image, margin_mm=4.0))
        image = image_of_array(array_of_image(image) / field, affine_of_image(image))
    brain, expected = brain_mask(image), template.mask_on(image)
    signal = array_of_image(image)
    white = signal[brain & (template.tissue_on(image, "white") > 0.9)]
    t1 = template.tissue_on(image, "t1")
    both = brain & expected
    return {
        "dice": float(2 * both.sum() / (brain.sum() + expected.sum())),
        "likeness": float(np.corrcoef(signal[both], t1[both])[0, 1]),
        "white matter CV": float(white.std() / white.mean()),
    }


def _ours(volume: Volume) -> tuple[dict[str, float], Any]:
    seconds, alignment = _timed(lambda: align(image_of_volume(volume)))
    image = _placed(volume, alignment.matrix)
    inside = load_template().mask_on(image, margin_mm=4.0)
    bias_seconds, field = _timed(lambda: bias_field(image, inside))
    corrected = image_of_array(array_of_image(image) / field, affine_of_image(image))
    mask_seconds, _ = _timed(lambda: brain_mask(corrected))
    whole_seconds, _ = _timed(lambda: prepare_scan(volume, PreparationSpec(scans="all")))
    steps = {"registration": seconds, "bias field": bias_seconds, "brain mask": mask_seconds}
    return {**steps, "whole": whole_seconds}, alignment.matrix


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the result."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument(
        "scans", nargs="*", type=Path, help="NIfTI heads; default: three of OASIS-1"
    )
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-bench" / "bin" / "python")
    options = parser.parse_args(arguments)
    scans = options.scans or sorted(_SCANS.glob("*/anat/*.nii.gz"))
    load_template()
    rows, figures = [], []
    with tempfile.TemporaryDirectory() as folder, one_thread():
        template = Path(folder) / "template.nii.gz"
        import SimpleITK as sitk

        sitk.WriteImage(load_template().t1, str(template))
        for scan in scans:
            volume = load_volume(scan, scan_id=scan.name)
            theirs, matrix, corrected = _reference(
                scan, template, Path(folder) / "reference", options.python
            )
            ours, own_matrix = _ours(volume)
            figures.append(
                {
                    "scan": scan.name,
                    "seconds": ours,
                    "reference_seconds": theirs,
                    "ours": _figures(volume, own_matrix, correct=True),
                    "reference": _figures(corrected, matrix, correct=False),
                }
            )
            rows.append(_row(figures[-1]))
    show_table("Processor seconds on one thread, ours / reference", _HEADER, rows)
    ratios = [_speed(figure) for figure in figures]
    losses = [figure["reference"]["dice"] - figure["ours"]["dice"] for figure in figures]
    finish(
        "preparation",
        out=options.out,
        figures={"scans": figures},
        targets=[
            Target(name="times faster, slowest scan", value=min(ratios), limit=3.0, at_least=True),
            Target(name="Dice lost, worst scan", value=max(losses), limit=0.005, at_least=False),
        ],
    )


_HEADER = (
    "scan",
    "registration",
    "bias field",
    "brain mask",
    "whole",
    "faster",
    "Dice",
    "likeness",
    "WM CV",
)


def _speed(figure: dict[str, Any]) -> float:
    """Return the recipe's two steps over our whole preparation, brain mask included."""
    theirs = figure["reference_seconds"]
    return float((theirs["bias field"] + theirs["registration"]) / figure["seconds"]["whole"])


def _row(figure: dict[str, Any]) -> list[str]:
    ours, theirs = figure["seconds"], figure["reference_seconds"]
    pairs = [f"{ours[step]:.1f} / {theirs[step]:.1f}" for step in ("registration", "bias field")]
    quality = [
        f"{figure['ours'][name]:.3f} / {figure['reference'][name]:.3f}"
        for name in ("dice", "likeness", "white matter CV")
    ]
    return [
        figure["scan"],
        *pairs,
        f"{ours['brain mask']:.1f}",
        f"{ours['whole']:.1f}",
        f"{_speed(figure):.1f} x",
        *quality,
    ]


if __name__ == "__main__":
    main()
