"""ModelBundle: a fitted model with everything it needs to be applied to a new scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mri_transfer.bundle.build import TrainingSummary, expected_performance, make_bundle
from mri_transfer.bundle.checks import Check, InputFacts
from mri_transfer.bundle.conformal import ConformalSets, ConformalSpec, calibrate
from mri_transfer.bundle.contract import ContractSpec, InputContract, TrainingScan, describe_scan
from mri_transfer.bundle.inference import ScanInference, ScanRequest, infer_scan
from mri_transfer.bundle.model import ModelBundle
from mri_transfer.bundle.overlap import Overlap, find_overlap
from mri_transfer.bundle.parts import Runtime
from mri_transfer.bundle.prediction import UNDECIDED, LabelSet, Place, Prediction
from mri_transfer.bundle.sealing import Seal
from mri_transfer.bundle.storage import demand_free, load_bundle, write_bundle
from mri_transfer.bundle.warning import model_notices

if TYPE_CHECKING:
    from mri_transfer.bundle.classifier import PatientClassifier

__all__ = [
    "UNDECIDED",
    "Check",
    "ConformalSets",
    "ConformalSpec",
    "ContractSpec",
    "ScanInference",
    "InputContract",
    "InputFacts",
    "LabelSet",
    "ModelBundle",
    "Overlap",
    "PatientClassifier",
    "Place",
    "Prediction",
    "Runtime",
    "ScanRequest",
    "Seal",
    "TrainingSummary",
    "TrainingScan",
    "calibrate",
    "demand_free",
    "describe_scan",
    "infer_scan",
    "expected_performance",
    "find_overlap",
    "load_bundle",
    "make_bundle",
    "model_notices",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    """Import the classifier when it is asked for: scikit-learn is slow to load."""
    if name == "PatientClassifier":
        from mri_transfer.bundle.classifier import PatientClassifier

        return PatientClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
