"""The evaluation of a run: from tables of scores to `evaluation.json`."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.errors import EvaluationError, RunFolderError
from mri_transfer.evaluation.baselines import default_baselines, refuse_circular
from mri_transfer.evaluation.calibration import calibration_curve
from mri_transfer.evaluation.caveats import find_caveats
from mri_transfer.evaluation.comparison import compare_baseline
from mri_transfer.evaluation.discrimination import auc, roc_curve
from mri_transfer.evaluation.operating_point import confusion
from mri_transfer.evaluation.patient_level import fold_rows, patient_metrics, repeat_rows
from mri_transfer.evaluation.slice_level import slice_metrics
from mri_transfer.evaluation.tables import ScoreArrays, check_patients, score_arrays
from mri_transfer.files import atomic_write_text
from mri_transfer.specs import STRICT

__all__ = ["SCHEMA", "Evaluation", "EvaluationFacts", "EvaluationSpec", "evaluate"]

#: Name and version of the content of `evaluation.json`.
SCHEMA = "mri-transfer/evaluation/1"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSpec:
    """Which figures are computed, and how sure their intervals are."""

    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Confidence of every interval."""
    bootstrap_samples: int = Field(default=2000, ge=100)
    """Resamples of patients behind a bootstrap interval."""
    baselines: bool = True
    """Whether covariate baselines are fitted on the same folds."""
    covariates: tuple[str, ...] = ()
    """Columns of the manifest that become baselines, beside age and sex."""
    baseline_inner_folds: int = Field(default=5, ge=2)
    """Folds inside training patients that set a baseline's threshold."""
    calibration_bins: int = Field(default=10, ge=2)
    """Points of the calibration curve."""

    @model_validator(mode="after")
    def _check(self) -> EvaluationSpec:
        refuse_circular(self.covariates)
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationFacts:
    """What the scores cannot tell and a reader must know."""

    synthetic: bool
    """The cohort is made up."""
    trunk_weights: Literal["imagenet", "random"]
    """Where the trunk's weights come from."""
    n_scans: int | None = Field(default=None, ge=0)
    """Scans evaluated; counted in the slice scores if not given."""
    n_slices: int | None = Field(default=None, ge=0)
    """Slices evaluated; counted in the slice scores if not given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The content of `evaluation.json`: plain dicts, lists, numbers and texts."""

    document: dict[str, Any]

    def text(self) -> str:
        """Return the JSON: keys sorted, floats in full, the same bytes for the same content."""
        return (
            json.dumps(self.document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
            + "\n"
        )

    def write(self, path: Path) -> None:
        """Write the JSON in one step."""
        atomic_write_text(path, self.text())

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read `evaluation.json`.

        Raises
        ------
        RunFolderError
            If the file is missing, no JSON, or of another schema.
        """
        remedy = "Run the evaluate stage again"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunFolderError("no evaluation", where=str(path), remedy=remedy) from error
        except ValueError as error:
            raise RunFolderError("not a JSON file", where=str(path), remedy=remedy) from error
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            raise RunFolderError(
                "not an evaluation this version reads",
                where=str(path),
                found=str(schema),
                expected=SCHEMA,
                remedy=remedy,
            )
        return cls(document=document)


def evaluate(
    patient_scores: pd.DataFrame,
    slice_scores: pd.DataFrame | None,
    *,
    patients: pd.DataFrame,
    folds: pd.DataFrame,
    thresholds: Mapping[tuple[int, int], float],
    spec: EvaluationSpec,
    positive_label: str,
    negative_label: str,
    seed: int,
    facts: EvaluationFacts,
) -> Evaluation:
    """Evaluate the cross-validated scores of a cohort.

    Parameters
    ----------
    patient_scores : DataFrame
        Columns repeat, fold, patient_id, label, score, predicted; one row a patient and repeat.
    slice_scores : DataFrame or None
        Columns repeat, fold, patient_id, scan_id, slice, score.
    patients : DataFrame
        Indexed by patient_id: label, covariates and, where known, age, sex and site. Patients
        without scores are passed over.
    folds : DataFrame
        Columns repeat, patient_id, fold, label.
    thresholds : mapping of (repeat, fold) to float
        Score from which the head of a fold predicts the positive label.
    spec : EvaluationSpec
    positive_label, negative_label : str
    seed : int
        Of the resampling and of the baselines' inner folds.
    facts : EvaluationFacts

    Returns
    -------
    Evaluation
        The same for the same arguments, whatever the order of the rows.

    Raises
    ------
    PredictionError
        If scores contradict each other, the folds, the thresholds or the patient table.
    EvaluationError
        If only one label occurs.
    ConfigurationError
        If a covariate is not in the patient table.
    """
    from threadpoolctl import threadpool_limits

    arrays = score_arrays(
        patient_scores,
        folds=folds,
        thresholds=thresholds,
        positive_label=positive_label,
        negative_label=negative_label,
    )
    rows = check_patients(patients, arrays, positive_label, negative_label)
    # Hundreds of tiny fits and products: threads cost more than they bring, most of all on a
    # busy machine, and one thread sums in the same order on any number of cores.
    with threadpool_limits(limits=1):
        document = {
            **_heading(arrays, slice_scores, spec, facts, (negative_label, positive_label)),
            **_figures(arrays, slice_scores, spec, seed),
            "per_repeat": repeat_rows(arrays),
            "per_fold": fold_rows(arrays, dict(thresholds)),
            "baselines": _baselines(arrays, rows, folds, spec, seed, positive_label),
        }
    document["caveats"] = find_caveats(document, rows)
    return Evaluation(document=_plain(document))


def _baselines(
    arrays: ScoreArrays,
    rows: pd.DataFrame,
    folds: pd.DataFrame,
    spec: EvaluationSpec,
    seed: int,
    positive_label: str,
) -> dict[str, Any]:
    # Unknown covariates are an error even where baselines are switched off.
    found = default_baselines(
        spec.covariates, [str(name) for name in rows], n_inner_folds=spec.baseline_inner_folds
    )
    (negative_label,) = set(rows["label"]) - {positive_label}
    return {
        baseline.name: compare_baseline(
            baseline,
            arrays,
            patients=rows,
            folds=folds,
            positive_label=positive_label,
            negative_label=str(negative_label),
            seed=seed,
            confidence=spec.confidence,
        )
        for baseline in (found if spec.baselines else ())
    }


def _heading(
    arrays: ScoreArrays,
    slice_scores: pd.DataFrame | None,
    spec: EvaluationSpec,
    facts: EvaluationFacts,
    labels: tuple[str, str],
) -> dict[str, Any]:
    n_scans, n_slices = facts.n_scans, facts.n_slices
    if slice_scores is not None:
        slices = slice_scores[["scan_id", "slice"]].drop_duplicates()
        n_scans = int(slices["scan_id"].nunique()) if n_scans is None else n_scans
        n_slices = len(slices) if n_slices is None else n_slices
    return {
        "schema": SCHEMA,
        "n_patients": arrays.n,
        "n_scans": n_scans,
        "n_slices": n_slices,
        "n_repeats": len(arrays.repeats),
        "n_folds": max(len(np.unique(row)) for row in arrays.fold),
        "negative_label": labels[0],
        "positive_label": labels[1],
        "n_positive": int(arrays.positive.sum()),
        "synthetic": facts.synthetic,
        "trunk_weights": facts.trunk_weights,
        "confidence": spec.confidence,
        "bootstrap_samples": spec.bootstrap_samples,
        "confusion": {
            "labels": list(labels),
            "matrix": confusion(arrays.positive, arrays.predicted).matrix(),
        },
    }


def _figures(
    arrays: ScoreArrays, slice_scores: pd.DataFrame | None, spec: EvaluationSpec, seed: int
) -> dict[str, Any]:
    def rng(name: str) -> np.random.Generator:
        # By name: adding a figure must not move the draws of the others.
        return np.random.default_rng([seed, zlib.crc32(name.encode())])

    settings: dict[str, Any] = {
        "n_samples": spec.bootstrap_samples,
        "rng": rng,
        "confidence": spec.confidence,
    }
    patient = patient_metrics(arrays, **settings)
    slices = slice_metrics(slice_scores, arrays, **settings)
    mean_score = arrays.scores.mean(axis=0)
    fpr, tpr = roc_curve(arrays.positive, mean_score)
    curve = calibration_curve(
        arrays.positive,
        arrays.scores,
        n_bins=spec.calibration_bins,
        confidence=spec.confidence,
    )
    return {
        "patient": {name: estimate.as_dict() for name, estimate in patient.items()},
        "slice": {name: estimate.as_dict() for name, estimate in slices.items()},
        # The score averaged over repeats ranks a little better than a single one; its own AUC
        # stands beside the curve so that nobody reads the curve as the primary figure.
        "roc": {"fpr": fpr, "tpr": tpr, "auc": auc(arrays.positive, mean_score)},
        "calibration": curve.as_dict(),
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it, and refuse NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        raise EvaluationError("a figure is neither a finite number nor declared undefined")
    return value
