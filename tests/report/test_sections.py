"""Every section of the report shows what the documents hold, and says what they do not hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from mri_transfer.report import ReportInputs
from mri_transfer.report.blocks.blocks import how, joined
from mri_transfer.report.blocks.document import (
    Block,
    Bullets,
    Confusion,
    Figure,
    Folded,
    Heading,
    Section,
    Side,
    Table,
    Text,
)
from mri_transfer.report.schemas import schema_of
from mri_transfer.report.sections.calibration import calibration_section
from mri_transfer.report.sections.comparison import comparison_section
from mri_transfer.report.sections.discrimination import discrimination_section
from mri_transfer.report.sections.failures import failures_section
from mri_transfer.report.sections.leakage import leakage_section
from mri_transfer.report.sections.learning import learning_section
from mri_transfer.report.sections.limits import limits_section
from mri_transfer.report.sections.precision import precision_section
from mri_transfer.report.sections.robustness import robustness_section
from mri_transfer.report.sections.shortcuts import shortcuts_section
from mri_transfer.report.sections.subgroups import subgroups_section
from mri_transfer.report.sections.summary import summary_section
from mri_transfer.report.sections.utility import utility_section
from mri_transfer.report.tables.choice_tables import choice_blocks
from tests.report.documents import (
    entry,
    make_audit,
    make_check,
    make_classes,
    make_evaluation,
    make_full_audit,
    make_inputs,
    make_leakage,
    replaced,
)

HOSTILE = "<b onclick='x'>&{{ 7*7191 }}</b>"
Builder = Callable[[ReportInputs], Section]


def choices_section(inputs: ReportInputs) -> Section:
    """Return what the folds chose as a section of its own."""
    return Section(id="choices", title="", short="", blocks=choice_blocks(inputs))


BUILDERS: tuple[Builder, ...] = (
    summary_section,
    discrimination_section, calibration_section, utility_section, comparison_section,
    leakage_section, shortcuts_section, subgroups_section, robustness_section, failures_section,
    precision_section, learning_section, limits_section, choices_section,
)  # fmt: skip
#: Everything the evaluation may lack, who shows it, and what is said then.
#: Parts of an evaluation that may be empty, and what is said then.
EMPTY_PARTS: dict[str, tuple[Any, Any, str]] = {
    "operating_points": (
        [], utility_section, "No operating points were computed: the configuration names no aim."
    ),
    "predictive_values": (
        [], utility_section, "No predictive values by prevalence were computed."
    ),
    "subgroups": (
        {"rows": [], "gaps": {"rows": [], "note": ""}}, subgroups_section,
        "No subgroup was evaluated.",
    ),
    "failures": ([], failures_section, "No patient was singled out."),
    "choices": ([], choices_section, "Nothing is recorded of what the folds chose."),
    "baselines": (
        {}, comparison_section, "No baseline was computed: the configuration names no covariate."
    ),
    "incremental_value": (
        {}, comparison_section,
        "Not computed: there is no baseline of covariates to add the scan to.",
    ),
}  # fmt: skip


class Page:
    """Reads the tables of sections, by caption, and their texts, by the section's id."""

    def __init__(self, sections: Iterable[Section]) -> None:
        self.tables: dict[str, list[list[str]]] = {}
        self.numbers: dict[str, list[list[str]]] = {}
        self.states: dict[str, str] = {}
        self.roles: dict[str, set[str]] = {}
        self.texts: dict[str, str] = {}
        self.drawings: dict[str, Figure] = {}
        self.crosses: list[Confusion] = []
        self.raw: list[str] = []
        for section in sections:
            self._id = section.id
            self.texts[section.id] = ""
            for block in section.blocks:
                self._read(block)

    def _read(self, block: Block) -> None:
        if isinstance(block, (Folded, Side)):
            for inner in block.blocks:
                self._read(inner)
        elif isinstance(block, Table):
            self._table(block, self.tables)
        elif isinstance(block, Figure):
            self.drawings[block.name] = block
            self._say(block.caption)
            for table in block.numbers:
                self._table(table, self.numbers)
        elif isinstance(block, Bullets):
            for item in block.items:
                self._say(item)
        elif isinstance(block, Confusion):
            self.crosses.append(block)
        elif isinstance(block, (Text, Heading)):
            self._say(block.text)
            if isinstance(block, Text):
                self.roles.setdefault(block.role, set()).add(plain(block.text))
        else:
            raise AssertionError(block)

    def _say(self, text: str) -> None:
        self.raw.append(text)
        self.texts[self._id] += plain(text) + " "

    def _table(self, table: Table, where: dict[str, list[list[str]]]) -> None:
        rows = [[plain(name) for name in table.columns]]
        for row in table.rows:
            head = f"{row.head} | {row.note}" if row.note else row.head
            self.raw += [head, *row.cells]
            rows.append([plain(cell) for cell in (head, *row.cells)])
            self.states[rows[-1][0]] = row.state
        where[plain(table.caption)] = rows

    def row(self, caption: str, head: str) -> list[str]:
        """Return the cells of the row of a table whose head starts so, the head left out."""
        (found,) = [
            rows
            for name, rows in {**self.numbers, **self.tables}.items()
            if name.startswith(caption)
        ]
        return next(cells[1:] for cells in found[1:] if cells[0].startswith(head))


