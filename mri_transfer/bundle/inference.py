"""Inference: from a scan's file to a prediction, with the pictures behind it.

The scan is prepared, its quality judged and its measures compared with the input contract; only
then is it scored. A scan that fails gets reasons instead of a score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from mri_transfer.bundle.checks import Check, InputFacts
from mri_transfer.bundle.measures import measure_input, turn_words
from mri_transfer.bundle.overlap import Overlap, find_overlap
from mri_transfer.bundle.prediction import UNDECIDED, Place, Prediction, Ventricles
from mri_transfer.bundle.scoring import score_prediction
from mri_transfer.bundle.warning import prediction_warnings
from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.core.files import content_sha256, sha256_of_file
from mri_transfer.core.machine import raise_machine_fault
from mri_transfer.errors import HeadError, IntensityError, PreparationError, ScanError, SliceError
from mri_transfer.explain.attribution import spread
from mri_transfer.explain.fold_model import feature_gradients, fold_model
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.scans.preparation import PreparedScan, prepare_scan
from mri_transfer.scans.preparation.fingerprint import voxel_sha256
from mri_transfer.scans.quality import (
    ScanQuality,
    ScanScores,
    ScoredScan,
    judge_cohort,
    measure_scan,
)
from mri_transfer.scans.slices import SliceStack, cut_slices
from mri_transfer.scans.tissue import TissueSpec
from mri_transfer.scans.volumes import Volume, load_volume
from mri_transfer.scans.volumetry import measure_volumes

if TYPE_CHECKING:
    from mri_transfer.bundle.parts import BundleParts

__all__ = ["ScanInference", "ScanRequest", "infer_scan"]

FloatArray = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanRequest:
    """A scan to score, and what is known about it. No label is needed.

    Attributes
    ----------
    path : Path
        A .nii or .nii.gz file.
    scan_id : str
    patient_id : str, optional
        To look the patient up among those trained on.
    age_years : float, optional
        To compare with the training patients' ages.
    sex : str, optional
        As the training manifest spells it, such as `F`. With the age it tells whether the
        ventricles are wide.
    covariates : mapping, optional
        Site and what is kept, for heads that harmonise.
    force : bool
        Score the scan even if it is outside of the input contract.
    """

    path: Path
    scan_id: str
    patient_id: str | None = None
    age_years: float | None = None
    sex: str | None = None
    covariates: Mapping[str, object] | None = None
    force: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScanInference:
    """A prediction and the pictures it rests on.

    Attributes
    ----------
    prediction : Prediction
    stack : SliceStack or None
        None if the scan could not be cut into slices.
    maps : ndarray of float32, shape (n_slices, rows, columns), or None
        What each place adds to the log-odds of the positive label beside the average training
        scan, covering the whole slice; None where nothing is predicted.
    """

    prediction: Prediction
    stack: SliceStack | None
    maps: FloatArray | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _EncodedScan:
    """A scan with its slices and features."""

    prepared: PreparedScan
    scores: ScanScores
    quality: ScanQuality
    stack: SliceStack
    maps: torch.Tensor
    features: FloatArray


def infer_scan(bundle: BundleParts, request: ScanRequest) -> ScanInference:
    """Predict one scan, or say why not.

    Parameters
    ----------
    bundle : BundleParts
    request : ScanRequest

    Raises
    ------
    ScanError
        If the file cannot be read, or holds no image. A scan that can be read and not be prepared
        or cut into slices is one that the bundle abstains on.
    MachineError
        If there was too little memory, or no room for temporary files.
    HeadError
        If the heads harmonise sites and the scan's is not told.
    """
    inference = _inferred(bundle, request)
    scored = inference.prediction
    call = None if scored.score is None else scored.label if scored.decided else UNDECIDED
    warnings = prediction_warnings(scored, bundle)
    return dataclasses.replace(
        inference, prediction=dataclasses.replace(scored, call=call, warnings=warnings)
    )


def _inferred(bundle: BundleParts, request: ScanRequest) -> ScanInference:
    """Predict one scan; the call and the warnings are left open."""
    if bundle.trained.harmoniser is not None and request.covariates is None:
        raise HeadError(
            "this bundle's heads harmonise sites: the scan's site must be told",
            where=request.scan_id,
            remedy="Pass covariates: the site and the columns that harmonisation keeps",
        )
    volume = load_volume(request.path, scan_id=request.scan_id, spec=bundle.config.volumes)
    digests = _digests(request.path, volume)
    overlap = find_overlap(bundle.marks, patient_id=request.patient_id, scan_digests=digests)
    bare = _unscored(bundle, request, overlap, digests[0])
    try:
        encoded = _encode(bundle, volume)
    except (PreparationError, SliceError) as error:
        raise_machine_fault(error)
        return ScanInference(prediction=_unprepared(bare, error), stack=None, maps=None)
    checks = (
        _quality_check(encoded.quality),
        *bundle.contract.judge(_facts(bundle, encoded, request)),
    )
    reasons = tuple(check.reason for check in checks if check.failed)
    place = Place(density_p=_density_p(bundle, encoded.features))
    unscored = dataclasses.replace(
        bare,
        status="forced" if reasons else "predicted",
        reasons=reasons,
        checks=checks,
        place=place,
        z_mm=tuple(encoded.stack.z_mm.astype(np.float64).tolist()),
        quality=encoded.quality.verdict,
        quality_reasons=encoded.quality.reasons,
        passed_through=encoded.prepared.passed_through,
        turn=encoded.prepared.turn,
        steps=encoded.prepared.steps,
    )
    if reasons and not request.force:
        abstained = dataclasses.replace(unscored, status="abstained")
        return ScanInference(prediction=abstained, stack=encoded.stack, maps=None)
    prediction = score_prediction(bundle, unscored, encoded.features, request.covariates)
    ventricles = _ventricles(bundle, encoded.prepared.volume, request)
    return ScanInference(
        prediction=dataclasses.replace(prediction, ventricles=ventricles),
        stack=encoded.stack,
        maps=_attribution(bundle, encoded, request.covariates),
    )


def _digests(path: Path, volume: Volume) -> tuple[str, str, str]:
    """Return what a scan is recognised by: its file, what the file holds, its voxels."""
    return sha256_of_file(path), content_sha256(path), voxel_sha256(volume)


def _unscored(
    bundle: BundleParts, request: ScanRequest, overlap: Overlap, sha256: str
) -> Prediction:
    labels = bundle.facts["labels"]
    return Prediction(
        scan_id=request.scan_id,
        patient_id=request.patient_id,
        status="abstained",
        reasons=(),
        call=None,
        label=None,
        score=None,
        score_low=None,
        score_high=None,
        threshold=bundle.trained.threshold,
        positive_label=labels["positive"],
        negative_label=labels["others"],
        positive_name=spelt_out(labels["positive"]),
        negative_name=spelt_out(labels["others"]),
        labels=None,
        place=None,
        slice_scores=(),
        z_mm=(),
        checks=(),
        quality="none",
        quality_reasons=(),
        passed_through=None,
        turn=None,
        steps=(),
        age_years=request.age_years,
        sex=request.sex,
        ventricles=None,
        overlap=overlap,
        warnings=(),
        scan_sha256=sha256,
        bundle_version=bundle.version,
        bundle_digest=bundle.digest,
    )


def _unprepared(bare: Prediction, error: ScanError) -> Prediction:
    """Abstain from a scan that cannot be brought to slices."""
    check = Check(
        name="usable",
        title="Slices for the model",
        verdict="fail",
        found=error.what + (f" ({error.found})" if error.found else ""),
        expected=error.expected or "a whole head or brain that can be brought to the template",
    )
    return dataclasses.replace(bare, checks=(check,), reasons=(check.reason,))


def _encode(bundle: BundleParts, volume: Volume) -> _EncodedScan:
    """Prepare and judge a scan, cut its slices and pass them through the trunk."""
    config = bundle.config
    prepared = prepare_scan(volume, config.preparation)
    scores = measure_scan(volume, prepared)
    scored = ScoredScan(
        scan_id=volume.scan_id,
        patient_id=volume.scan_id,
        passed_through=prepared.passed_through,
        scores=scores,
    )
    stack = cut_slices(prepared.volume, config.slices)
    maps = bundle.trunk.forward_slices(torch.from_numpy(stack.pixels))
    features = PoolMaps(bundle.trained.pooling)(maps).cpu().contiguous().numpy()
    return _EncodedScan(
        prepared=prepared,
        scores=scores,
        quality=judge_cohort([scored], config.quality)[0],
        stack=stack,
        maps=maps.cpu(),
        features=features,
    )


def _facts(bundle: BundleParts, encoded: _EncodedScan, request: ScanRequest) -> InputFacts:
    volume = encoded.prepared.volume
    return InputFacts(
        passed_through=encoded.prepared.passed_through,
        turn=turn_words(encoded.prepared.turn, passed_through=encoded.prepared.passed_through),
        measures=measure_input(
            encoded.stack,
            encoded.scores,
            shape=volume.voxels.shape,
            spacing_mm=volume.spacing_mm,
            spec=bundle.config.slices,
        ),
        histogram=encoded.scores.histogram,
        mean=encoded.features.mean(axis=0),
        age_years=request.age_years,
    )


def _ventricles(bundle: BundleParts, volume: Volume, request: ScanRequest) -> Ventricles | None:
    """Compare the ventricles with those of people of the same age and sex."""
    norm = bundle.ventricular_norm
    if norm is None:
        return None
    age_years, sex = request.age_years, request.sex
    why_not = norm.why_not(age_years, sex)
    if why_not or age_years is None or sex is None:
        return Ventricles(share=None, percentile=None, n_people=norm.n_people, why_not=why_not)
    try:
        volumes = measure_volumes(volume, bundle.config.slices, TissueSpec())
    except IntensityError as error:
        return Ventricles(share=None, percentile=None, n_people=norm.n_people, why_not=error.what)
    return Ventricles(
        share=volumes.ventricles,
        percentile=norm.percentile(volumes, age_years=age_years, sex=sex),
        n_people=norm.n_people,
    )


def _quality_check(quality: ScanQuality) -> Check:
    failed = [score for score in quality.scores if score.verdict == "fail"]
    return Check(
        name="quality",
        title="Quality of the scan",
        verdict="fail" if failed else "pass",
        found="; ".join(quality.reasons) or "nothing to note",
        expected="no failure",
    )


def _density_p(bundle: BundleParts, features: FloatArray) -> float:
    return float(bundle.contract.density.p_value(features.mean(axis=0)[None])[0])


def _attribution(
    bundle: BundleParts, encoded: _EncodedScan, covariates: Mapping[str, object] | None
) -> FloatArray:
    """Split the log-odds over places, beside the average training scan.

    Each feature's gradient is attributed to the places that produced the feature and scaled, so
    that the sum is the gradient times the difference from the training scans' mean feature of
    that slice.
    Exact for linear heads.
    """
    table = None if covariates is None else pd.DataFrame([dict(covariates)], index=["scan"])
    head = bundle.trained.with_covariates(table)
    pooled, means = encoded.features, bundle.contract.slice_means
    weights = head.slices(pooled[None], ["scan"]).weights[0]
    gradient = feature_gradients(fold_model(head, "scan"), pooled) * weights[:, None]
    # A feature of 0 comes from no place in particular.
    share = np.divide(
        pooled - means, pooled, out=np.zeros_like(pooled), where=np.abs(pooled) > 1e-6
    )
    given = (gradient * share)[None].astype(np.float32)
    maps: FloatArray = spread(encoded.maps, given, bundle.trained.pooling)[0]
    return maps
