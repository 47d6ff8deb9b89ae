"""Made-up feature tables with a known signal, for tests of everything right of the features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from mri_transfer.models.features import FeatureTable
from mri_transfer.training.folds import Folds, make_folds
from mri_transfer.training.settings import FoldSpec

IntArray = npt.NDArray[np.int64]


def feature_table(
    *,
    n_patients: int = 40,
    n_slices: int = 8,
    n_features: int = 30,
    signal: float = 1.0,
    identity: float = 1.0,
    two_sessions: int = 0,
    seed: int = 0,
) -> tuple[FeatureTable, IntArray]:
    """Grow features: a label's shift, a patient's own shift, and noise per slice.

    Returns the table and the labels of its scans (0 or 1, alternating by patient).
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n_patients) % 2
    direction = rng.standard_normal(n_features) / np.sqrt(n_features)
    own = identity * rng.standard_normal((n_patients, n_features))
    owners = [*range(n_patients), *range(two_sessions)]
    names = [f"p{owner:03d}" for owner in owners]
    features = np.stack(
        [
            3 * signal * labels[owner] * direction
            + own[owner]
            + rng.standard_normal((n_slices, n_features))
            for owner in owners
        ]
    ).astype(np.float32)
    z_mm = np.tile(np.arange(n_slices, dtype=np.float32), (len(owners), 1))
    scan_ids = tuple(f"{name}_scan{i}" for i, name in enumerate(names))
    table = FeatureTable(
        scan_ids=scan_ids,
        patient_ids=tuple(names),
        scan_sha256=tuple(f"{i:064x}" for i in range(len(names))),
        features=features,
        z_mm=z_mm,
    )
    return table, labels[owners].astype(np.int64)


def folds_of(table: FeatureTable, labels: IntArray, **spec: int) -> Folds:
    """Split the patients of a table."""
    label_of = dict(zip(table.patient_ids, labels, strict=True))
    names = sorted(label_of)
    words = ["AD" if label_of[name] else "CN" for name in names]
    return make_folds(names, words, spec=FoldSpec(**{"n_folds": 4, "n_repeats": 1, **spec}), seed=0)


def labels_of_logits(
    n: int, *, shift: float = 0.0, factor: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores, and labels whose true log-odds are shift + factor * logit(score)."""
    rng = np.random.default_rng(seed)
    logits = 1.2 * rng.standard_normal(n)
    labels = (rng.random(n) < expit(shift + factor * logits)).astype(int)
    return labels, expit(logits)