def plain(text: str) -> str:
    """Return a text with plain spaces and minus signs, its small type behind a bar."""
    return text.replace("\u00a0", " ").replace("\u2212", "-").replace("\n", " | ", 1)


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
    return make_inputs()


def read(inputs: ReportInputs, *builders: Builder) -> Page:
    return Page(build(inputs) for build in builders or BUILDERS)


@pytest.fixture(scope="module")
def page(inputs: ReportInputs) -> Page:
    return read(inputs)


@pytest.fixture(scope="module")
def full(inputs: ReportInputs) -> Page:
    return read(replaced(inputs, audit=make_full_audit()))


def with_evaluation(inputs: ReportInputs, builder: Builder, **changes: Any) -> Page:
    evaluation = {**copy.deepcopy(dict(inputs.evaluation.plain())), **changes}
    return read(replaced(inputs, evaluation=evaluation), builder)


def with_audit(inputs: ReportInputs, builder: Builder, **changes: Any) -> Page:
    audit = {**make_audit(), **changes}
    return read(replaced(inputs, audit=audit), builder)


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
    text = page.texts["choices"]
    assert "chosen on the training patients of each fold" in text
    assert "The configured procedure was kept in 1 of 2 folds." in text
    assert "Recalibration, of 2 folds: platt in 2." in text


# --- calibration -------------------------------------------------------------------------------


def test_calibration_measures_and_both_curves_stand(inputs: ReportInputs, page: Page) -> None:
    patient = inputs.evaluation.plain()["patient"]
    caption = "How far scores are from probabilities"
    heads = {
        "calibration_intercept": "Calibration intercept", "calibration_slope": "Calibration slope",
        "ici": "ICI | Integrated", "e50": "E50", "e90": "E90", "emax": "Emax",
        "ici_if_calibrated": "ICI by chance", "brier": "Brier score",
    }  # fmt: skip
    for name, head in heads.items():
        assert " | ".join(page.row(caption, head)[:2]) == shown(patient[name])
    parts = inputs.evaluation.plain()["brier_parts"]
    cells = page.row("Parts of the Brier score", "Discrimination")
    assert " | ".join(cells[:2]) == shown(parts["discrimination"])
    assert page.row("Groups of patients", "0.350") == ["0.310 | 0.200 to 0.450", "8"]
    assert page.row("Smooth curve", "0.402") == ["0.452 | 0.300 to 0.600"]
    assert "calibration" in page.drawings


def test_chance_of_the_ici_and_the_sum_of_the_brier_score_are_explained(
    inputs: ReportInputs, page: Page
) -> None:
    text = page.texts["calibration"]
    mean, span = shown(inputs.evaluation.plain()["patient"]["ici_if_calibrated"]).split(" | ")
    assert f"would show {mean} on average in a cohort of this size (central range {span})" in text
    assert "Brier score 0.705 = miscalibration 0.011 - discrimination 0.072 + uncertainty" in text


def test_missing_band_is_said(inputs: ReportInputs) -> None:
    calibration = copy.deepcopy(inputs.evaluation.plain()["calibration"])
    calibration["smooth"] |= {"ci_low": None, "ci_high": None, "reason": "two patients only"}
    found = with_evaluation(inputs, calibration_section, calibration=calibration)
    assert "The smooth curve has no band: two patients only." in found.texts["calibration"]
    drawn = with_evaluation(inputs, summary_section, calibration=calibration)
    assert drawn.row("Smooth curve", "0.402") == ["0.452 | no interval: two patients only"]


# --- utility -----------------------------------------------------------------------------------


