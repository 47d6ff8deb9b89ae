"""An evaluation and an audit of made-up patients with everything in them, for tests of their form.

Both are made by the library's own functions, once for each process; tests get copies.
"""

from __future__ import annotations

import copy
import functools
import json
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.evaluation import (
    EvaluationDocument,
    EvaluationFacts,
    EvaluationSpec,
    Evidence,
    evaluate,
)
from mri_transfer.evaluation.audit import (
    DuplicatePair,
    LearningCurveSpec,
    SimilaritySpec,
    check_provenance,
    compare_scans,
    find_shortcuts,
    identity_probe,
    learning_curve,
    retest,
    robustness_rows,
    run_audit,
    scan_scores,
    stress_test,
)
from mri_transfer.evaluation.audit.learning_results import LearningCurve
from mri_transfer.evaluation.audit.shortcut_results import Shortcuts
from mri_transfer.metrics.task import Task
from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.scans.perturbations import Perturbation
from mri_transfer.training.cross_validation import CrossValidation, cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.search import SearchSpec
from mri_transfer.training.settings import FoldSpec
from tests.audit_records import cohort as audit_cohort
from tests.audit_records import records
from tests.evaluation.conftest import Cohort, make_cohort
from tests.synthetic import feature_table, folds_of

#: Names that a careless writer of CSV files would break.
ODD_NAME = 'p"0", alias; Ä'
HEAD = LinearHeadSpec(inverse_l2=(1.0, 10.0), zones=1)
LABELS = {"positive_label": "AD", "negative_label": "CN"}
_SAMPLES = 100
SPLIT = {"n_folds": 2, "n_repeats": 2}


def evaluation_document() -> dict[str, Any]:
    """Return the content of `evaluation.json`, of 40 patients, with figures of three classes."""
    return copy.deepcopy(_evaluation())


def evaluation_with(changes: dict[str, Any]) -> EvaluationDocument:
    """Return that evaluation with some of its values exchanged, each where it stands.

    Baselines are replaced as a whole; what one does not say is that of a baseline of covariates.
    Of a figure its value and limits are enough.
    """
    base = evaluation_document()
    if "baselines" in changes:
        age = base["baselines"]["age"]
        base["baselines"] = {name: copy.deepcopy(age) for name in changes["baselines"]}
    return EvaluationDocument.model_validate(_exchanged(base, changes))


def _exchanged(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    if "method" in base and None in changes.values():
        return {**base, "reason": "not defined", **changes}
    return {**base, **{name: _exchanged(base.get(name), one) for name, one in changes.items()}}


def audit_document() -> dict[str, Any]:
    """Return the content of `audit.json`, of 40 patients, 12 of them scanned twice."""
    return copy.deepcopy(_audit())


def audit_parts() -> dict[str, Any]:
    """Return what `run_audit` is given for `audit_document`."""
    return copy.deepcopy(_parts())


def bare_audit_document() -> dict[str, Any]:
    """Return the same without what is only made on demand."""
    parts = _parts() | {"shortcuts": None, "robustness": None, "learning_curve": None}
    return run_audit(**parts).plain()


def _as_json(content: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))
    return plain


@functools.cache
def _trained() -> CrossValidation:
    table, labels = feature_table(n_patients=40, n_slices=6, n_features=12, two_sessions=12)
    folds = folds_of(table, labels, **SPLIT)
    search = SearchSpec(space={"heads.zones": [2]}, sampler="grid")
    return cross_validate(
        TransferClassifier(head=HEAD, search=search, n_inner_folds=2),
        LabelledFeatures.of_folds({"max": table}, folds, LABELS["positive_label"]),
        folds,
        seed=0,
    )


def _cohort() -> Cohort:
    found = make_cohort(**SPLIT)
    rng = np.random.default_rng(3)
    positive = (found.patients["label"] == "AD").to_numpy()
    found.patients["cdr"] = np.where(positive, rng.choice([0.5, 1.0], 40), 0.0)
    found.patients["education"] = rng.integers(8, 20, 40).astype(float)
    found.patients["Field Strength (T)"] = np.where(np.arange(40) < 20, "1.5", None)
    # A fold without a positive call, so that a figure of it is undefined.
    scores = found.patient_scores
    # The patient whose name is odd is called wrongly, and loudly so.
    scores.loc[scores["patient_id"] == "p000", ["score", "predicted"]] = [0.999, "AD"]
    silent = (scores["repeat"] == 0) & (scores["fold"] == 0)
    found.thresholds[0, 0] = 1.0
    scores.loc[silent, "predicted"] = "CN"
    return found


def _evaluation_inputs(found: Cohort) -> dict[str, pd.DataFrame]:
    tables = {
        "patients": found.patients.rename(index={"p000": ODD_NAME}).sort_index(),
        "folds": found.folds,
        "patient_scores": found.patient_scores,
        "slice_scores": found.slice_scores,
        "inner": _trained().inner.table,
    }
    return {
        name: table if name == "patients" else table.replace({"patient_id": {"p000": ODD_NAME}})
        for name, table in tables.items()
    }


