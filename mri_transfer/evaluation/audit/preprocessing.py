"""Whether a patient's features depend on anybody else, or on the label.

With a frozen trunk everything before the folds is a function of one scan. That is what the
import contracts promise; here it is measured: a patient is prepared and encoded alone, with the
label hidden, and the features are compared with those of the run, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mri_transfer.evaluation.audit.checks import CheckResult, Fault
from mri_transfer.models.features import ScanFeatures

__all__ = ["check_preprocessing", "feature_difference"]


def check_preprocessing(pairs: Iterable[tuple[ScanFeatures, ScanFeatures]]) -> CheckResult:
    """Compare features of the run with those of each patient alone.

    Parameters
    ----------
    pairs : iterable of (ScanFeatures, ScanFeatures)
        Of each scan: as the run has them, and recomputed on the same machine from that scan only,
        without its label.

    Returns
    -------
    CheckResult
        `found` holds, for each scan that differs, the largest difference and where it
        is.
    """
    compared = [feature_difference(stored, alone) for stored, alone in pairs]
    return CheckResult.of(
        "features_alone",
        [difference for difference in compared if difference is not None],
        what="A patient's features, recomputed alone and with the label hidden, are those of the "
        "run",
        expected="the same bytes",
        n_checked=len(compared),
    )


def feature_difference(stored: ScanFeatures, alone: ScanFeatures) -> Fault | None:
    """Return how two versions of a scan's features differ; None if they are the same bytes.

    Returns
    -------
    dict or None
        `scan_id` and `what` differs; where values do, `largest_difference`, at `slice`, `z_mm`
        and `feature`, and `n_values` that differ of `n_all`.
    """
    names = {"scan_id": stored.scan_id}
    if stored.scan_id != alone.scan_id:
        return {**names, "what": "scan", "alone": alone.scan_id}
    for what, a, b in (
        ("features", stored.features, alone.features),
        ("z_mm", stored.z_mm, alone.z_mm),
    ):
        if a.shape != b.shape or a.dtype != b.dtype:
            kinds = [f"{side.dtype} {side.shape}" for side in (a, b)]
            return {**names, "what": f"form of {what}", "stored": kinds[0], "alone": kinds[1]}
        if a.tobytes() != b.tobytes():
            return {**names, "what": what, **_largest(a, b, stored)}
    return None


def _largest(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], stored: ScanFeatures) -> Fault:
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    # A value that is no number differs by more than any number.
    index = np.unravel_index(int(np.argmax(np.where(np.isnan(apart), np.inf, apart))), apart.shape)
    largest = float(apart[index])
    difference: Fault = {
        "largest_difference": largest if np.isfinite(largest) else None,
        "slice": int(index[0]),
        "z_mm": float(stored.z_mm[index[0]]),
        "n_values": int((a.view(np.uint32) != b.view(np.uint32)).sum()),
        "n_all": a.size,
    }
    return difference | ({"feature": int(index[1])} if len(index) > 1 else {})