def test_decision_curve_names_the_best_covariate_baseline_and_all_numbers(
    inputs: ReportInputs, page: Page
) -> None:
    curve = inputs.evaluation.plain()["decision_curve"]
    (whole,) = [rows for name, rows in page.numbers.items() if "by threshold" in name]
    assert whole[0][-2:] == ["age + nwbv", "Model minus age + nwbv"]
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
    assert "at thresholds of 15 % to 25 %: there" in page.texts["utility"]
    curve = copy.deepcopy(inputs.evaluation.plain()["decision_curve"])
    curve["gain"] = [entry(0.01) for _ in curve["gain"]]
    text = with_evaluation(inputs, utility_section, decision_curve=curve).texts["utility"]
    assert "At no threshold is acting on the score shown to be better" in text


def test_operating_points_and_predictive_values_stand(inputs: ReportInputs, page: Page) -> None:
    (point,) = inputs.evaluation.plain()["operating_points"]
    names = ("sensitivity", "specificity", "ppv", "npv", "positive_likelihood_ratio",
             "negative_likelihood_ratio")  # fmt: skip
    cells = page.row("Operating points", "Aim: sensitivity 0.9")
    assert cells[0] == "0.356 | 0.262 to 0.437 over folds"
    assert cells[1:] == [shown(point[name]) for name in names]
    own = page.row("Operating points", "As called")
    assert own[1:] == [shown(inputs.evaluation.plain()["patient"][name]) for name in names]
    rare = inputs.evaluation.plain()["predictive_values"][0]
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
    found = inputs.evaluation.plain()["baselines"]["age"]
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


def test_what_the_image_adds_stands_with_age_and_sex_first(
    inputs: ReportInputs, page: Page
) -> None:
    text = page.texts["comparison"]
    adds = "The image adds to age + sex: joined, the AUC is 0.80; joined minus age + sex alone 0.16"
    assert adds in text
    missing = "What the image adds to age + nwbv is not known: no joined model: no inner scores."
    assert text.index(adds) < text.index(missing)
    assert "The uncorrected p value of the likelihood ratio test is too small" in text
    found = inputs.evaluation.plain()["incremental_value"]["age + sex"]
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
    found = copy.deepcopy(inputs.evaluation.plain()["incremental_value"]["age + sex"])
    found["joined_minus_covariates"] = entry(gain, p=0.6)
    text = with_evaluation(inputs, comparison_section, incremental_value={"age": found}).texts[
        "comparison"
    ]
    assert words in text
    assert "The image adds to" not in text


# --- groups ------------------------------------------------------------------------------------


def test_subgroups_that_are_too_small_are_quiet_and_say_why(
    inputs: ReportInputs, page: Page
) -> None:
    large = inputs.evaluation.plain()["subgroups"]["rows"][0]
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
    assert "the p value for all together holds for all." in page.texts["subgroups"]


def test_evaluation_at_equal_age_stands(inputs: ReportInputs, page: Page) -> None:
    found = inputs.evaluation.plain()["age_matched"]
    assert found["sentence"] in page.texts["subgroups"]
    for head, part in (("All", "all"), ("Matched", "matched"), ("Weighted", "weighted")):
        cells = page.row("At equal age", head)
        assert cells[:2] == [shown(found[part]["auc"]), shown(found[part]["age_auc"])]
        assert cells[2] == f"{found[part]['age_difference_years']:.1f}"
    won = page.row("At equal age", "Within pairs")[0]
    assert won == shown(found["matched"]["won_within_pairs"])
    assert "1 patient of unknown age is left out." in page.texts["subgroups"]


def test_failures_stand_with_slices_and_what_is_known(page: Page) -> None:
    assert page.row("The patients whom", "OAS0021 | age 64, sex M") == [
        "AD", "0.08", "0.05 to 0.11", "0.47", "2.47", "50 %", "0.93 at 4 mm", "0.04 at 0 mm",
    ]  # fmt: skip


def test_precision_and_sample_size_stand(page: Page) -> None:
    assert page.row("Half-width", "AUC") == ["0.614", "±0.081", "±0.083"]
    unknown = "not defined: | no slope was fitted"
    assert page.row("Half-width", "Calibration slope")[:2] == [unknown, unknown]
    assert page.row("Patients needed", "Sensitivity") == ["586 for ±0.05", "exact"]


