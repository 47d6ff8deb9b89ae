"""evaluate() from tables to bytes."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mri_transfer.errors import ConfigurationError, RunFolderError
from mri_transfer.evaluation import (
    EvaluationDocument,
    EvaluationFacts,
    EvaluationSpec,
    Evidence,
    evaluate,
)
from mri_transfer.metrics.discrimination import auc
from mri_transfer.metrics.intervals import undefined
from mri_transfer.metrics.task import Task
from mri_transfer.report.schemas import schema_of

FACTS = EvaluationFacts(synthetic=False, trunk_weights="imagenet")
PROCEDURE = {
    "pooling": "average",
    "head": {"kind": "linear"},
    "aggregation": "mean_probability",
}
SPEC = EvaluationSpec(bootstrap_samples=200, covariates=("nwbv",), baseline_inner_folds=3)


def run(cohort, **changes):
    settings = {
        "patients": cohort.patients,
        "folds": cohort.folds,
        "thresholds": cohort.thresholds,
        "spec": SPEC,
        "task": Task(positive="AD", negative="CN"),
        "seed": 0,
        "facts": FACTS,
        "patient_scores": cohort.patient_scores,
        "slice_scores": cohort.slice_scores,
    } | changes
    return evaluate(settings.pop("patient_scores"), settings.pop("slice_scores"), **settings)


@pytest.fixture(scope="module")
def document(cohort_factory):
    """The evaluation of the default cohort; read only."""
    return run(cohort_factory()).document.plain()


def head_facts(cohort, **changes):
    """What the run wrote beside each fold's head; the target's threshold differs by fold."""
    return [
        {
            "repeat": repeat,
            "fold": fold,
            "procedure": PROCEDURE,
            "trials": [
                {"procedure": PROCEDURE, "inner_auc": [0.8], "configured": True, "chosen": True}
            ],
            "recalibration": {"method": "platt", "parameters": {"slope": [1.0], "intercept": [0]}},
            "recalibration_log_loss": {"platt": 0.6},
            "threshold": threshold,
            "threshold_from": "inner scores",
            "target_thresholds": {"sensitivity 0.9": 0.3 + 0.01 * fold},
            "inner_scores": "not for the document",
        }
        | changes
        for (repeat, fold), threshold in cohort.thresholds.items()
    ]


def image_baseline(cohort):
    """Another reading of the images: the model's scores with noise on their logits."""
    rng = np.random.default_rng(5)
    table = cohort.patient_scores.copy()
    logits = np.log(table["score"] / (1 - table["score"])) + 2 * rng.standard_normal(len(table))
    table["score"] = 1 / (1 + np.exp(-logits))
    table["predicted"] = np.where(table["score"] >= 0.5, "AD", "CN")
    return table


def inner_scores(cohort):
    """Inner scores of every outer fold's training patients: here those of the outer heads."""
    parts = []
    for repeat, rows in cohort.patient_scores.groupby("repeat"):
        for fold in rows["fold"].unique():
            parts.append(rows[rows["fold"] != fold].assign(repeat=repeat, fold=fold))
    return pd.concat(parts)[["repeat", "fold", "patient_id", "score"]]


@pytest.fixture(scope="module")
def known(cohort_factory):
    """The evaluation of a run that brings all its evidence; read only."""
    made = cohort_factory()
    evidence = Evidence(
        heads=head_facts(made),
        inner_scores=inner_scores(made),
        image_baselines={"voxels": image_baseline(made)},
    )
    return run(made, evidence=evidence)


def test_the_document_has_the_agreed_keys(document):
    assert set(document) == {
        "schema", "n_patients", "n_scans", "n_slices", "n_repeats", "n_folds", "positive_label",
        "negative_label", "n_positive", "synthetic", "trunk_weights", "confidence",
        "bootstrap_samples", "patient", "slice", "per_repeat", "per_fold", "baselines", "roc",
        "calibration", "confusion", "caveats", "brier_parts", "decision_curve",
        "operating_points", "predictive_values", "precision", "subgroups", "age_matched",
        "failures", "choices", "incremental_value", "classes",
    }  # fmt: skip
    assert document["schema"] == "mri-transfer/evaluation/3"
    counts = ("n_patients", "n_scans", "n_slices", "n_repeats", "n_folds", "n_positive")
    assert [document[name] for name in counts] == [40, 40, 240, 2, 4, 20]
    assert set(document["patient"]) == {
        "auc", "auc_bootstrap", "average_precision", "balanced_accuracy", "accuracy",
        "sensitivity", "specificity", "ppv", "npv", "brier", "calibration_intercept",
        "calibration_slope", "positive_likelihood_ratio", "negative_likelihood_ratio",
        "ici", "e50", "e90", "emax", "ici_if_calibrated",
    }  # fmt: skip
    for entry in [*document["patient"].values(), *document["slice"].values()]:
        assert {"value", "ci_low", "ci_high", "n", "method"} <= set(entry)
        assert entry["ci_low"] <= entry["value"] <= entry["ci_high"]
    assert set(document["slice"]) == {"accuracy", "auc", "balanced_accuracy"}
    assert len(document["per_fold"]) == 8
    assert {"repeat", "fold", "n_patients", "auc", "threshold"} <= set(document["per_fold"][0])
    assert [row["repeat"] for row in document["per_repeat"]] == [0, 1]
    assert set(document["calibration"]) == {
        "predicted", "observed", "n", "ci_low", "ci_high", "smooth",
    }  # fmt: skip


