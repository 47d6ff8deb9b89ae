"""Inputs of a report with everything a run can have: slices, quality, folds, explanation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mri_transfer.explain import Explanation, FeatureMaps
from mri_transfer.explain.feature_maps import FeatureMapsDocument, StageMaps
from mri_transfer.report import ReportInputs
from mri_transfer.scans.slices import SliceStack
from tests.report.documents import make_explanation, make_inputs, replaced

N_SLICES = 32


def whole_inputs(n_patients: int = 12) -> ReportInputs:
    """Return the inputs of a made-up run; the last patient has two scans."""
    inputs = make_inputs(n_patients)
    pairs = inputs.slice_scores[["scan_id", "patient_id"]].drop_duplicates()
    scans = pairs.reset_index(drop=True)
    last = scans["patient_id"].iloc[-1]
    second = pd.DataFrame({"scan_id": [f"{last}_s2"], "patient_id": [last]})
    scans = pd.concat([scans, second], ignore_index=True)
    return replaced(
        inputs,
        scans=scans,
        quality=_quality(scans),
        folds=inputs.patient_scores[["repeat", "patient_id", "fold", "label"]],
        stack_of=_stack,
        explanation=_explanation(inputs, scans),
        feature_maps=feature_maps(scans["scan_id"].iloc[0], scans["patient_id"].iloc[0]),
    )


def feature_maps(scan_id: str, patient_id: str) -> FeatureMaps:
    """Return made-up feature maps of a frozen trunk, two channels of two stages."""
    rng = np.random.default_rng(4)
    stages = tuple(
        StageMaps(name=name, n_channels=6, rows=edge, columns=edge, channels=(5, 2))
        for name, edge in (("block1_pool", 12), ("block2_pool", 3))
    )
    document = FeatureMapsDocument(
        scan_id=scan_id, patient_id=patient_id, label="AD", slice=16, z_mm=11.0, repeat=0, fold=1,
        tuned=False, stages=stages, filters=(),
    )  # fmt: skip
    return FeatureMaps(
        document=document,
        slice=rng.integers(0, 255, (24, 24), dtype=np.uint8),
        stages=tuple(
            rng.integers(0, 255, (2, one.rows, one.columns), dtype=np.uint8) for one in stages
        ),
    )


def _stack(scan_id: str) -> SliceStack:
    rng = np.random.default_rng(len(scan_id))
    return SliceStack(
        scan_id=scan_id,
        pixels=rng.integers(0, 255, (N_SLICES, 48, 48), dtype=np.uint8),
        z_mm=np.linspace(-20, 42, N_SLICES, dtype=np.float32),
    )


def _quality(scans: pd.DataFrame) -> pd.DataFrame:
    verdicts = ["pass"] * len(scans)
    verdicts[0], verdicts[-1] = "warn", "fail"
    middle = [""] * (len(scans) - 2)
    return scans.assign(
        verdict=verdicts,
        kept=[False] * (len(scans) - 1) + [True],
        passed_through=True,
        turn=["front where the header says back", *middle, ""],
        reasons=["noise: 3", *middle, "holes: 9"],
    )


def _explanation(inputs: ReportInputs, scans: pd.DataFrame) -> Explanation:
    rng = np.random.default_rng(2)
    ids = list(inputs.patients.index)
    label = inputs.patients["label"]
    rows = [
        (repeat, ids[i], rank, ids[(i + rank) % len(ids)], label.iloc[(i + rank) % len(ids)], rank)
        for repeat in range(2) for i in range(len(ids)) for rank in (1, 2, 3 + repeat)
    ]  # fmt: skip
    columns = ["repeat", "patient_id", "rank", "neighbour_id", "label", "distance"]
    maps = rng.standard_normal((len(scans), N_SLICES, 3, 3)).astype(np.float32)
    return Explanation(
        document=make_explanation(pixel_attribution=[]),
        scan_ids=tuple(scans["scan_id"]),
        maps=maps,
        slice_weights=maps.mean(axis=(2, 3)),
        neighbours=pd.DataFrame(rows, columns=columns).astype({"distance": float}),
        groups={
            name: rng.standard_normal((6, 7, 8)).astype(np.float32)
            for name in ("group_0", "group_1", "difference", "background")
        },
    )
