"""Transfer learning for Alzheimer's MRI, evaluated by patient and audited for leakage.

==========================================  ======================================================
`run`, `load_run`                           a whole run, and its results as tables
`load_bundle`                               a fitted model, to score new scans
`read_manifest`, `Manifest`                 the cohort: one row per scan
`load_volume`, `prepare_scan`,              from a NIfTI file to slices
`cut_slices`
`load_trunk`, `encode`, `encode_scan`       from slices to features
`make_folds`, `LabelledFeatures`,           folds by patient, and a model per fold
`TransferClassifier`, `cross_validate`
`evaluate`, `delong_auc`, `roc_curve`,      figures of labels and scores
`calibration_curve`, `decision_curve`
`RocDisplay`, `CalibrationDisplay`,         figures of labels and scores in arrays
`DecisionCurveDisplay`
`plot_roc`, `plot_calibration`,             figures of an evaluation on matplotlib's axes
`plot_decision_curve`
`PreparationSpec`, `SliceSpec`,             settings of the steps above
`TrunkSpec`, `FeatureSpec`, `FoldSpec`,
`EvaluationSpec`, `read_config`
`MriTransferError`                          what every error of this package is
==========================================  ======================================================

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mri_transfer.errors import MriTransferError
from mri_transfer.version import __version__

if TYPE_CHECKING:
    from mri_transfer.bundle import load_bundle
    from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
    from mri_transfer.evaluation import EvaluationSpec, evaluate
    from mri_transfer.metrics.calibration import calibration_curve
    from mri_transfer.metrics.decision_curve import decision_curve
    from mri_transfer.metrics.delong import delong_auc
    from mri_transfer.metrics.discrimination import roc_curve
    from mri_transfer.models.encode_scan import encode_scan
    from mri_transfer.models.features import FeatureSpec, encode
    from mri_transfer.models.trunks import TrunkSpec, load_trunk
    from mri_transfer.report.figures import (
        CalibrationDisplay,
        DecisionCurveDisplay,
        RocDisplay,
        plot_calibration,
        plot_decision_curve,
        plot_roc,
    )
    from mri_transfer.scans.preparation import PreparationSpec, prepare_scan
    from mri_transfer.scans.slices import SliceSpec, cut_slices
    from mri_transfer.scans.volumes import load_volume
    from mri_transfer.training.cross_validation import cross_validate
    from mri_transfer.training.dataset import LabelledFeatures
    from mri_transfer.training.estimator import TransferClassifier
    from mri_transfer.training.folds import make_folds
    from mri_transfer.training.settings import FoldSpec
    from pipelines.api import load_run, run
    from pipelines.config import read_config

__all__ = [
    "CalibrationDisplay",
    "DecisionCurveDisplay",
    "EvaluationSpec",
    "FeatureSpec",
    "FoldSpec",
    "LabelledFeatures",
    "Manifest",
    "MriTransferError",
    "PreparationSpec",
    "RocDisplay",
    "SliceSpec",
    "TransferClassifier",
    "TrunkSpec",
    "__version__",
    "calibration_curve",
    "cross_validate",
    "cut_slices",
    "decision_curve",
    "delong_auc",
    "encode",
    "encode_scan",
    "evaluate",
    "load_bundle",
    "load_run",
    "load_trunk",
    "load_volume",
    "make_folds",
    "plot_calibration",
    "plot_decision_curve",
    "plot_roc",
    "prepare_scan",
    "read_config",
    "read_manifest",
    "roc_curve",
    "run",
]

_MODULES = {
    "mri_transfer.bundle": ("load_bundle",),
    "mri_transfer.cohorts.manifest.manifest": ("Manifest", "read_manifest"),
    "mri_transfer.evaluation": ("EvaluationSpec", "evaluate"),
    "mri_transfer.metrics.calibration": ("calibration_curve",),
    "mri_transfer.metrics.decision_curve": ("decision_curve",),
    "mri_transfer.metrics.delong": ("delong_auc",),
    "mri_transfer.metrics.discrimination": ("roc_curve",),
    "mri_transfer.models.encode_scan": ("encode_scan",),
    "mri_transfer.models.features": ("FeatureSpec", "encode"),
    "mri_transfer.models.trunks": ("TrunkSpec", "load_trunk"),
    "mri_transfer.report.figures": (
        "CalibrationDisplay",
        "DecisionCurveDisplay",
        "RocDisplay",
        "plot_calibration",
        "plot_decision_curve",
        "plot_roc",
    ),
    "mri_transfer.scans.preparation": ("PreparationSpec", "prepare_scan"),
    "mri_transfer.scans.slices": ("SliceSpec", "cut_slices"),
    "mri_transfer.scans.volumes": ("load_volume",),
    "mri_transfer.training.cross_validation": ("cross_validate",),
    "mri_transfer.training.dataset": ("LabelledFeatures",),
    "mri_transfer.training.estimator": ("TransferClassifier",),
    "mri_transfer.training.folds": ("make_folds",),
    "mri_transfer.training.settings": ("FoldSpec",),
    "pipelines.api": ("load_run", "run"),
    "pipelines.config": ("read_config",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