def test_every_document_is_of_the_published_form(document, known):
    for one in (document, known.document.plain()):
        jsonschema.validate(one, schema_of("evaluation"))


def test_baselines_are_compared_in_every_way(document):
    names = ["majority", "age", "sex", "age + sex", "nwbv", "age + nwbv"]
    assert list(document["baselines"]) == names
    for name, entry in document["baselines"].items():
        assert set(entry) == {
            "kind", "covariates", "auc", "balanced_accuracy", "auc_difference",
            "auc_difference_bootstrap", "auc_difference_folds", "mcnemar",
        }  # fmt: skip
        assert {"value", "ci_low", "ci_high", "p", "method"} <= set(entry["auc_difference"])
        assert entry["kind"] == ("constant" if name == "majority" else "covariates")
    assert document["baselines"]["age + nwbv"]["covariates"] == ["age", "nwbv"]


def test_the_majority_calls_everybody_the_commoner_label(cohort):
    """20 negative and 16 positive patients."""
    gone = ["p001", "p003", "p005", "p007"]
    few = {
        name: getattr(cohort, name)[~getattr(cohort, name)["patient_id"].isin(gone)]
        for name in ("patient_scores", "slice_scores", "folds")
    }
    found = run(cohort, patients=cohort.patients.drop(gone), **few)
    rows = found.baseline_scores[found.baseline_scores["baseline"] == "majority"]
    assert len(rows) == 2 * 36
    assert set(rows["predicted"]) == {"CN"}
    assert set(rows["score"]) == {0.0}
    entry = found.document.plain()["baselines"]["majority"]
    assert entry["balanced_accuracy"]["value"] == 0.5
    assert entry["auc"]["value"] == 0.5
    assert entry["mcnemar"]["specificity"]["first_only"] == 0


def test_image_baselines_stand_beside_those_of_covariates(cohort, known):
    entry = known.document.plain()["baselines"]["voxels"]
    assert (entry["kind"], entry["covariates"]) == ("image", [])
    table = image_baseline(cohort)
    areas = [auc(rows["label"] == "AD", rows["score"]) for _, rows in table.groupby("repeat")]
    assert entry["auc"]["value"] == pytest.approx(np.mean(areas))
    assert set(known.baseline_scores["baseline"]) == set(known.document.plain()["baselines"])
    off = run(
        cohort,
        evidence=Evidence(image_baselines={"voxels": table}),
        spec=EvaluationSpec(bootstrap_samples=100, baselines=False),
    )
    assert list(off.document.plain()["baselines"]) == ["voxels"]


def test_the_choices_of_every_fold_are_listed(cohort, document, known):
    assert document["choices"] == []
    choices = known.document.plain()["choices"]
    assert [(one["repeat"], one["fold"]) for one in choices] == list(cohort.thresholds)
    assert choices[0]["recalibration"]["method"] == "platt"
    assert "inner_scores" not in choices[0]


def test_operating_points_take_the_threshold_of_each_fold(cohort, document, known):
    assert document["operating_points"] == []
    (point,) = known.document.plain()["operating_points"]
    assert point["target"] == "sensitivity 0.9"
    assert point["threshold"] == pytest.approx({"mean": 0.315, "min": 0.3, "max": 0.33})
    rows = cohort.patient_scores
    called = rows["score"] >= 0.3 + 0.01 * rows["fold"]
    positive = rows["label"] == "AD"
    assert point["sensitivity"]["value"] == pytest.approx(called[positive].mean())
    assert point["specificity"]["value"] == pytest.approx((~called[~positive]).mean())