def test_three_classes_stand(inputs: ReportInputs) -> None:
    classes = make_classes()
    found = with_evaluation(inputs, discrimination_section, classes=classes)
    cells = found.row("Each class against the rest", "CN")
    assert cells == ["14", *(shown(one) for one in classes["one_vs_rest"]["CN"].values())]
    macro = found.row("All classes", "AUC, mean over pairs of classes")
    assert macro == [shown(classes["macro"]["auc_hand_till"])]
    (three,) = found.crosses
    assert three.labels == ("AD", "CN", "MCI")
    assert three.counts[0] == (10, 2, 3)  # of 9.5, 2.5 and 3


@pytest.mark.parametrize("part", EMPTY_PARTS)
def test_a_part_that_is_empty_is_said_in_words(inputs: ReportInputs, page: Page, part: str) -> None:
    empty, builder, words = EMPTY_PARTS[part]
    found = with_evaluation(inputs, builder, **{part: empty})
    assert words in found.roles["missing"]
    assert (words in page.roles["missing"]) is (part == "classes")


# --- audit -------------------------------------------------------------------------------------


def test_passed_checks_are_listed_and_raise_no_banner(page: Page) -> None:
    assert page.row("Checks of the audit", "Folds partition") == [
        "passed", "15", "0", "nothing", "what folds_partition expects",
    ]  # fmt: skip
    assert "All 2 checks passed." in page.texts["leakage"]


def test_failed_checks_stand_first_in_their_list(inputs: ReportInputs) -> None:
    faults = [{"fold": 1, "scan_id": f"{HOSTILE}{i}"} for i in range(7)]
    checks = [make_check("folds_partition"), make_check("no_test_scan_seen", *faults),
              make_check("features_alone", n_checked=0)]  # fmt: skip
    found = with_audit(inputs, leakage_section, checks=checks)
    assert "2 of 3 checks did not pass." in found.roles["fault"]
    heads = [cells[0].split(" | ")[0] for cells in found.tables["Checks of the audit"][1:]]
    assert heads == ["No test scan seen", "Features alone", "Folds partition"]
    result, looked, against, faulty, _ = found.row("Checks of the audit", "No test scan seen")
    assert (result, looked, against) == ("FAILED", "15", "7")
    assert faulty.startswith(f"7 in all: | fold: 1, scan id: {HOSTILE}0; fold: 1")
    assert faulty.endswith(f"{HOSTILE}4; and 2 more")
    assert found.states["No test scan seen | What no_test_scan_seen looks for"] == "failed"


def test_stress_test_stands_with_p_values_and_inflation_of_each_split(
    inputs: ReportInputs, page: Page
) -> None:
    leakage = make_leakage()
    arm = leakage["arms"]["slice_split_permuted_labels"]
    assert page.row("The arms of the stress test", "Slice split, permuted labels") == [
        shown(found) for found in arm.values()
    ]
    points = leakage["inflation_by_split"]["slice_split"]
    for head, kind in (("true labels", "true_labels"), ("permuted labels", "permuted_labels")):
        assert page.row("Points above the split by patient", f"Slice split, {head}") == [
            shown(found, 1) for found in points[kind].values()
        ]
    assert page.row("Split by patient: true", "Slice AUC") == [
        "0.682", "0.501", "1 of 100", "0.021",
    ]  # fmt: skip
    assert "Split by session: not tested, no patient has several scans." in page.texts["leakage"]


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
    assert identity["sentence"] in page.texts["leakage"]
    assert page.row("Likeness of 40 scans", "Of different") == [
        "780", "-0.189", "-0.009", "0.168", "0.613",
    ]  # fmt: skip
    assert page.row("Likeness of 40 scans", "Of one") == ["0", *["no pair"] * 4]
    alike = "scan-e and scan-f"
    assert page.row("Scans as alike as 0.50", alike) == ["0.613", "P-e and P-f", "yes"]
    assert page.states[alike] == "failed"
    assert "1 pair of scans of different patients look like one person" in page.texts["leakage"]


def test_shortcuts_stand_with_verdict_and_sentence(page: Page) -> None:
    text = page.texts["shortcuts"]
    assert "The features tell age: the score may owe to it." in text
    assert "No patient's site is recorded." in text
    cells = page.row("What the features predict", "Age")
    assert cells[0].startswith("possible: ")
    assert cells[1:5] == [
        "39", "R² 0.411 | 0.331 to 0.491", "0.020",
        "0.62 | standardised mean difference; p = 0.008",
    ]  # fmt: skip
    assert cells[5] == (
        "AD: rank correlation 0.28 (0.20 to 0.36); CN: rank correlation 0.53 (0.45 to 0.61)"
    )
    unknown = page.row("What the features predict", "Site")
    assert unknown[2] == "not defined: | no label has two levels"


