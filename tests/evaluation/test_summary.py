"""evaluate() from tables to bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mri_transfer.errors import ConfigurationError, EvaluationError, RunFolderError
from mri_transfer.evaluation import Evaluation, EvaluationFacts, EvaluationSpec, auc, evaluate

FACTS = EvaluationFacts(synthetic=False, trunk_weights="imagenet")
SPEC = EvaluationSpec(bootstrap_samples=200, covariates=("nwbv",), baseline_inner_folds=3)


def run(cohort, **changes):
    settings = {
        "patients": cohort.patients,
        "folds": cohort.folds,
        "thresholds": cohort.thresholds,
        "spec": SPEC,
        "positive_label": "AD",
        "negative_label": "CN",
        "seed": 0,
        "facts": FACTS,
        "patient_scores": cohort.patient_scores,
        "slice_scores": cohort.slice_scores,
    } | changes
    return evaluate(settings.pop("patient_scores"), settings.pop("slice_scores"), **settings)


@pytest.fixture(scope="module")
def document(cohort_factory):
    """The evaluation of the default cohort; read only."""
    return run(cohort_factory()).document


def test_the_document_has_the_agreed_keys(document):
    assert set(document) == {
        "schema", "n_patients", "n_scans", "n_slices", "n_repeats", "n_folds", "positive_label",
        "negative_label", "n_positive", "synthetic", "trunk_weights", "confidence",
        "bootstrap_samples", "patient", "slice", "per_repeat", "per_fold", "baselines", "roc",
        "calibration", "confusion", "caveats",
    }  # fmt: skip
    assert document["schema"] == "mri-transfer/evaluation/1"
    counts = ("n_patients", "n_scans", "n_slices", "n_repeats", "n_folds", "n_positive")
    assert [document[name] for name in counts] == [40, 40, 240, 2, 4, 20]
    assert set(document["patient"]) == {
        "auc", "auc_bootstrap", "average_precision", "balanced_accuracy", "accuracy",
        "sensitivity", "specificity", "ppv", "npv", "brier", "calibration_intercept",
        "calibration_slope",
    }  # fmt: skip
    for entry in [*document["patient"].values(), *document["slice"].values()]:
        assert {"value", "ci_low", "ci_high", "n", "method"} <= set(entry)
        assert entry["ci_low"] <= entry["value"] <= entry["ci_high"]
    assert set(document["slice"]) == {"accuracy", "auc", "balanced_accuracy"}
    assert list(document["baselines"]) == ["age", "sex", "age + sex", "nwbv", "age + nwbv"]
    for entry in document["baselines"].values():
        assert set(entry) == {"covariates", "auc", "balanced_accuracy", "auc_difference"}
        assert {"value", "ci_low", "ci_high", "p", "method"} <= set(entry["auc_difference"])
    assert len(document["per_fold"]) == 8
    assert {"repeat", "fold", "n_patients", "auc", "threshold"} <= set(document["per_fold"][0])
    assert [row["repeat"] for row in document["per_repeat"]] == [0, 1]
    assert set(document["calibration"]) == {"predicted", "observed", "n", "ci_low", "ci_high"}


def test_the_primary_auc_is_the_mean_over_repeats_of_the_pooled_auc(cohort, document):
    by_repeat = [
        auc(rows["label"] == "AD", rows["score"])
        for _, rows in cohort.patient_scores.groupby("repeat")
    ]
    assert document["patient"]["auc"]["value"] == pytest.approx(np.mean(by_repeat))
    assert document["patient"]["auc_bootstrap"]["value"] == pytest.approx(np.mean(by_repeat))
    assert [row["auc"] for row in document["per_repeat"]] == pytest.approx(by_repeat)
    assert document["patient"]["auc"]["n"] == 40


def test_confusion_sums_to_the_patients_and_gives_the_rates(cohort, document):
    (tn, fp), (fn, tp) = document["confusion"]["matrix"]
    assert document["confusion"]["labels"] == ["CN", "AD"]
    assert tn + fp + fn + tp == 40
    assert document["patient"]["sensitivity"]["value"] == pytest.approx(tp / (tp + fn))
    rows = cohort.patient_scores
    assert tp == ((rows["label"] == "AD") & (rows["predicted"] == "AD")).sum() / 2


def test_a_baseline_difference_is_the_models_auc_minus_the_baselines(document):
    for entry in document["baselines"].values():
        expected = document["patient"]["auc"]["value"] - entry["auc"]["value"]
        assert entry["auc_difference"]["value"] == pytest.approx(expected)


def test_the_same_tables_give_the_same_bytes_whatever_the_order_of_rows(cohort, document, tmp_path):
    Evaluation(document=document).write(tmp_path / "one.json")
    run(
        cohort,
        patient_scores=cohort.patient_scores.sample(frac=1, random_state=1),
        slice_scores=cohort.slice_scores.sample(frac=1, random_state=2),
        patients=cohort.patients.iloc[::-1],
        folds=cohort.folds.sample(frac=1, random_state=3),
    ).write(tmp_path / "two.json")
    text = (tmp_path / "one.json").read_bytes()
    assert text == (tmp_path / "two.json").read_bytes()


def test_another_seed_draws_other_resamples(cohort, document):
    other = run(cohort, seed=1, spec=EvaluationSpec(bootstrap_samples=200, baselines=False))
    one, two = (d["patient"]["auc_bootstrap"] for d in (document, other.document))
    assert one["value"] == two["value"]
    assert one["ci_low"] != two["ci_low"]
    assert document["patient"]["auc"] == other.document["patient"]["auc"]


def test_the_file_reads_back_and_holds_no_nan(document, tmp_path):
    evaluation = Evaluation(document=document)
    path = tmp_path / "evaluation.json"
    evaluation.write(path)
    assert Evaluation.read(path) == evaluation
    assert "NaN" not in path.read_text()
    assert path.read_text() == json.dumps(evaluation.document, sort_keys=True, indent=2) + "\n"


def test_other_files_are_no_evaluation(tmp_path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(RunFolderError, match="no evaluation"):
        Evaluation.read(path)
    path.write_text("{")
    with pytest.raises(RunFolderError, match="not a JSON file"):
        Evaluation.read(path)
    path.write_text('{"schema": "mri-transfer/audit/1"}')
    with pytest.raises(RunFolderError, match="mri-transfer/audit/1"):
        Evaluation.read(path)


def test_swapping_the_labels_mirrors_the_figures(cohort):
    document = run(cohort, spec=EvaluationSpec(bootstrap_samples=100, baselines=False)).document
    swapped = cohort.patient_scores.assign(score=1 - cohort.patient_scores["score"])
    slices = cohort.slice_scores.assign(score=1 - cohort.slice_scores["score"])
    mirror = run(
        cohort,
        patient_scores=swapped,
        slice_scores=slices,
        positive_label="CN",
        negative_label="AD",
        spec=EvaluationSpec(bootstrap_samples=100, baselines=False),
    ).document
    one, two = document["patient"], mirror["patient"]
    assert two["auc"]["value"] == pytest.approx(one["auc"]["value"])
    assert two["sensitivity"]["value"] == one["specificity"]["value"]
    assert two["brier"]["value"] == pytest.approx(one["brier"]["value"])
    intercept = -one["calibration_intercept"]["value"]
    assert two["calibration_intercept"]["value"] == pytest.approx(intercept, abs=1e-6)
    slope = one["calibration_slope"]["value"]
    assert two["calibration_slope"]["value"] == pytest.approx(slope, abs=1e-6)


def test_scores_without_signal_give_an_auc_near_one_half(cohort_factory):
    values = []
    for seed in range(8):
        made = cohort_factory(effect=0.0, n_slices=2, seed=seed)
        spec = EvaluationSpec(bootstrap_samples=100, baselines=False)
        values.append(run(made, spec=spec).document["patient"]["auc"]["value"])
    assert np.mean(values) == pytest.approx(0.5, abs=0.08)


def test_perfect_scores_and_empty_classes_stay_json_with_reasons(cohort):
    scores = cohort.patient_scores
    table = scores.assign(score=(scores["label"] == "AD") * 0.4, predicted="CN")
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False)
    document = run(cohort, patient_scores=table, slice_scores=None, spec=spec).document
    assert document["patient"]["auc"]["value"] == 1.0
    assert document["patient"]["ppv"]["value"] is None
    assert document["patient"]["ppv"]["reason"] == "no patient was called positive"
    assert document["patient"]["calibration_slope"]["value"] is None
    assert document["slice"]["auc"]["value"] is None
    assert document["n_slices"] is None
    assert document["per_repeat"][0]["ppv"] is None
    assert document["per_repeat"][0]["reasons"]["ppv"] == "no patient was called positive"
    json.dumps(document, allow_nan=False)


def test_a_fold_of_one_label_has_no_auc_and_says_so(cohort):
    fold = (cohort.patients["label"] == "AD").astype(int)
    folds = cohort.folds.assign(fold=cohort.folds["patient_id"].map(fold))
    changes = {
        name: getattr(cohort, name).assign(fold=getattr(cohort, name)["patient_id"].map(fold))
        for name in ("patient_scores", "slice_scores")
    }
    document = run(cohort, folds=folds, **changes).document
    assert document["per_fold"][0]["auc"] is None
    assert "one label" in document["per_fold"][0]["reasons"]["auc"]
    assert "not computable" in document["baselines"]["age"]["auc"]["reason"]
    assert document["patient"]["auc"]["value"] is not None


def test_facts_and_settings_are_written_down(cohort):
    facts = EvaluationFacts(synthetic=True, trunk_weights="random", n_scans=7, n_slices=9)
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False, confidence=0.9)
    document = run(cohort, facts=facts, spec=spec).document
    assert (document["n_scans"], document["n_slices"]) == (7, 9)
    assert (document["synthetic"], document["trunk_weights"]) == (True, "random")
    assert document["baselines"] == {}
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False)
    wide = run(cohort, facts=facts, spec=spec).document
    for name in ("auc", "sensitivity", "brier"):
        narrow_width = document["patient"][name]["ci_high"] - document["patient"][name]["ci_low"]
        wide_width = wide["patient"][name]["ci_high"] - wide["patient"][name]["ci_low"]
        assert narrow_width < wide_width


def test_an_unknown_covariate_is_refused_even_without_baselines(cohort):
    spec = EvaluationSpec(covariates=("volume",), baselines=False)
    with pytest.raises(ConfigurationError, match="volume"):
        run(cohort, spec=spec)


def test_a_nan_never_reaches_the_file():
    from mri_transfer.evaluation.summary import _plain

    assert _plain({"a": np.float64(0.5), "b": (np.int64(2), np.array([1.0]))}) == {
        "a": 0.5,
        "b": [2, [1.0]],
    }
    with pytest.raises(EvaluationError, match="finite"):
        _plain({"a": [np.nan]})