def test_the_decision_curve_is_the_net_benefit_of_every_strategy(cohort, document):
    curve = document["decision_curve"]
    at = curve["thresholds"].index(0.5)
    rows = cohort.patient_scores
    called, positive = rows["score"] >= 0.5, rows["label"] == "AD"
    # At one half a false alarm costs what a patient found is worth.
    expected = ((called & positive).sum() - (called & ~positive).sum()) / len(rows)
    assert curve["model"][at]["value"] == pytest.approx(expected)
    assert curve["treat_all"][at] == pytest.approx(0.0)
    assert set(curve["others"]) == {"age", "sex", "age + sex", "nwbv", "age + nwbv"}


def test_predictive_values_follow_bayes_at_every_prevalence(document):
    found = {name: document["patient"][name]["value"] for name in ("sensitivity", "specificity")}
    assert [row["prevalence"] for row in document["predictive_values"]] == list(SPEC.prevalences)
    for row in document["predictive_values"]:
        share = row["prevalence"]
        true = found["sensitivity"] * share
        false = (1 - found["specificity"]) * (1 - share)
        assert row["ppv"]["value"] == pytest.approx(true / (true + false))
        assert row["ppv"]["ci_low"] < row["ppv"]["value"] < row["ppv"]["ci_high"]


def test_precision_reports_the_half_widths_of_the_figures(document):
    for name in ("auc", "sensitivity", "specificity", "calibration_slope"):
        entry, figure = document["precision"][name], document["patient"][name]
        assert entry["value"] == figure["value"]
        assert entry["half_width"] == pytest.approx((figure["ci_high"] - figure["ci_low"]) / 2)
        assert entry["patients"][0]["n"] > 40


def test_subgroups_are_of_the_patients_who_belong_to_them(cohort, document):
    rows = {(row["group"], row["level"]): row for row in document["subgroups"]["rows"]}
    women = cohort.patients[cohort.patients["sex"] == "F"]
    assert rows["sex", "F"]["n"] == len(women)
    assert rows["sex", "F"]["n_positive"] == (women["label"] == "AD").sum()
    assert set(document["subgroups"]) >= {"rows", "gaps"}


def test_age_is_matched_within_the_caliper_that_was_asked_for(cohort, document):
    assert document["age_matched"]["caliper_years"] == 2.5
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False, age_caliper_years=0.2)
    narrow = run(cohort, spec=spec).document.plain()["age_matched"]
    assert narrow["matched"]["n_pairs"] < document["age_matched"]["matched"]["n_pairs"]


def test_failures_are_the_patients_with_the_largest_loss(cohort, document):
    rows = cohort.patient_scores.set_index("patient_id")
    own = np.where(rows["label"] == "AD", rows["score"], 1 - rows["score"])
    loss = pd.Series(-np.log(own), index=rows.index).groupby(level=0).mean()
    worst = loss.sort_values(ascending=False).index[:10]
    assert [one["patient_id"] for one in document["failures"]] == list(worst)
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False, worst_patients=0)
    assert run(cohort, spec=spec).document.plain()["failures"] == []


def test_the_value_of_the_image_is_asked_of_the_richest_covariates(cohort, known, document):
    found = known.document.plain()
    value = found["incremental_value"]
    assert set(value) == {"age + sex", "age + nwbv"}
    for name, entry in value.items():
        gap = entry["joined_auc"]["value"] - found["baselines"][name]["auc"]["value"]
        assert entry["joined_minus_covariates"]["value"] == pytest.approx(gap)
        gap = entry["joined_auc"]["value"] - found["patient"]["auc"]["value"]
        assert entry["joined_minus_image_bootstrap"]["value"] == pytest.approx(gap)
        test = entry["likelihood_ratio_test"]
        assert test["chi2"] > 0
        assert test["p"] < test["p_corrected"]
        assert "joined_minus_covariates" in test["note"]
    for entry in document["incremental_value"].values():
        assert "no inner scores" in entry["reason"]
        assert "joined_auc" not in entry
        assert entry["likelihood_ratio_test"]["chi2"] > 0


def test_a_missing_sex_of_patients_of_one_label_leaves_the_likelihood_ratio(cohort):
    """Three patients without sex, all negative, have no finite coefficient; the test has one."""
    patients = cohort.patients.copy()
    patients.loc[["p000", "p002", "p004"], "sex"] = ""
    spec = EvaluationSpec(bootstrap_samples=100, baseline_inner_folds=3)
    entry = run(cohort, patients=patients, spec=spec).document.plain()["incremental_value"][
        "age + sex"
    ]
    assert entry["likelihood_ratio_test"]["chi2"] > 0
    assert "reason" not in entry["likelihood_ratio_test"]


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
    EvaluationDocument.model_validate(document).write(tmp_path / "one.json")
    run(
        cohort,
        patient_scores=cohort.patient_scores.sample(frac=1, random_state=1),
        slice_scores=cohort.slice_scores.sample(frac=1, random_state=2),
        patients=cohort.patients.iloc[::-1],
        folds=cohort.folds.sample(frac=1, random_state=3),
    ).document.write(tmp_path / "two.json")
    text = (tmp_path / "one.json").read_bytes()
    assert text == (tmp_path / "two.json").read_bytes()