def test_of_a_sample_the_patients_probed_are_counted(full: Page) -> None:
    assert full.row("What the features predict", "Age")[1] == "39, 29 of them probed"


def test_what_only_the_full_profile_computes_is_said_to_be_absent(page: Page) -> None:
    text = page.texts["robustness"] + page.texts["learning"]
    assert "agreement is not defined, no patient with two scans; 3 needed." in text
    assert "Degraded scans: not evaluated; only the full profile does that." in text
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
    calls = ("flip_rate", "score_change", "score_shift")
    cells = full.row("Scores and calls of the same patients", "motion 2 mm")
    assert cells == ["30", *(shown(worse[name]) for name in calls)]
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
    text = full.texts["learning"]
    assert "with 64 training patients in a fold, by an inverse power law: AUC 0.78 (95 %" in text
    assert "AUC not defined: too few sizes." in text
    assert "48 training patients were not tried: a fold has 32 training patients." in text
    assert "learning-curve" in full.drawings


def test_audit_that_was_not_run_says_so_everywhere(inputs: ReportInputs) -> None:
    found = read(
        replaced(inputs, audit=None),
        leakage_section, shortcuts_section, robustness_section, learning_section,
    )  # fmt: skip
    assert found.roles["missing"] == {
        "The audit was not run: nothing was checked.",
        "Shortcuts were not tested.",
        "Two scans of one patient: agreement was not evaluated.",
        "Degraded scans: not evaluated; only the full profile does that.",
        "Not computed: only the full profile fits heads on growing numbers of patients.",
    }
    assert not found.drawings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"identical_files": [], "pairs": []},
            "No duplicates: no two scans are the same file, no two patients look like one person, "
            "and no patient's scans look like two people.",
        ),
        (
            {
                "pairs": [
                    {
                        "kind": "sessions that differ",
                        "mirrored": False,
                        "across_patients": False,
                        "scan_a": "s1",
                        "scan_b": "s2",
                        "patient_a": "P7",
                        "patient_b": "P7",
                        "similarity": 0.1,
                    }
                ]
            },
            "s1 and s2 (patient P7): similarity 0.10",
        ),
        ({"by_features": {"reason": "one scan"}}, "Not compared: one scan."),
        ({}, "Same file: 1 pair of scans have the same content: scan-a = scan-b"),
        ({}, "scan-c (patient P-c) and scan-d (patient P-d): same brain"),
    ],
)
def test_duplicates_are_named_or_said_to_be_none(
    inputs: ReportInputs, changes: dict[str, Any], words: str
) -> None:
    duplicates = make_audit()["duplicates"]
    features = {**duplicates["by_features"], **changes.get("by_features", {})}
    duplicates |= {**changes, "by_features": features}
    found = with_audit(inputs, leakage_section, duplicates=duplicates)
    assert words in found.texts["leakage"]


# --- figures -----------------------------------------------------------------------------------


def test_every_figure_is_one_svg_with_the_numbers_of_what_is_drawn(full: Page) -> None:
    assert set(full.drawings) == {
        "roc", "patient-scores", "slice-profile", "calibration", "decision-curve",
        "auc-comparison", "leakage", "learning-curve",
    }  # fmt: skip
    for drawing in full.drawings.values():
        assert ElementTree.fromstring(drawing.svg).tag.endswith("svg")
        assert all(table.rows for table in drawing.numbers)
        assert drawing.numbers


def test_numbers_of_figures_are_those_of_the_documents(inputs: ReportInputs, full: Page) -> None:
    roc = inputs.evaluation.plain()["roc"]
    assert [row[1] for row in full.numbers["Points of the ROC curve"][1:]] == [
        f"{value:.3f}" for value in roc["tpr"]
    ]
    auc = {row[0]: row[1:] for row in full.numbers["AUC by patient"][1:]}
    for name, found in inputs.evaluation.plain()["baselines"].items():
        assert " | ".join(auc[name]) == shown(found["auc"])
    arm = make_leakage()["arms"]["slice_split_permuted_labels"]["slice_accuracy"]
    assert " | ".join(full.row("Slice accuracy of the arms", "Slice split, permuted")) == shown(arm)
    scores = inputs.slice_scores
    for label, column in (("CN", 1), ("AD", 2)):
        ids = inputs.patients.index[inputs.patients["label"] == label]
        mean = scores[scores["patient_id"].isin(ids) & (scores["slice"] == 31)]["score"].mean()
        rows = full.numbers["Mean slice score by slice, from the lowest to the highest"]
        assert rows[-1][column] == f"{mean:.3f}"


