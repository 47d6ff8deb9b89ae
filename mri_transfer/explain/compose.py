"""Puts an explanation together: from maps of scans to its document, its groups and its checks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.cohorts.synthetic.cohort import DemoSpec, planted_atrophy
from mri_transfer.core.threads import map_on_cores
from mri_transfer.explain.atlas import Atlas
from mri_transfer.explain.checks import agreement_rows, sanity_rows
from mri_transfer.explain.choice import ChosenPatient
from mri_transfer.explain.cohort_maps import CohortMaps, patient_means
from mri_transfer.explain.contrast import SMOOTHING_MM
from mri_transfer.explain.document import ExplanationDocument
from mri_transfer.explain.explanation import Explanation
from mri_transfer.explain.faithfulness import faithfulness_rows
from mri_transfer.explain.findings import Findings, Space
from mri_transfer.explain.groups import UNIT_ML, GroupMaps, group_maps, write_group
from mri_transfer.explain.neighbours import neighbour_agreement
from mri_transfer.explain.pixel_attribution import PixelAttribution
from mri_transfer.explain.regions import box_regions, mean_over_patients, mni_regions, region_rows
from mri_transfer.explain.spec import ExplanationSpec
from mri_transfer.explain.structures import Named, name_structures, structures_part
from mri_transfer.explain.truth import planted_cells, score_truth
from mri_transfer.training.folds import Folds

__all__ = ["compose", "without_maps"]

#: Group that is the difference between the others.
DIFFERENCE = "difference"


def compose(
    findings: Findings,
    neighbours: pd.DataFrame,
    folds: Folds,
    *,
    spec: ExplanationSpec,
    space: Space,
    atlas: Atlas | None,
    positive: str,
    demo: DemoSpec | None,
    seed: int,
    confidence: float,
    folder: Path,
) -> tuple[Explanation, list[Path]]:
    """Put an explanation together, and write the groups' maps.

    Parameters
    ----------
    findings : Findings
    neighbours : DataFrame
    folds : Folds
        With every patient's own label.
    spec : ExplanationSpec
    space : Space
    atlas : Atlas or None
        Names structures in scans that lie in MNI space.
    positive : str
    demo : DemoSpec or None
        Of a cohort whose truth is known.
    seed : int
    confidence : float
    folder : Path
        Where the groups' files go.

    Returns
    -------
    Explanation
    list of Path
        The groups' files.
    """
    cohort = findings.cohort
    labels = dict(zip(folds.patient_ids, folds.labels, strict=True))
    settings: dict[str, Any] = {
        "n_samples": spec.bootstrap_samples,
        "seed": seed,
        "confidence": confidence,
    }
    maps = cohort.maps
    found, groups, files = _groups(findings, maps, labels, positive, spec, space, folder)
    views = {scan: view for _, scan, view in findings.pixels}
    named = name_structures(findings, atlas if space.mni else None)
    document = {
        **_basics(spec, folds, positive, neighbours, settings),
        "n_scans": len(cohort.scan_ids),
        "map_shape": list(maps.shape[1:]),
        "space": space.as_dict(),
        "unit": f"log-odds per {UNIT_ML:g} ml",
        "groups": groups,
        "grid_mm": spec.grid_mm,
        "grid_affine": found.grid.affine.tolist(),
        "heights": _heights(cohort, labels, positive, settings),
        "regions": _regions(findings, maps, labels, space, settings),
        "checks": sanity_rows(
            cohort,
            views,
            exact=findings.is_complete,
            same_again=findings.same_again,
            tuned=findings.tuned,
            **settings,
        ),
        "agreement": agreement_rows(
            cohort,
            views,
            patch_cells=spec.patch_cells,
            contrast=findings.contrast,
            **settings,
        ),
        "contrast": _contrast(findings),
        "structures": structures_part(
            named, cohort.patient_ids, labels, space, atlas, positive, settings
        ),
        "faithfulness": faithfulness_rows(findings.curves, **settings),
        "pixel_attribution": [_pixel_row(one, named) for one in findings.pixels],
        "truth": _truth(findings, labels, positive, demo, settings),
    }
    explanation = Explanation(
        document=ExplanationDocument.model_validate(document),
        scan_ids=cohort.scan_ids,
        maps=maps,
        slice_weights=cohort.slice_weights,
        neighbours=neighbours,
        groups={**found.maps, "background": found.background_on_grid()},
        pixel_attribution=_pixel_arrays(findings),
        contrast=None if findings.contrast is None else findings.contrast.maps,
    )
    return explanation, files


def without_maps(
    neighbours: pd.DataFrame,
    folds: Folds,
    *,
    spec: ExplanationSpec,
    positive: str,
    seed: int,
    confidence: float,
) -> Explanation:
    """Return an explanation of nearest patients alone, where maps were not asked for."""
    settings = {"n_samples": spec.bootstrap_samples, "seed": seed, "confidence": confidence}
    document = _basics(spec, folds, positive, neighbours, settings)
    reason = "maps were not asked for (explanation.maps = false)"
    return Explanation(
        document=ExplanationDocument.model_validate({**document, "n_scans": 0, "reason": reason}),
        scan_ids=(),
        maps=np.zeros((0, 1, 1, 1), dtype=np.float32),
        slice_weights=np.zeros((0, 1), dtype=np.float32),
        neighbours=neighbours,
    )


def _basics(
    spec: ExplanationSpec,
    folds: Folds,
    positive: str,
    neighbours: pd.DataFrame,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "positive_label": positive,
        "labels": {label: list(folds.labels).count(label) for label in sorted(set(folds.labels))},
        "n_patients": len(folds.patient_ids),
        "n_repeats": len(folds.assignment),
        "confidence": settings["confidence"],
        "settings": dataclasses.asdict(spec),
        "neighbours": {
            "n": spec.neighbours,
            "agreement": neighbour_agreement(neighbours, folds, **settings),
        },
    }


def _groups(
    findings: Findings,
    maps: npt.NDArray[np.float32],
    labels: Mapping[str, str],
    positive: str,
    spec: ExplanationSpec,
    space: Space,
    folder: Path,
) -> tuple[GroupMaps, list[dict[str, Any]], list[Path]]:
    """Average the maps of each label and write them; the difference comes last."""
    owners = findings.cohort.patient_ids
    names = sorted(set(labels.values()), key=lambda label: (label != positive, label))
    shares = {f"group_{i}": _shares(owners, labels, {name}) for i, name in enumerate(names)}
    shares["others"] = _shares(owners, labels, set(names) - {positive})
    found = group_maps(
        maps,
        findings.geometries,
        findings.cohort.inside,
        findings.pictures,
        shares,
        spacing_mm=spec.grid_mm,
    )
    kept = {name: values for name, values in found.maps.items() if name != "others"}
    kept[DIFFERENCE] = found.maps["group_0"] - found.maps["others"]
    found = dataclasses.replace(found, maps=kept)
    titles = {f"group_{i}": name for i, name in enumerate(names)}
    titles[DIFFERENCE] = f"{positive} minus {' and '.join(names[1:])}"
    groups, files = [], []
    for name, title in titles.items():
        written = write_group(
            folder,
            name,
            f"What speaks for {positive}: {title}",
            found,
            name,
            on_template=space.mni,
            viewer=spec.viewers,
        )
        files += written
        members = {p for p, label in labels.items() if label == title}
        groups.append(
            {
                "name": name,
                "label": title,
                "n_patients": len(members) or len(labels),
                "file": written[0].name,
                "viewer": written[1].name if len(written) > 1 else None,
                "lowest": float(kept[name].min()),
                "highest": float(kept[name].max()),
            }
        )
    return found, groups, files


def _shares(
    owners: Sequence[str], labels: Mapping[str, str], wanted: set[str]
) -> npt.NDArray[np.float64]:
    """Return what each scan counts: patients the same, a patient's scans the same."""
    n_scans = Counter(owners)
    counts = np.array([1 / n_scans[name] for name in owners])
    counts *= [labels[name] in wanted for name in owners]
    found: npt.NDArray[np.float64] = counts / max(counts.sum(), 1e-12)
    return found


