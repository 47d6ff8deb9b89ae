"""Which scans a bundle abstains on, and how long one takes: damaged, turned and foreign scans.

Needs a bundle and one prepared scan of the kind it was trained on; heads and scans of another
scanner come from the folder of real scans beside the checkout.
"""

from __future__ import annotations

import dataclasses
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from benchmarks._common import Target, argument_parser, finish, show_table
from mri_transfer.bundle import (
    ModelBundle,
    Prediction,
    Runtime,
    ScanRequest,
    infer_scan,
    load_bundle,
)
from mri_transfer.errors import ScanError
from tests.phantoms import asymmetric_phantom, ras_affine, store_nifti

Voxels = npt.NDArray[np.float32]

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One scan that a bundle is tried on.

    Attributes
    ----------
    name : str
    must : bool or None
        Whether the bundle must say nothing; None where either is right.
    voxels, affine : ndarray or None
        To be written to a file; or `path`, one that is there.
    age_years : float or None
    """

    name: str
    must: bool | None
    voxels: npt.NDArray[Any] | None = None
    affine: npt.NDArray[np.float64] | None = None
    path: Path | None = None
    age_years: float | None = None


def damaged(x: Voxels, affine: npt.NDArray[np.float64]) -> Iterator[Case]:
    """Yield what can happen to one prepared slab, in the axes it is stored in."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    brain = x > 0
    bright, dark = float(x[brain].max()), float(x[brain].min())

    def inside(values: npt.NDArray[Any]) -> Voxels:
        return np.where(brain, np.maximum(values, 1), 0).astype(np.float32)

    def emptied(axis: int, share: float) -> Voxels:
        copy = np.moveaxis(x.copy(), axis, 0)
        copy[: round(share * len(copy))] = 0
        return np.moveaxis(copy, 0, axis)

    def scaled(by: float) -> npt.NDArray[np.float64]:
        return affine @ np.diag([by, by, by, 1.0])

    turned: dict[str, tuple[bool | None, Voxels]] = {
        "as it is": (False, x),
        "upside down": (True, x[:, ::-1, ::-1]),
        "its slices in reverse order": (True, x[:, :, ::-1]),
        "turned about the long axis of the body": (True, x[::-1, ::-1]),
        "front to back": (True, x[:, ::-1]),
        "mirrored left to right": (None, x[::-1]),
        "grey turned round inside the brain": (True, inside(bright + dark - x)),
        "gamma 0.4": (None, inside(255 * (x / bright) ** 0.4)),
        "gamma 2.5": (None, inside(255 * (x / bright) ** 2.5)),
        "noise alone": (True, np.abs(rng.normal(0, 80, x.shape)).astype(np.float32)),
        "noise in the shape of the brain": (True, inside(np.abs(rng.normal(100, 60, x.shape)))),
        "left half empty": (True, emptied(0, 0.5)),
        "left third empty": (True, emptied(0, 0.36)),
        "back half empty": (True, emptied(1, 0.5)),
        "lower half empty": (True, emptied(2, 0.5)),
        "blurred, 2 mm": (None, ndimage.gaussian_filter(x, 2 / 2.355)),
        "blurred, 3 mm": (None, ndimage.gaussian_filter(x, 3 / 2.355)),
        "noise, a tenth of white matter": (None, inside(x + rng.normal(0, 0.1 * bright, x.shape))),
        "16 grey levels": (None, np.floor(x / 16) * 16),
        "an ellipse without a brain in it": (True, ellipse(x.shape)),
        "constant": (True, np.full_like(x, 100)),
    }
    for name, (must, voxels) in turned.items():
        yield Case(name=name, must=must, voxels=voxels, affine=affine)
    yield Case(name="header: voxels of 1.2 mm", must=None, voxels=x, affine=scaled(1.2))
    yield Case(name="header: voxels of 0.9 mm", must=None, voxels=x, affine=scaled(0.9))
    yield Case(name="two frames (4-D)", must=True, voxels=np.stack([x, x], 3), affine=affine)
    yield Case(name="a patient of 20 years", must=True, voxels=x, affine=affine, age_years=20.0)


def ellipse(shape: tuple[int, ...]) -> Voxels:
    """Return a smooth body of the size of a slab's brain."""
    u, v, w = np.indices(shape, dtype=np.float32)
    r = ((u - shape[0] / 2) / (0.37 * shape[0])) ** 2 + ((v - shape[1] / 2) / (0.4 * shape[1])) ** 2
    return np.where(r < 1, 100 + 80 * (1 - r) + 5 * np.sin(w), 0).astype(np.float32)


def foreign(folder: Path) -> Iterator[Case]:
    """Yield scans of other kinds: whole heads, another cohort, stripped brains, a phantom."""
    for kind, limit in (("oasis1-heads-3", 3), ("ixi-16", 3), ("oasis1-repeat-5", 2)):
        for path in sorted((folder / kind).rglob("*_T1w.nii.gz"))[:limit]:
            yield Case(name=f"{kind}, unprepared: {path.name[4:12]}", must=True, path=path)
    yield Case(
        name="phantom",
        must=True,
        voxels=asymmetric_phantom((63, 72, 81)),
        affine=ras_affine((2.5,) * 3),
    )


def said(bundle: ModelBundle, case: Case, folder: Path) -> tuple[str, float]:
    """Return what a bundle says of a case in words, and the seconds it took."""
    path = case.path
    if path is None:
        path = folder / "case.nii.gz"
        store_nifti(path, np.asarray(case.voxels), case.affine, dtype="float32")
    request = ScanRequest(path=path, scan_id="case", age_years=case.age_years)
    start = time.perf_counter()
    try:
        words = in_words(infer_scan(bundle, request).prediction)
    except ScanError as error:
        words = f"refused: {error.what}"
    return words, time.perf_counter() - start


def in_words(prediction: Prediction) -> str:
    """Return a score, or the checks that are not met."""
    if prediction.score is not None:
        return f"predicted {prediction.score:.2f}"
    return "abstains: " + ", ".join(check.name for check in prediction.failed_checks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Try every case and print what the bundle says."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scan", type=Path, help="a prepared scan of the training kind")
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--weights-cache", type=Path)
    given = parser.parse_args(arguments)
    bundle = load_bundle(given.bundle, runtime=Runtime(cache=given.weights_cache))
    image: Any = nib.load(given.scan)
    x = np.asarray(image.dataobj, dtype=np.float32)
    rows, results, wrong = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        for case in (*damaged(x, image.affine), *foreign(given.data)):
            words, seconds = said(bundle, case, Path(folder))
            is_right = case.must is None or case.must != words.startswith("predicted")
            wrong += not is_right
            expected = {True: "no number", False: "a number", None: "either"}[case.must]
            rows.append([case.name, expected, words, "" if is_right else "WRONG", f"{seconds:.1f}"])
            results.append({"case": case.name, "said": words, "seconds": seconds})
            print(*rows[-1], sep=" | ", flush=True)
    show_table("What the bundle says", ["case", "must get", "says", "", "s"], rows)
    known = bundle.contract.facts["in_distribution"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    targets = [
        Target(name="cases judged wrongly", value=wrong, limit=0, at_least=False),
        Target(
            name="turned away in distribution", value=known["share"], limit=0.05, at_least=False
        ),
        Target(name="peak memory, GiB", value=memory, limit=3.0, at_least=False),
    ]
    finish(
        "abstention",
        out=given.out,
        figures={"cases": results, "in_distribution": known},
        targets=targets,
    )


if __name__ == "__main__":
    main()