def test_another_seed_draws_other_resamples(cohort, document):
    other = run(cohort, seed=1, spec=EvaluationSpec(bootstrap_samples=200, baselines=False))
    one, two = (d["patient"]["auc_bootstrap"] for d in (document, other.document.plain()))
    assert one["value"] == two["value"]
    assert one["ci_low"] != two["ci_low"]
    assert document["patient"]["auc"] == other.document.plain()["patient"]["auc"]


def test_the_file_reads_back_and_holds_no_nan(document, tmp_path):
    evaluation = EvaluationDocument.model_validate(document)
    path = tmp_path / "evaluation.json"
    evaluation.write(path)
    assert EvaluationDocument.read(path, stage="evaluate") == evaluation
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text
    expected = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False)
    assert text == expected + "\n"


def test_other_files_are_no_evaluation(tmp_path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(RunFolderError, match="a file is missing"):
        EvaluationDocument.read(path, stage="evaluate")
    path.write_text("{")
    with pytest.raises(RunFolderError, match="not a JSON file"):
        EvaluationDocument.read(path, stage="evaluate")
    path.write_text('{"schema": "mri-transfer/audit/1"}')
    with pytest.raises(RunFolderError, match="mri-transfer/audit/1"):
        EvaluationDocument.read(path, stage="evaluate")


def test_swapping_the_labels_mirrors_the_figures(cohort):
    document = run(
        cohort, spec=EvaluationSpec(bootstrap_samples=100, baselines=False)
    ).document.plain()
    swapped = cohort.patient_scores.assign(score=1 - cohort.patient_scores["score"])
    slices = cohort.slice_scores.assign(score=1 - cohort.slice_scores["score"])
    mirror = run(
        cohort,
        patient_scores=swapped,
        slice_scores=slices,
        task=Task(positive="CN", negative="AD"),
        spec=EvaluationSpec(bootstrap_samples=100, baselines=False),
    ).document.plain()
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
        values.append(run(made, spec=spec).document.plain()["patient"]["auc"]["value"])
    assert np.mean(values) == pytest.approx(0.5, abs=0.08)


def test_perfect_scores_and_empty_classes_stay_json_with_reasons(cohort):
    scores = cohort.patient_scores
    table = scores.assign(score=(scores["label"] == "AD") * 0.4, predicted="CN")
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False)
    document = run(cohort, patient_scores=table, slice_scores=None, spec=spec).document.plain()
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
    document = run(cohort, folds=folds, **changes).document.plain()
    assert document["per_fold"][0]["auc"] is None
    assert "one label" in document["per_fold"][0]["reasons"]["auc"]
    assert "not computable" in document["baselines"]["age"]["auc"]["reason"]
    assert document["patient"]["auc"]["value"] is not None


def test_facts_and_settings_are_written_down(cohort):
    facts = EvaluationFacts(synthetic=True, trunk_weights="random", n_scans=7, n_slices=9)
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False, confidence=0.9)
    document = run(cohort, facts=facts, spec=spec).document.plain()
    assert (document["n_scans"], document["n_slices"]) == (7, 9)
    assert (document["synthetic"], document["trunk_weights"]) == (True, "random")
    assert document["baselines"] == {}
    spec = EvaluationSpec(bootstrap_samples=100, baselines=False)
    wide = run(cohort, facts=facts, spec=spec).document.plain()
    for name in ("auc", "sensitivity", "brier"):
        narrow_width = document["patient"][name]["ci_high"] - document["patient"][name]["ci_low"]
        wide_width = wide["patient"][name]["ci_high"] - wide["patient"][name]["ci_low"]
        assert narrow_width < wide_width


def test_an_unknown_covariate_is_refused_even_without_baselines(cohort):
    spec = EvaluationSpec(covariates=("volume",), baselines=False)
    with pytest.raises(ConfigurationError, match="volume"):
        run(cohort, spec=spec)


def test_a_nan_never_reaches_the_file():
    with pytest.raises(ValidationError, match="finite"):
        undefined("no patient", n=np.nan)
