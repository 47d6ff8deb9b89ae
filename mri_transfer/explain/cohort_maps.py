"""Maps of a cohort: each patient by the heads that had not seen the patient, centred.

What a head's average training patient shows at a place is subtracted there, head by head. The
sum of a map is then the patient's log-odds less those of the average training patient.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.grouping import positions_by_name
from mri_transfer.explain.scan_maps import ScanMaps
from mri_transfer.models.heads import SliceOutput
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds

__all__ = ["CohortMaps", "centred_maps", "own_heads", "patient_means", "score_mismatch"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CohortMaps:
    """Centred maps of every scan.

    Attributes
    ----------
    scan_ids, patient_ids : tuple of str, length n_scans
    by_repeat : ndarray of float32, shape (n_scans, n_repeats, n_slices, rows, columns)
    gradcam : ndarray of float32, shape (n_scans, n_slices, rows, columns), or None
        Of the first repeat, by Grad-CAM; None where it was not asked for.
    randomised : ndarray of float32, shape (n_scans, n_slices, rows, columns)
        Of the first repeat, with the head's weights permuted among channels.
    slice_weights : ndarray of float32, shape (n_scans, n_slices)
        Each slice's part in the scan's log-odds, mean over repeats.
    log_odds : ndarray of float64, shape (n_scans, n_repeats)
        Of the scan: the sum of its slices' parts.
    inside : ndarray of float32, shape (n_scans, n_slices, rows, columns)
        Share of each cell that lies in the head.
    residual : ndarray of float64, shape (n_scans, n_repeats)
        What a map's sum lacks of the log-odds less those of the average training patient.
    mismatch : float
        Largest mismatch of features of all scans; where each head has a tail, that of patients'
        scores (`score_mismatch`).
    """

    scan_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    by_repeat: FloatArray
    gradcam: FloatArray | None
    randomised: FloatArray
    slice_weights: FloatArray
    log_odds: DoubleArray
    inside: FloatArray
    residual: DoubleArray
    mismatch: float

    @property
    def maps(self) -> FloatArray:
        """Mean over repeats, shape (n_scans, n_slices, rows, columns)."""
        found: FloatArray = self.by_repeat.mean(axis=1)
        return found


def own_heads(trained: Sequence[FittedModel], folds: Folds) -> dict[str, list[int]]:
    """Return, for each patient, the positions of the heads that had not seen the patient."""
    position = {(one.repeat, one.fold): i for i, one in enumerate(trained)}
    return {
        name: [position[repeat, int(row[p])] for repeat, row in enumerate(folds.assignment)]
        for p, name in enumerate(folds.patient_ids)
    }


def centred_maps(
    scan_ids: Sequence[str],
    patient_ids: Sequence[str],
    read: Callable[[int], ScanMaps],
    trained: Sequence[FittedModel],
    folds: Folds,
) -> CohortMaps:
    """Choose each patient's own heads and subtract their average training patient.

    Parameters
    ----------
    scan_ids, patient_ids : sequence of str, length n_scans
    read : callable
        Returns the maps of a scan by its position; called twice for each.
    trained : sequence of FittedModel
        In the order of the heads of `ScanMaps`.
    folds : Folds
    """
    own = own_heads(trained, folds)
    means = _training_means(patient_ids, read, trained, own)
    rows: list[dict[str, npt.NDArray[np.generic]]] = []
    mismatch = 0.0
    for i, patient_id in enumerate(patient_ids):
        maps, heads = read(i), own[patient_id]
        parts = maps.logits.astype(np.float64) * maps.weights
        by_repeat = maps.exact[heads] - means["exact"][heads]
        log_odds = parts[heads].sum(axis=1)
        expected = log_odds - means["log_odds"][heads]
        rows.append(
            {
                "by_repeat": by_repeat.astype(np.float32),
                "randomised": (maps.randomised - means["randomised"])[heads[0]].astype(np.float32),
                "slice_weights": parts[heads].mean(axis=0).astype(np.float32),
                "log_odds": log_odds,
                "inside": maps.inside,
                "residual": expected - by_repeat.sum(axis=(1, 2, 3)),
            }
        )
        if len(maps.gradcam):
            gradcam = (maps.gradcam - means["gradcam"])[heads[0]].astype(np.float32)
            rows[-1]["gradcam"] = gradcam
        mismatch = max(mismatch, maps.mismatch)
    stacked: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    stacked.setdefault("gradcam", None)
    return CohortMaps(
        scan_ids=tuple(scan_ids), patient_ids=tuple(patient_ids), mismatch=mismatch, **stacked
    )


def score_mismatch(
    patient_ids: Sequence[str],
    read: Callable[[int], ScanMaps],
    trained: Sequence[FittedModel],
    folds: Folds,
    scores: pd.DataFrame,
) -> float:
    """Return the largest difference between patients' scores by the maps' heads and those recorded.

    Parameters
    ----------
    patient_ids, read, trained, folds
        As in `centred_maps`.
    scores : DataFrame
        `predictions/patients.csv`.
    """
    own = own_heads(trained, folds)
    parts: dict[int, list[tuple[str, ScanMaps]]] = {}
    for i, patient_id in enumerate(patient_ids):
        maps = read(i)
        for head in own[patient_id]:
            parts.setdefault(head, []).append((patient_id, maps))
    recorded = scores.set_index(["repeat", "patient_id"])["score"]
    gaps = [0.0]
    for head, scans in parts.items():
        output = SliceOutput(
            logits=np.stack([maps.logits[head] for _, maps in scans]),
            weights=np.stack([maps.weights[head] for _, maps in scans]),
        )
        model = trained[head]
        found = model.patients(output, [name for name, _ in scans])
        gaps += [abs(score - recorded[model.repeat, name]) for name, score in found.items()]
    return float(max(gaps))


def _training_means(
    patient_ids: Sequence[str],
    read: Callable[[int], ScanMaps],
    trained: Sequence[FittedModel],
    own: dict[str, list[int]],
) -> dict[str, DoubleArray]:
    """Average every head's view of its training patients, each patient counting the same."""
    n_scans = Counter(patient_ids)
    sums: dict[str, DoubleArray] = {}
    counts = np.zeros(len(trained))
    for i, patient_id in enumerate(patient_ids):
        maps = read(i)
        trains = np.ones(len(trained))
        trains[own[patient_id]] = 0
        share = trains / n_scans[patient_id]
        counts += share
        parts = {
            "exact": maps.exact,
            "gradcam": maps.gradcam,
            "randomised": maps.randomised,
            "log_odds": (maps.logits.astype(np.float64) * maps.weights).sum(axis=1),
        }
        for name, values in parts.items():
            weighted = values * share[: len(values)].reshape(-1, *[1] * (values.ndim - 1))
            sums[name] = sums.get(name, np.zeros(values.shape)) + weighted
    return {
        name: total / counts[: len(total)].reshape(-1, *[1] * (total.ndim - 1))
        for name, total in sums.items()
    }


def patient_means(
    values: npt.NDArray[np.floating[npt.NBitBase]] | DoubleArray | FloatArray,
    patient_ids: Sequence[str],
) -> tuple[tuple[str, ...], DoubleArray]:
    """Average values of scans by patient; patients are sorted.

    Parameters
    ----------
    values : ndarray, shape (n_scans, ...)
    patient_ids : sequence of str, length n_scans
    """
    scans_of, array = positions_by_name(patient_ids), np.asarray(values)
    names = tuple(sorted(scans_of))
    return names, np.stack([array[scans_of[name]].mean(axis=0, dtype=np.float64) for name in names])
