"""Which named structures hold what speaks for the positive label."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.threads import map_on_cores
from mri_transfer.explain.atlas import Atlas
from mri_transfer.explain.cohort_maps import patient_means
from mri_transfer.explain.findings import Findings, Space
from mri_transfer.explain.regions import mean_over_patients

__all__ = ["Named", "name_structures", "positive_weight", "structures_part"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

#: Structures that are listed of a single patient.
_LEADING = 3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Named:
    """How the maps of scans lie in the structures of an atlas.

    Attributes
    ----------
    scan_ids : tuple of str, length n_scans
    weights : tuple of dict, length n_scans
        Each structure's share of the scan's positive weight, of its whole map (`positive_weight`).
    volumes : tuple of dict, length n_scans
        Each structure's share of the head, as far as the slices cover it.
    """

    scan_ids: tuple[str, ...]
    weights: tuple[dict[str, float], ...]
    volumes: tuple[dict[str, float], ...]

    def leading(self, scan_id: str) -> tuple[dict[str, Any], ...]:
        """Return the structures with the largest shares of a scan's positive weight."""
        weights = self.weights[self.scan_ids.index(scan_id)]
        shown = sorted((-share, name) for name, share in weights.items() if share > 0)[:_LEADING]
        return tuple({"structure": name, "share": -share} for share, name in shown)


def name_structures(findings: Findings, atlas: Atlas | None) -> Named | None:
    """Divide every scan's map by the structures of an atlas; None without one."""
    if atlas is None:
        return None
    cohort, maps = findings.cohort, findings.cohort.maps

    def one(i: int) -> tuple[dict[str, float], dict[str, float]]:
        inside = cohort.inside[i]
        shares = atlas.shares(findings.geometries[i], (inside.shape[1], inside.shape[2]))
        return positive_weight(maps[i], shares), positive_weight(inside, shares)

    found = list(map_on_cores(one, range(len(cohort.scan_ids))))
    return Named(
        scan_ids=cohort.scan_ids,
        weights=tuple(weights for weights, _ in found),
        volumes=tuple(volumes for _, volumes in found),
    )


def structures_part(
    named: Named | None,
    patient_ids: Sequence[str],
    labels: Mapping[str, str],
    space: Space,
    atlas: Atlas | None,
    positive: str,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the document says of structures: their rows, or why none is named."""
    if named is None or atlas is None:
        reason = (
            "no atlas is installed, or none was asked for (explanation.atlas)"
            if space.mni
            else "the scans do not lie in MNI space, where atlases are"
        )
        return {"atlas": None, "reason": reason, "rows": []}
    rows = _rows(named, patient_ids, labels, positive=positive, **settings)
    return {"atlas": atlas.source, "rows": rows}


def positive_weight(values: FloatArray, shares: Mapping[str, DoubleArray]) -> dict[str, float]:
    """Return which share of a map's positive weight lies in each structure.

    Parameters
    ----------
    values : ndarray of float32, shape (n_slices, rows, columns)
    shares : mapping of str to ndarray of float64
        Share of each cell in each structure.

    Returns
    -------
    dict of str to float
        They add up to less than 1, since an atlas does not cover all of the slices. NaN where
        nothing is above 0.
    """
    weight = np.clip(values.astype(np.float64), 0, None)
    total = float(weight.sum())
    return {
        name: float((weight * share).sum()) / total if total else float("nan")
        for name, share in shares.items()
    }


def _rows(
    named: Named,
    patient_ids: Sequence[str],
    labels: Mapping[str, str],
    *,
    positive: str,
    n_samples: int,
    seed: int,
    confidence: float,
) -> list[dict[str, Any]]:
    """Return each structure's share of the positive weight, by label, the largest first."""
    used = [i for i, one in enumerate(named.weights) if np.isfinite(list(one.values())).all()]
    if not used:
        return []
    structures = list(named.weights[0])
    table = np.array([[named.weights[i][name] for name in structures] for i in used])
    names, means = patient_means(table, [patient_ids[i] for i in used])
    owner = np.array([labels[name] for name in names], dtype=object)
    settings: dict[str, Any] = {
        "n_samples": n_samples,
        "seed": seed,
        "confidence": confidence,
    }
    rows = [
        {
            "structure": structure,
            "share": float(np.mean([one[structure] for one in named.volumes])),
            "by_label": {
                label: mean_over_patients(means[owner == label, k], **settings)
                for label in sorted(set(owner))
            },
        }
        for k, structure in enumerate(structures)
    ]

    def order(row: dict[str, Any]) -> float:
        found = row["by_label"].get(positive)
        return 0.0 if found is None else -found["value"]

    return sorted(rows, key=order)
