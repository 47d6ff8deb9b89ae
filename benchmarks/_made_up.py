"""A made-up cohort whose cache is full: what works on rows can be timed without a scan's work.

Every scan is a file of its own, small enough for tens of thousands of them. All that a run keeps
of a scan (preparation, scores, pictures, recognition, slices, features) is put into the cache as
the stages would: features carry a signal and each patient's own pattern, the rest is random.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from mri_transfer.models.features import FeatureStore, ScanFeatures, feature_key, resolve_features
from mri_transfer.report.figures import PictureStore, picture_key
from mri_transfer.scans.preparation import PreparedScan, PreparedStore, prepared_key
from mri_transfer.scans.preparation.fingerprint import Fingerprint
from mri_transfer.scans.preparation.identity import IdentityStore, Recognition, identity_key
from mri_transfer.scans.quality import ScanScores, ScoreStore, score_key
from mri_transfer.scans.quality.scores import HISTOGRAM_EDGES
from mri_transfer.scans.slices import SliceStack, SliceStore, slices_key
from mri_transfer.scans.volumes import Volume
from pipelines.config import RunConfig

__all__ = ["fill", "write_manifest"]

#: As few voxels as `check` accepts.
_SHAPE = (16, 16, 16)
#: What the features of a label differ by, in standard deviations of a patient's own pattern.
_SIGNAL = 0.12
_N_FEATURES = 512
_N_SITES = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadeUpScan:
    """A row of the manifest."""

    number: int
    patient: int
    session: int

    @property
    def row(self) -> dict[str, object]:
        """The row as the manifest has it."""
        rng = np.random.default_rng([1, self.patient])
        positive = self.patient % 5 < 2
        name = f"sub-{self.patient:06d}"
        age = 70 + 4 * positive + 7 * rng.standard_normal() + self.session
        site = int(rng.integers(_N_SITES))
        return {
            "patient_id": name,
            "session_id": f"ses-{self.session}",
            "scan_id": f"{name}_ses-{self.session}_T1w",
            "path": f"scans/{self.number % 256:02x}/{name}_ses-{self.session}.nii",
            "label": "AD" if positive else "CN",
            "age": round(float(np.clip(age, 40, 99)), 1),
            "sex": "FM"[int(rng.integers(2))],
            "site": f"site{site:02d}",
            "scanner": f"scanner{site % 3}",
        }


def made_up_scans(n: int) -> list[MadeUpScan]:
    """Return so many scans; every third patient has two sessions."""
    scans: list[MadeUpScan] = []
    patient = 0
    while len(scans) < n:
        for session in range(2 if patient % 3 == 0 else 1):
            scans.append(MadeUpScan(number=len(scans), patient=patient, session=session))
        patient += 1
    return scans[:n]


def write_manifest(folder: Path, n: int) -> Path:
    """Write the manifest of the first scans of a cohort; return its path."""
    manifest = folder / f"manifest{n}.csv"
    table = pd.DataFrame([scan.row for scan in made_up_scans(n)])
    table.to_csv(manifest, index=False)
    return manifest


def fill(folder: Path, n: int, config: RunConfig) -> None:
    """Write the scans of a cohort, and its cache.

    Parameters
    ----------
    folder : Path
        Gets `scans/` and `cache/`; what is there already stays.
    n : int
        Scans. A smaller cohort is the beginning of a larger one.
    config : RunConfig
        Its settings shape the keys of the cache.
    """
    scans = made_up_scans(n)
    for number in range(256):
        (folder / f"scans/{number:02x}").mkdir(parents=True, exist_ok=True)
    parts = [scans[i : i + 500] for i in range(0, n, 500)]
    with ProcessPoolExecutor(initializer=_without_sync) as pool:
        for _ in pool.map(functools.partial(_fill_part, folder, config), parts):
            pass


def _without_sync() -> None:
    """Let the system write when it likes: half a million files, none of which is missed."""
    os.fsync = lambda _: None  # type: ignore[assignment]


def _fill_part(folder: Path, config: RunConfig, scans: list[MadeUpScan]) -> None:
    cache = folder / "cache"
    trunk_spec, features = config.trunk, resolve_features(config.features)
    for scan in scans:
        row, rng = scan.row, np.random.default_rng([2, scan.number])
        volume = _volume(str(row["scan_id"]), rng)
        path = folder / str(row["path"])
        if path.exists():
            continue
        image = nib.Nifti1Image(volume.voxels.astype(np.int16), volume.affine)
        data = image.to_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        key = prepared_key(scan_sha256=sha256, spec=config.preparation)
        PreparedStore(cache).put(key, PreparedScan.unchanged(volume, turn=0, margin=1.0))
        ScoreStore(cache).put(score_key(key), _scores(rng))
        PictureStore(cache).put(picture_key(key), {"thumbnail": _thumbnail()})
        IdentityStore(cache).put(identity_key(key), _recognition(scan, sha256, rng))
        cut = slices_key(volume_key=sha256, spec=config.slices)
        stack = _stack(str(row["scan_id"]), config, rng)
        SliceStore(cache).put(cut, stack)
        for pooling in config.poolings:
            spec = dataclasses.replace(features, pooling=pooling)
            FeatureStore(cache).put(
                feature_key(slices=cut, trunk_spec=trunk_spec, feature_spec=spec),
                ScanFeatures(
                    scan_id=stack.scan_id,
                    features=_features(scan, row["label"] == "AD", len(stack.z_mm), rng),
                    z_mm=stack.z_mm,
                ),
            )
        # Last, since it says that the rest is there.
        path.write_bytes(data)


def _volume(scan_id: str, rng: np.random.Generator) -> Volume:
    voxels = np.zeros(_SHAPE, dtype=np.float32)
    inner = tuple(slice(3, extent - 3) for extent in _SHAPE)
    voxels[inner] = rng.integers(200, 900, voxels[inner].shape)
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = -80.0
    return Volume(voxels=voxels, affine=affine, scan_id=scan_id)


def _scores(rng: np.random.Generator) -> ScanScores:
    names = ("snr", "cnr", "contrast", "sharpness", "entropy_focus", "grey_levels", "slice_break")
    middle = (20.0, 3.0, 1.4, 0.2, 0.4, 700.0, 0.9)
    values: dict[str, float | None] = {
        name: float(f"{at * (1 + 0.05 * rng.standard_normal()):.6g}")
        for name, at in zip(names, middle, strict=True)
    }
    share = rng.dirichlet(np.full(len(HISTOGRAM_EDGES) - 1, 50.0))
    return ScanScores(values=values, turn=0, histogram=tuple(round(float(s), 6) for s in share))


@functools.cache
def _thumbnail() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.tile(np.arange(96, dtype=np.uint8), (96, 1))).save(stream, "PNG")
    return stream.getvalue()


def _recognition(scan: MadeUpScan, sha256: str, rng: np.random.Generator) -> Recognition:
    """Return a pattern of the patient, seen through each session's noise."""
    own = np.random.default_rng([3, scan.patient]).standard_normal(_n_values())
    values = 32 * (0.9 * own + 0.44 * rng.standard_normal(len(own)))
    return Recognition(
        content_sha256=sha256,
        voxel_sha256=hashlib.sha256(sha256.encode()).hexdigest(),
        fingerprint=Fingerprint(values=np.clip(np.rint(values), -127, 127).astype(np.int8)),
    )


