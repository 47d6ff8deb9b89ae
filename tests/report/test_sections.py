"""Every section of the report shows what the documents hold, and says what they do not hold."""

from __future__ import annotations

import copy
import dataclasses
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest

from mri_transfer.report import ReportInputs, render_report
from mri_transfer.schemas import schema_of
from tests.report.documents import (
    entry,
    make_audit,
    make_check,
    make_classes,
    make_evaluation,
    make_full_audit,
    make_inputs,
    make_leakage,
)

HOSTILE = "<b onclick='x'>&{{ 7*7191 }}</b>"
#: Everything the evaluation may lack, and what the page says then.
NULL_PARTS = {
    "decision_curve": "No decision curve was computed.",
    "operating_points": "No operating points were computed: the configuration names no aim.",
    "predictive_values": "No predictive values by prevalence were computed.",
    "precision": "Precision was not computed.",
    "subgroups": "No subgroup was evaluated.",
    "age_matched": "Not evaluated at equal age.",
    "failures": "No patient was singled out.",
    "choices": "Nothing is recorded of what the folds chose.",
    "image_value": "Not computed: there is no baseline of covariates to join the image with.",
    "classes": "Two labels were told apart: there are no figures of three classes or more.",
}


class Page(HTMLParser):
    """Reads the tables of a page, by caption, and its sections' texts, by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.states: dict[str, str] = {}
        self.sections: dict[str, str] = {}
        self.drawings: set[str] = set()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._section = ""
        self._caption = ""
        self._rows: list[list[str]] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag in {"section", "header"}:
            self._section = found.get("id") or found.get("class") or tag
        elif tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
            self._state = found.get("class") or ""
        elif tag in {"th", "td"}:
            self._rows[-1].append("")
            self._inside = "cell"
        elif tag in {"caption", "svg"}:
            self._inside = tag
        elif tag == "small" and self._inside == "cell":
            self._rows[-1][-1] = self._rows[-1][-1].strip() + " | "
        if tag == "svg":
            self.drawings.add(str(found["aria-labelledby"]).removesuffix("-title"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.tables[self._caption] = self._rows
        elif tag == "tr":
            self.states[self._rows[-1][0]] = self._state
        if tag in {"th", "td", "caption", "svg"}:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        text = data.replace("\u00a0", " ").replace("\u2212", "-")
        if self._inside == "cell":
            self._rows[-1][-1] += text
        elif self._inside == "caption":
            self._caption += text
        self.sections[self._section] = (
            self.sections.get(self._section, "")
            + " ".join(f" {text} ".split())
            + (" " if text.strip() else "")
        )

    def row(self, caption: str, head: str) -> list[str]:
        """Return the cells of the row of a table whose head starts so, the head left out."""
        (found,) = [rows for name, rows in self.tables.items() if name.startswith(caption)]
        return next(cells[1:] for cells in found[1:] if cells[0].startswith(head))


def shown(found: dict[str, Any], digits: int = 3) -> str:
    """Return how an estimate stands in a cell, written anew from its numbers."""
    if found["value"] is None:
        return f"not defined: | {found['reason']}"
    value = f"{found['value']:.{digits}f}"
    if found["ci_low"] is None:
        return f"{value} | no interval: {found['reason']}"
    return f"{value} | {found['ci_low']:.{digits}f} to {found['ci_high']:.{digits}f}"


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return make_inputs(n_montages=0)


@pytest.fixture(scope="module")
def page(inputs: ReportInputs) -> Page:
    return Page(render_report(inputs))


@pytest.fixture(scope="module")
def full(inputs: ReportInputs) -> Page:
    return Page(render_report(dataclasses.replace(inputs, audit=make_full_audit())))


def with_evaluation(inputs: ReportInputs, **changes: Any) -> Page:
    evaluation = {**copy.deepcopy(dict(inputs.evaluation)), **changes}
    return Page(render_report(dataclasses.replace(inputs, evaluation=evaluation)))


def with_audit(inputs: ReportInputs, **changes: Any) -> Page:
    audit = {**make_audit(), **changes}
    return Page(render_report(dataclasses.replace(inputs, audit=audit)))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("evaluation", make_evaluation()),
        ("evaluation", {**make_evaluation(), "classes": make_classes()}),
        ("audit", make_audit()),
        ("audit", make_full_audit()),
    ],
)
def test_the_documents_of_these_tests_are_of_the_published_form(
    name: str, document: dict[str, Any]
) -> None:
    jsonschema.Draft202012Validator(schema_of(name)).validate(document)


# --- choices -----------------------------------------------------------------------------------


def test_choices_name_only_what_differs_from_the_configured_procedure(page: Page) -> None:
    caption = "What each fold chose"
    kept, left = page.row(caption, "0, 0"), page.row(caption, "0, 1")
    assert kept[0] == "as configured"
    assert left[0] == "pooling average (configured max)"
    assert left[1:4] == ["0.720 | 0.710 to 0.730", "0.800 | 0.760 to 0.840", "2"]
    assert kept[4:] == ["platt | log loss 0.551, without 0.621", "0.481", "0.352"]
    assert left[5:] == ["0.593", "0.463"]


def test_choices_are_said_to_be_of_training_patients(page: Page) -> None:
    text = page.sections["choices"]
    assert "chosen on the training patients of each fold" in text
    assert "The configured procedure was kept in 1 of 2 folds." in text
    assert "Recalibration, of 2 folds: platt in 2." in text


# --- calibration -------------------------------------------------------------------------------


def test_calibration_measures_and_both_curves_stand(inputs: ReportInputs, page: Page) -> None:
    patient = inputs.evaluation["patient"]
    caption = "How far scores are from probabilities"
    heads = {
        "calibration_intercept": "Calibration intercept", "calibration_slope": "Calibration slope",
        "ici": "ICI | Integrated", "e50": "E50", "e90": "E90", "emax": "Emax",
        "ici_if_calibrated": "ICI by chance", "brier": "Brier score",
    }  # fmt: skip
    for name, head in heads.items():
        assert " | ".join(page.row(caption, head)[:2]) == shown(patient[name])
    parts = inputs.evaluation["brier_parts"]
    cells = page.row("Parts of the Brier score", "Discrimination")
    assert " | ".join(cells[:2]) == shown(parts["discrimination"])
    assert page.row("Groups of patients", "0.350") == ["0.310 | 0.200 to 0.450", "8"]
    assert page.row("Smooth curve", "0.402") == ["0.452 | 0.300 to 0.600"]
    assert "calibration" in page.drawings


def test_chance_of_the_ici_and_the_sum_of_the_brier_score_are_explained(
    inputs: ReportInputs, page: Page
) -> None:
    text = page.sections["calibration"]
    mean, span = shown(inputs.evaluation["patient"]["ici_if_calibrated"]).split(" | ")
    assert f"would still show an ICI of {mean} on average (central range {span})" in text
    assert "Brier score 0.705 = miscalibration 0.011 - discrimination 0.072 + uncertainty" in text


def test_missing_band_is_said(inputs: ReportInputs) -> None:
    calibration = copy.deepcopy(inputs.evaluation["calibration"])
    calibration["smooth"] |= {"ci_low": None, "ci_high": None, "reason": "two patients only"}
    found = with_evaluation(inputs, calibration=calibration)
    assert "The smooth curve has no band: two patients only." in found.sections["calibration"]
    assert found.row("Smooth curve", "0.402") == ["0.452 | no interval: two patients only"]


# --- utility -----------------------------------------------------------------------------------


def test_decision_curve_names_the_best_covariate_baseline_and_all_numbers(
    inputs: ReportInputs, page: Page
) -> None:
    curve = inputs.evaluation["decision_curve"]
    (head,) = [
        rows[0]
        for name, rows in page.tables.items()
        if "by threshold" in name
        and "20 %" in {row[0] for row in rows}
        and "15 %" in {row[0] for row in rows}
    ]
    assert head[-2:] == ["age + nwbv", "Model minus age + nwbv"]
    whole = next(rows for rows in page.tables.values() if rows[0] == head)
    for i, cells in enumerate(whole[1:]):
        assert cells == [
            f"{100 * curve['thresholds'][i]:.0f} %", shown(curve["model"][i]),
            f"{curve['treat_all'][i]:.3f}", shown(curve["gain"][i]),
            f"{curve['others']['age + nwbv']['net_benefit'][i]:.3f}",
            shown(curve["others"]["age + nwbv"]["difference"][i]),
        ]  # fmt: skip
    assert "decision-curve" in page.drawings


def test_thresholds_where_the_gain_is_shown_are_named_as_a_stretch(
    inputs: ReportInputs, page: Page
) -> None:
    assert "at thresholds of 15 % to 25 %: there" in page.sections["utility"]
    curve = copy.deepcopy(inputs.evaluation["decision_curve"])
    curve["gain"] = [entry(0.01) for _ in curve["gain"]]
    text = with_evaluation(inputs, decision_curve=curve).sections["utility"]
    assert "At no threshold is acting on the score shown to be better" in text


def test_operating_points_and_predictive_values_stand(inputs: ReportInputs, page: Page) -> None:
    (point,) = inputs.evaluation["operating_points"]
    names = ("sensitivity", "specificity", "ppv", "npv", "positive_likelihood_ratio",
             "negative_likelihood_ratio")  # fmt: skip
    cells = page.row("Operating points", "Aim: sensitivity 0.9")
    assert cells[0] == "0.356 | 0.262 to 0.437 over folds"
    assert cells[1:] == [shown(point[name]) for name in names]
    own = page.row("Operating points", "As called")
    assert own[1:] == [shown(inputs.evaluation["patient"][name]) for name in names]
    rare = inputs.evaluation["predictive_values"][0]
    assert page.row("Predictive values", "5 %") == [shown(rare["ppv"]), shown(rare["npv"])]


# --- baselines ---------------------------------------------------------------------------------


def test_baselines_stand_by_kind_with_three_readings_of_the_difference(
    inputs: ReportInputs, page: Page
) -> None:
    (rows,) = [rows for name, rows in page.tables.items() if name.startswith("Model and baselines")]
    kinds = [(cells[0].split(" | ")[0], cells[0].split(" | ")[-1].split(":")[0])
             for cells in rows[2:]]  # fmt: skip
    assert kinds == [
        ("majority", "constant"), ("age + nwbv", "covariates"), ("age", "covariates"),
        ("intensity histogram", "image"),
    ]  # fmt: skip
    found = inputs.evaluation["baselines"]["age"]
    assert page.row("Model and baselines", "age | ") == [
        shown(found["auc"]), shown(found["balanced_accuracy"]), shown(found["auc_difference"]),
        "< 0.001", shown(found["auc_difference_bootstrap"]), shown(found["auc_difference_folds"]),
        "< 0.001",
    ]  # fmt: skip


def test_mcnemar_counts_of_either_side_stand(page: Page) -> None:
    assert page.row("Calls at the threshold: patients", "age + nwbv") == [
        "9 : 4 | of 40", "0.39 | exact 0.49", "5 : 4 | of 20", "0.39 | exact 0.49",
        "9 : 3 | of 20", "0.39 | exact 0.49",
    ]  # fmt: skip


def test_first_screen_compares_with_covariates_and_not_with_a_reading_of_the_image(
    page: Page,
) -> None:
    start = page.sections["header"]
    assert "strongest baseline from the patients' table (age + nwbv) reaches 0.74" in start


def test_what_the_image_adds_stands_with_age_and_sex_first(
    inputs: ReportInputs, page: Page
) -> None:
    text = page.sections["baselines"]
    adds = "The image adds to age + sex: joined, the AUC is 0.80; joined minus age + sex alone 0.16"
    assert adds in text
    missing = "What the image adds to age + nwbv is not known: no joined model: no inner scores."
    assert text.index(adds) < text.index(missing)
    assert "The uncorrected p value of the likelihood ratio test is optimistic" in text
    found = inputs.evaluation["image_value"]["age + sex"]
    cells = page.row("Covariates and image joined", "age + sex")
    assert cells[0] == shown(found["joined_auc"])
    assert cells[1] == shown(found["joined_minus_covariates"]) + "; p = 0.012"
    assert cells[2] == shown(found["joined_minus_covariates_bootstrap"])
    assert cells[3] == shown(found["joined_minus_image"]) + "; p = 0.61"
    assert cells[4] == shown(found["joined_minus_image_bootstrap"])
    assert cells[5] == (
        "p = 0.009 | uncorrected, two-sided p < 0.001; χ² = 11.4, df 1; coefficient 0.81 "
        "(0.73 to 0.89)"
    )
    assert page.row("Covariates and image joined", "age + nwbv")[0] == (
        "not defined: | no joined model: no inner scores"
    )
    assert page.row("Covariates and image joined", "age + nwbv")[5] == (
        "not defined: | labels are separated"
    )


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.02, "That the image adds to age is not shown"), (-0.2, "The image takes away from age")],
)
def test_a_gain_that_is_not_shown_is_not_claimed(
    inputs: ReportInputs, gain: float, words: str
) -> None:
    found = copy.deepcopy(inputs.evaluation["image_value"]["age + sex"])
    found["joined_minus_covariates"] = entry(gain, p=0.6)
    text = with_evaluation(inputs, image_value={"age": found}).sections["baselines"]
    assert words in text
    assert "The image adds to" not in text


# --- groups ------------------------------------------------------------------------------------


def test_subgroups_that_are_too_small_are_quiet_and_say_why(
    inputs: ReportInputs, page: Page
) -> None:
    large = inputs.evaluation["subgroups"]["rows"][0]
    names = ("auc", "balanced_accuracy", "sensitivity", "specificity", "calibration",
             "mean_score_positive")  # fmt: skip
    cells = page.row("Subgroups", "Sex: F")
    assert cells == ["25 | 12 AD, 13 CN; AUC ±0.141", *(shown(large[name]) for name in names)]
    assert page.states["Sex: F | all of one site"] == ""
    assert page.states["CDR: 2 | 0 positive patients: no statement"] == "quiet"
    assert page.row("Subgroups", "CDR: 2")[1] == "not defined: | patients of one label only"


def test_gaps_stand_with_both_p_values(page: Page) -> None:
    assert page.row("Largest difference", "Sex: AUC") == [
        "F", "M", "0.163 | 0.083 to 0.243", "0.047", "0.28",
    ]  # fmt: skip
    assert page.row("Largest difference", "Site: AUC")[2] == (
        "not defined: | no level is large enough"
    )
    assert "the p value for all together holds for all." in page.sections["subgroups"]


def test_evaluation_at_equal_age_stands(inputs: ReportInputs, page: Page) -> None:
    found = inputs.evaluation["age_matched"]
    assert found["sentence"] in page.sections["subgroups"]
    for head, part in (("All", "all"), ("Matched", "matched"), ("Weighted", "weighted")):
        cells = page.row("At equal age", head)
        assert cells[:2] == [shown(found[part]["auc"]), shown(found[part]["age_auc"])]
        assert cells[2] == f"{found[part]['age_difference_years']:.1f}"
    won = page.row("At equal age", "Within pairs")[0]
    assert won == shown(found["matched"]["won_within_pairs"])
    assert "1 patient of unknown age is left out." in page.sections["subgroups"]


def test_failures_stand_with_slices_and_what_is_known(page: Page) -> None:
    assert page.row("The patients whom", "OAS0021 | age 64, sex M") == [
        "AD", "0.08", "0.05 to 0.11", "2.47", "50 %", "0.93 at 4 mm", "0.04 at 0 mm",
    ]  # fmt: skip


def test_precision_and_sample_size_stand(page: Page) -> None:
    assert page.row("Half-width", "AUC") == ["0.614", "±0.081", "±0.083"]
    unknown = "not defined: | no slope was fitted"
    assert page.row("Half-width", "Calibration slope")[:2] == [unknown, unknown]
    assert page.row("Patients needed", "Sensitivity") == ["586 for ±0.05", "exact"]


def test_three_classes_stand(inputs: ReportInputs) -> None:
    classes = make_classes()
    found = with_evaluation(inputs, classes=classes)
    cells = found.row("Each class against the rest", "CN")
    assert cells == ["14", *(shown(one) for one in classes["one_vs_rest"]["CN"].values())]
    macro = found.row("All classes", "AUC, mean over pairs of classes")
    assert macro == [shown(classes["macro"]["auc_hand_till"])]
    assert ["AD", "9.5", "2.5", "3"] in [
        row for name, rows in found.tables.items() if name.startswith("Patients, mean")
        for row in rows
    ]  # fmt: skip


@pytest.mark.parametrize("part", NULL_PARTS)
def test_a_part_that_is_null_is_said_in_words(inputs: ReportInputs, page: Page, part: str) -> None:
    text = " ".join(with_evaluation(inputs, **{part: None}).sections.values())
    whole = " ".join(page.sections.values())
    assert (NULL_PARTS[part] in whole) is (part == "classes")
    assert NULL_PARTS[part] in text


# --- audit -------------------------------------------------------------------------------------


def test_passed_checks_are_listed_and_raise_no_banner(page: Page) -> None:
    assert page.row("Checks of the audit", "Folds partition") == [
        "passed", "15", "0", "nothing", "what folds_partition expects",
    ]  # fmt: skip
    assert "All 2 checks passed." in page.sections["checks"]
    assert "banner failed" not in page.sections


def test_failed_checks_stand_at_the_top_and_first_in_their_list(inputs: ReportInputs) -> None:
    faults = [{"fold": 1, "scan_id": f"{HOSTILE}{i}"} for i in range(7)]
    checks = [make_check("folds_partition"), make_check("no_test_scan_seen", *faults),
              make_check("features_alone", n_checked=0)]  # fmt: skip
    found = with_audit(inputs, checks=checks)
    assert next(iter(key for key in found.sections if key)) == "banner failed"
    banner = found.sections["banner failed"]
    assert banner.startswith("2 checks of the audit did not pass.")
    assert "What no_test_scan_seen looks for: 7 found against it, 15 looked at" in banner
    assert "features_alone looks for: not passed, since there was nothing to look at" in banner
    heads = [cells[0].split(" | ")[0] for cells in found.tables["Checks of the audit"][1:]]
    assert heads == ["No test scan seen", "Features alone", "Folds partition"]
    result, looked, against, faulty, _ = found.row("Checks of the audit", "No test scan seen")
    assert (result, looked, against) == ("FAILED", "15", "7")
    assert faulty.startswith(f"7 in all: | fold: 1, scan id: {HOSTILE}0; fold: 1")
    assert faulty.endswith(f"{HOSTILE}4; and 2 more")
    assert found.states["No test scan seen | What no_test_scan_seen looks for"] == "failed"
    assert not [attrs for tag, attrs in found.tags if "onclick" in attrs]


def test_stress_test_stands_with_p_values_and_inflation_of_each_split(
    inputs: ReportInputs, page: Page
) -> None:
    leakage = make_leakage()
    arm = leakage["arms"]["slice_split_permuted_labels"]
    assert page.row("The arms of the stress test", "Slice split, shuffled labels") == [
        shown(found) for found in arm.values()
    ]
    points = leakage["inflation_by_split"]["slice_split"]
    for head, kind in (("true labels", "true_labels"), ("shuffled labels", "permuted_labels")):
        assert page.row("Points above the split by patient", f"Slice split, {head}") == [
            shown(found, 1) for found in points[kind].values()
        ]
    assert page.row("Split by patient: true", "Slice AUC") == [
        "0.682", "0.501", "1 of 100", "0.021",
    ]  # fmt: skip
    assert "Split by session: not tested, no patient has several scans." in page.sections["leakage"]


def test_identity_and_likeness_stand(page: Page) -> None:
    identity = make_leakage()["identity"]
    near = identity["by_gap"][0]
    assert page.row("The nearest slice", "Slices at least 1 mm") == [
        "1200", shown(near["top1"]), shown(near["top5"]), shown(near["label_recall"]),
    ]  # fmt: skip
    assert page.row("The nearest slice", "Slices of other patients")[3] == (
        shown(identity["label_of_others"])
    )
    assert page.row("The nearest slice", "Guessing")[1:3] == ["2.5 %", "12.5 %"]
    assert identity["sentence"] in page.sections["leakage"]
    assert page.row("Likeness of 40 scans", "Of different") == [
        "780", "-0.189", "-0.009", "0.168", "0.613",
    ]  # fmt: skip
    assert page.row("Likeness of 40 scans", "Of one") == ["0", *["no pair"] * 4]
    alike = "scan-e and scan-f"
    assert page.row("Scans as alike as 0.50", alike) == ["0.613", "P-e and P-f", "yes"]
    assert page.states[alike] == "failed"
    assert "1 pair of scans of different patients look like one person" in page.sections["leakage"]


def test_shortcuts_stand_with_verdict_and_sentence(page: Page) -> None:
    text = page.sections["shortcuts"]
    assert "The features tell age: the score may owe to it." in text
    assert "No patient's site is recorded." in text
    cells = page.row("What the features tell", "Age")
    assert cells[0].startswith("possible: ")
    assert cells[1:5] == [
        "39", "R² 0.411 | 0.331 to 0.491", "0.020",
        "0.62 | standardised mean difference; p = 0.008",
    ]  # fmt: skip
    assert cells[5] == (
        "AD: rank correlation 0.28 (0.20 to 0.36); CN: rank correlation 0.53 (0.45 to 0.61)"
    )
    unknown = page.row("What the features tell", "Site")
    assert unknown[2] == "not defined: | no label has two levels"


def test_what_only_the_full_profile_computes_is_said_to_be_absent(page: Page) -> None:
    text = page.sections["robustness"] + page.sections["learning"]
    assert "Not defined: no patient with two scans; 3 needed." in text
    assert "Not evaluated: only the full profile perturbs scans" in text
    assert "Not computed: only the full profile fits heads on growing numbers" in text
    assert "learning-curve" not in page.drawings


def test_full_audit_shows_retest_robustness_and_several_scans(full: Page) -> None:
    audit = make_full_audit()
    assert full.row("Two scans of one patient: 6", "Called differently") == [
        shown(audit["retest"]["flip_rate"])
    ]
    (worse,) = audit["robustness"]
    names = ("auc_clean", "auc", "auc_change", "balanced_accuracy_clean", "balanced_accuracy")
    cells = full.row("Discrimination of the same patients", "motion 2 mm | of one slice")
    assert cells == ["30", *(shown(worse[name]) for name in names)]
    names = ("flip_rate", "score_change", "score_shift")
    cells = full.row("Scores and calls of the same patients", "motion 2 mm")
    assert cells == ["30", *(shown(worse[name]) for name in names)]
    session = audit["leakage"]["several_scans"]["inflation_by_split"]["session_split"]
    cells = full.row("Points above the split by patient, over 6", "Session split, true labels")
    assert cells == [shown(session["true_labels"]["slice_accuracy"], 1)]
    between = audit["leakage"]["identity"]["between_sessions"]
    cells = full.row("The nearest slice", "Other scans of 6 patients")
    assert cells[1:3] == [shown(between["top1"]), shown(between["top5"])]


def test_full_audit_shows_the_learning_curve_and_the_gain_of_the_trunk(full: Page) -> None:
    curve = make_full_audit()["learning_curve"]
    own, control = curve["tables"]["trained trunk"], curve["tables"]["random trunk"]
    assert full.row("AUC by number of training patients", "16") == [
        shown(own["curve"][0]["auc"]), shown(control["curve"][0]["auc"]),
    ]  # fmt: skip
    assert full.row("Every point of the curve", "trained trunk, 32") == [
        shown(own["curve"][1]["auc"]), "0.686", "0.561 to 0.761 | sd 0.021, 5 runs",
    ]  # fmt: skip
    difference = curve["transfer"]["random trunk"][0]["auc_difference"]
    assert full.row("AUC of the model's features", "16") == ["random trunk", shown(difference)]
    text = full.sections["learning"]
    assert "with 64 training patients in a fold, by an inverse power law: AUC 0.78 (95 %" in text
    assert "AUC not defined: too few sizes." in text
    assert "48 training patients were not tried: a fold has 32 training patients." in text
    assert "learning-curve" in full.drawings


def test_audit_that_was_not_run_says_so_everywhere(inputs: ReportInputs) -> None:
    found = Page(render_report(dataclasses.replace(inputs, audit=None)))
    assert "The audit was not run: nothing was checked." in found.sections["checks"]
    assert "Shortcuts were not probed." in found.sections["shortcuts"]
    assert "banner failed" not in found.sections


# --- hostile names -----------------------------------------------------------------------------


def test_names_from_tables_cannot_become_markup(inputs: ReportInputs) -> None:
    evaluation = make_evaluation()
    evaluation["failures"][0] |= {"patient_id": HOSTILE, "label": HOSTILE}
    evaluation["failures"][0]["covariates"] = {HOSTILE: HOSTILE}
    evaluation["subgroups"]["rows"][0] |= {"level": HOSTILE, "comment": HOSTILE}
    evaluation["subgroups"]["gaps"]["note"] = HOSTILE
    evaluation["age_matched"]["sentence"] = HOSTILE
    evaluation["image_value"] = {HOSTILE: evaluation["image_value"]["age + sex"]}
    evaluation["choices"][0]["threshold_from"] = HOSTILE
    evaluation["classes"] = None
    curve = evaluation["decision_curve"]
    curve["others"] = {HOSTILE: curve["others"]["age"]}
    evaluation["baselines"] = {HOSTILE: evaluation["baselines"]["age"]}
    audit = make_full_audit()
    audit["shortcuts"]["covariates"][0] |= {"covariate": HOSTILE, "sentence": HOSTILE}
    audit["shortcuts"]["covariates"][0]["score"] = {HOSTILE: {"spearman": entry(0.1)}}
    audit["robustness"][0] |= {"name": HOSTILE, "note": HOSTILE}
    audit["duplicates"]["by_features"]["pairs"][0] |= {"scan_a": HOSTILE, "patient_b": HOSTILE}
    tables = audit["learning_curve"]["tables"]
    tables[HOSTILE] = tables.pop("random trunk")
    audit["checks"] = [make_check("no_test_scan_seen", {HOSTILE: HOSTILE})]
    changed = dataclasses.replace(inputs, evaluation=evaluation, audit=audit)
    markup = render_report(changed)
    found = Page(markup)
    assert not [attrs for tag, attrs in found.tags if "onclick" in attrs]
    assert markup.count("&lt;b onclick") >= 20
    assert "50337" not in markup