def _heights(
    cohort: CohortMaps,
    labels: Mapping[str, str],
    positive: str,
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the mean part of every slice in the log-odds, by label."""
    names, means = patient_means(cohort.maps.sum(axis=(2, 3)), cohort.patient_ids)
    rows = []
    for s in range(means.shape[1]):
        by_label = {}
        for label in sorted(set(labels.values()), key=lambda label: (label != positive, label)):
            own = means[[labels[name] == label for name in names], s]
            if len(own):
                by_label[label] = mean_over_patients(own, **settings)
        rows.append({"slice": s, "by_label": by_label})
    return rows


def _regions(
    findings: Findings,
    maps: npt.NDArray[np.float32],
    labels: Mapping[str, str],
    space: Space,
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    divide = mni_regions() if space.mni else None
    cohort = findings.cohort

    def shares_of(i: int) -> dict[str, npt.NDArray[np.float64]]:
        geometry, inside = findings.geometries[i], cohort.inside[i]
        shares = box_regions(geometry, inside)
        if divide is not None:
            shares |= divide(geometry, (inside.shape[1], inside.shape[2]))
        return shares

    shares = list(map_on_cores(shares_of, range(len(cohort.scan_ids))))
    return region_rows(maps, shares, cohort.inside, cohort.patient_ids, labels, **settings)


def _contrast(findings: Findings) -> dict[str, Any] | None:
    found = findings.contrast
    if found is None:
        return None
    return {
        "scan_ids": [findings.cohort.scan_ids[i] for i in found.positions],
        "n_healthy": found.n_healthy,
        "smoothing_mm": SMOOTHING_MM,
    }


def _pixel_row(
    one: tuple[ChosenPatient, str, PixelAttribution], named: Named | None
) -> dict[str, Any]:
    patient, scan_id, view = one
    return {
        "patient_id": patient.patient_id,
        "scan_id": scan_id,
        "label": patient.label,
        "score": patient.score,
        "outcome": patient.outcome,
        "slices": view.slices.tolist(),
        "change": view.change.tolist(),
        "missing": view.missing.tolist(),
        "missing_share": _share(view),
        "strongest_patch": float(np.abs(view.occlusion).max()),
        "structures": () if named is None else named.leading(scan_id),
    }


def _share(view: PixelAttribution) -> float | None:
    whole = float(np.abs(view.change).sum())
    return float(np.abs(view.missing).sum()) / whole if whole else None


def _pixel_arrays(findings: Findings) -> dict[str, npt.NDArray[np.float32]]:
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    for n, (_, _, view) in enumerate(findings.pixels):
        arrays[f"gradients {n}"] = view.gradients
        arrays[f"occlusion {n}"] = view.occlusion
    return arrays


def _truth(
    findings: Findings,
    labels: Mapping[str, str],
    positive: str,
    demo: DemoSpec | None,
    settings: Mapping[str, Any],
) -> dict[str, Any] | None:
    if demo is None:
        return None
    loss, affine = planted_atrophy(demo)
    planted = [
        planted_cells(loss, affine, geometry, inside)
        for geometry, inside in zip(findings.geometries, findings.cohort.inside, strict=True)
    ]
    return score_truth(
        findings.cohort,
        planted,
        dict(labels),
        positive=positive,
        contrast=findings.contrast,
        **settings,
    )