def test_slice_level_is_folded_and_called_not_the_answer(inputs: ReportInputs) -> None:
    blocks = discrimination_section(inputs).blocks
    (fold,) = [
        block
        for block in blocks
        if isinstance(block, Folded) and block.title == "By slice: not the answer"
    ]
    assert [type(block) for block in fold.blocks] == [Text, Table, Figure]
    whole = [block for block in blocks if isinstance(block, Table)]
    assert not [table for table in whole if "Slice level" in table.caption]


def test_blocks_are_joined_without_what_is_none() -> None:
    blocks = joined(None, [None, how("a")], how("b"))
    assert [block.text for block in blocks if isinstance(block, Text)] == ["a", "b"]
    assert len(blocks) == 2


# --- limits ------------------------------------------------------------------------------------


def limits(inputs: ReportInputs, **evaluation: Any) -> str:
    return with_evaluation(inputs, limits_section, **evaluation).texts["limits"]


def test_limits_follow_from_cohort_and_settings(inputs: ReportInputs) -> None:
    text = limits(inputs)
    ages = inputs.patients["age"].dropna()
    assert f"Patients were {ages.min():.0f} to {ages.max():.0f} years old" in text
    assert "from z = -20 to 42 mm (medians over scans), a slab of 62 mm" in text
    assert "the scanner of the scans not being recorded and all scans whose site is known" in text
    assert "50 % of the patients are labelled AD" in text
    assert "3 scans were left out" in text
    assert "Subgroups with too few patients to say anything: CDR 2." in text
    assert "Degraded scans: " in text
    assert "scored one by one and joined" in text


def test_limits_of_the_full_profile_do_not_call_robustness_untested(inputs: ReportInputs) -> None:
    text = read(replaced(inputs, audit=make_full_audit()), limits_section).texts
    assert "Degraded scans: " not in text["limits"]
    assert "A second scan: " not in text["limits"]


def test_limits_of_a_synthetic_cohort_and_of_a_random_trunk(inputs: ReportInputs) -> None:
    text = limits(inputs, synthetic=True, trunk_weights="random")
    assert "The figures describe no real patients." in text
    assert "Other sites and scanners" not in text
    assert "reference standard is" not in text
    assert "the trunk's weights are random" in text


@pytest.mark.parametrize(
    ("ratings", "clinical"),
    [({"CN": 0.0, "AD": 1.0}, True), ({"CN": 0.0, "AD": 0.0}, False), ({"AD": 1.0}, False)],
)
def test_a_label_that_follows_the_rating_is_called_clinical(
    inputs: ReportInputs, ratings: dict[str, float], clinical: bool
) -> None:
    patients = inputs.patients.assign(cdr=inputs.patients["label"].map(ratings))
    if not clinical:
        patients.loc[patients.index[-1], "cdr"] = 1.0
    text = read(replaced(inputs, patients=patients), limits_section).texts["limits"]
    assert ("the reference standard is a clinical rating" in text) is clinical
    assert ("How it was decided the software does not know" in text) is not clinical


def test_what_only_the_authors_know_is_asked_of_them(page: Page) -> None:
    (asked,) = page.roles["supply"]
    assert "consent and approval" in asked


# --- hostile names -----------------------------------------------------------------------------


def test_names_from_tables_stay_as_they_are_and_drawings_escape_them(inputs: ReportInputs) -> None:
    evaluation = make_evaluation()
    evaluation["failures"][0] |= {"patient_id": HOSTILE, "label": HOSTILE}
    evaluation["failures"][0]["covariates"] = {HOSTILE: HOSTILE}
    evaluation["subgroups"]["rows"][0] |= {"level": HOSTILE, "comment": HOSTILE}
    evaluation["subgroups"]["gaps"]["note"] = HOSTILE
    evaluation["age_matched"]["sentence"] = HOSTILE
    evaluation["incremental_value"] = {HOSTILE: evaluation["incremental_value"]["age + sex"]}
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
    found = read(replaced(inputs, evaluation=evaluation, audit=audit))
    assert sum(text.count(HOSTILE) for text in found.raw) >= 20
    for drawing in found.drawings.values():
        tags = {
            element.tag.split("}")[-1] for element in ElementTree.fromstring(drawing.svg).iter()
        }
        assert "b" not in tags