@functools.cache
def _n_values() -> int:
    from mri_transfer.scans.preparation.fingerprint import _inside

    return int(_inside().sum())


def _stack(scan_id: str, config: RunConfig, rng: np.random.Generator) -> SliceStack:
    spec = config.slices
    shape = (spec.n_slices, spec.size_px, spec.size_px)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    z_mm = np.linspace(-40, 60, spec.n_slices).astype(np.float32)
    return SliceStack(scan_id=scan_id, pixels=pixels, z_mm=z_mm)


def _features(
    scan: MadeUpScan, positive: bool, n_slices: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return features of decaying variance: a height's mean, the patient's own, the label's."""
    common, direction, spread = _pattern(n_slices)
    own = np.random.default_rng([4, scan.patient]).standard_normal(_N_FEATURES)
    noise = rng.standard_normal((n_slices, _N_FEATURES), dtype=np.float32)
    values = own + _SIGNAL * (2 * positive - 1) * direction + 0.8 * noise
    return (common + spread * values).astype(np.float32)


@functools.cache
def _pattern(n_slices: int) -> Iterator[npt.NDArray[np.float64]]:
    rng = np.random.default_rng(5)
    common = rng.gamma(2.0, 2.0, (n_slices, _N_FEATURES))
    spread = 3.0 / np.sqrt(1 + np.arange(_N_FEATURES) / 20)
    return common, rng.standard_normal(_N_FEATURES), spread