@functools.cache
def _evaluation() -> dict[str, Any]:
    found = _cohort()
    tables = _evaluation_inputs(found)
    rng = np.random.default_rng(4)
    classes = {
        "classes": ("CN", "MCI", "AD"),
        "class_labels": ["CN", "MCI", "AD", "AD"] * 10,
        "class_scores": rng.dirichlet([1.0, 1.0, 1.0], size=(2, 40)),
    }
    result = evaluate(
        tables["patient_scores"],
        tables["slice_scores"],
        patients=tables["patients"],
        folds=tables["folds"],
        thresholds=found.thresholds,
        spec=EvaluationSpec(
            bootstrap_samples=_SAMPLES,
            baseline_inner_folds=2,
            worst_patients=4,
        ),
        seed=0,
        facts=EvaluationFacts(synthetic=True, trunk_weights="imagenet"),
        evidence=Evidence(
            heads=[one.head.facts for one in _trained().trained],
            inner_scores=tables["inner"],
            image_baselines={"histogram, coarse": tables["patient_scores"]},
            **classes,
        ),
        task=Task(positive="AD", negative="CN"),
    )
    return result.document.plain()


@functools.cache
def _audit() -> dict[str, Any]:
    return run_audit(**_parts()).plain()


@functools.cache
def _parts() -> dict[str, Any]:
    table, labels = feature_table(n_patients=40, n_slices=6, n_features=12, two_sessions=12)
    folds = folds_of(table, labels, **SPLIT)
    trained = _trained().trained
    tables = {"max": table}
    drawn = {"n_samples": _SAMPLES, "seed": 0}
    boots = {"bootstrap_samples": _SAMPLES, "seed": 0}
    stress = stress_test(
        TransferClassifier(head=HEAD),
        LabelledFeatures.of_folds({"max": table}, folds, "AD"),
        folds,
        fold_spec=FoldSpec(n_folds=2),
        n_permutations=2,
        **boots,
    )
    pairs = [
        ("same file", "p001_scan1", ODD_NAME, "p002_scan2", "p002", 0.98, False),
        ("same brain", "p003_scan3", "p003", "p004_scan4", "p004", None, True),
    ]
    names = ("kind", "scan_a", "patient_a", "scan_b", "patient_b", "similarity", "mirrored")
    return {
        "stress": stress,
        "identity": identity_probe(
            table, dict(zip(folds.patient_ids, folds.labels, strict=True)), **boots
        ),
        "duplicates": [
            DuplicatePair(**dict(zip(names, pair, strict=True)), across_patients=True)
            for pair in pairs
        ],
        "similar": compare_scans(table, folds=folds, spec=SimilaritySpec(same_person=0.2)),
        "checks": check_provenance(**_records()),
        "shortcuts": _shortcuts(),
        "retest": retest(scan_scores(trained, tables, folds, **LABELS), **drawn),
        "robustness": robustness_rows(
            trained,
            tables,
            {Perturbation(kind="noise", level=3.0): tables},
            folds,
            positive_label="AD",
            **drawn,
        ),
        "learning_curve": _learning_curve(table, folds),
    }


def _records() -> dict[str, Any]:
    """Return the records of a run in which one head lists a patient of its own fold."""
    found = records(*audit_cohort(two_sessions=2))
    place, facts = next(iter(found["facts"].items()))
    held_out = found["folds"].query("repeat == @place[0] and fold == @place[1]")["patient_id"]
    leak = {**facts, "training_patients": [*facts["training_patients"], held_out.iloc[0]]}
    return {**found, "facts": {**found["facts"], place: leak}}


def _shortcuts() -> Shortcuts:
    rng = np.random.default_rng(5)
    patients = make_cohort().patients.assign(site=["one", "two"] * 20, scanner=None)
    return find_shortcuts(
        rng.standard_normal((40, 8)),
        patients,
        scores=rng.random((2, 40)),
        seed=0,
        n_permutations=2,
        n_folds=2,
        n_samples=_SAMPLES,
    )


def _learning_curve(table: Any, folds: Any) -> LearningCurve:
    other, _ = feature_table(
        n_patients=40, n_slices=6, n_features=12, two_sessions=12, signal=0.3, seed=1
    )
    tables = {"trained trunk": table, "random trunk": other}
    return learning_curve(
        TransferClassifier(head=HEAD),
        {
            name: LabelledFeatures.of_folds({"max": one}, folds, "AD")
            for name, one in tables.items()
        },
        folds,
        spec=LearningCurveSpec(sizes=(8, 10, 12, 16, 400), n_draws=1, bootstrap_samples=_SAMPLES),
        seed=0,
    )
