"""The page: everything is on it, nothing is fetched, nothing hostile runs."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import RunFolderError
from mri_transfer.report import Montage, ReportInputs, render_report, write_report
from mri_transfer.report.wording import count, estimate, interval, number, p_value
from tests.report.documents import METRIC_NAMES, entry, make_audit, make_inputs

SECTIONS = (
    "brier_parts", "decision_curve", "operating_points", "predictive_values", "precision",
    "subgroups", "age_matched", "failures", "choices", "classes", "image_value",
)  # fmt: skip
HOSTILE = "<script>alert('x')</script>\"&{{ 7*7191 }}"


class Page(HTMLParser):
    """Collects elements and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "path", "use", "rect", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._open and "head" not in self._open and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return make_inputs()


@pytest.fixture(scope="module")
def markup(inputs: ReportInputs) -> str:
    return render_report(inputs)


@pytest.fixture(scope="module")
def page(markup: str) -> Page:
    return Page(markup)


def rendered(inputs: ReportInputs, **changes: Any) -> Page:
    """Render with another evaluation, whose top-level parts are given."""
    evaluation = {**copy.deepcopy(dict(inputs.evaluation)), **changes}
    return Page(render_report(dataclasses.replace(inputs, evaluation=evaluation)))


# --- self-contained ----------------------------------------------------------------------------


def test_page_asks_nothing_of_a_network(page: Page, markup: str) -> None:
    fetching = {"src", "href", "xlink:href", "srcset", "action", "poster", "data", "background"}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in fetching:
                assert value is not None
                assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value[:60])
            for target in re.findall(r"url\(([^)]*)\)", value or ""):
                assert target.startswith("#"), (tag, name, target)
    style = "".join(re.findall(r"<style>(.*?)</style>", markup, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style


def test_page_has_no_script_link_or_frame(page: Page) -> None:
    forbidden = {"script", "link", "iframe", "object", "embed", "base", "form", "foreignobject"}
    assert not forbidden & {tag for tag, _ in page.elements}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


def test_page_forbids_what_it_does_not_need(page: Page) -> None:
    policies = [m for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert [policy["content"] for policy in policies] == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    ]


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, attrs in page.elements if (value := attrs.get("href") or "")}
    assert targets <= set(ids)
    labelled = {
        attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs
    }
    assert labelled <= set(ids)


def test_page_of_140_patients_with_4_montages_is_below_2_mb() -> None:
    inputs = make_inputs(140, 3, n_montages=0)
    rows, columns = np.mgrid[-1:1:224j, -1:1:224j]
    head = (rows**2 / 0.9 + columns**2 / 0.6 < 1).astype(float)
    noise = np.random.default_rng(0).normal(128, 25, (32, 224, 224))
    brain = np.clip(head * noise, 0, 255).astype(np.uint8)
    montage = Montage(
        patient_id="p", label="AD", pixels=brain, z_mm=np.arange(32.0), slice_scores=np.ones(32)
    )
    text = render_report(dataclasses.replace(inputs, montages=[montage] * 4))
    assert len(text.encode()) < 2_000_000


def test_same_inputs_make_the_same_bytes(markup: str) -> None:
    assert render_report(make_inputs()) == markup


def test_written_page_is_the_rendered_page(
    inputs: ReportInputs, markup: str, tmp_path: Path
) -> None:
    write_report(inputs, tmp_path / "index.html")
    assert (tmp_path / "index.html").read_bytes() == markup.encode()


# --- hostile text ------------------------------------------------------------------------------


def test_hostile_text_is_shown_and_never_run(inputs: ReportInputs) -> None:
    evaluation = json.loads(json.dumps(inputs.evaluation).replace('"AD"', json.dumps(HOSTILE)))
    evaluation["caveats"] = [{"code": "x", "text": HOSTILE}]
    evaluation["baselines"] = {HOSTILE: evaluation["baselines"]["age"]}
    evaluation["patient"]["ppv"] = entry(None, reason=HOSTILE)
    audit = make_audit()
    audit["leakage"]["sentence"] = HOSTILE
    audit["duplicates"]["identical_files"] = [[HOSTILE, "b"]]
    audit["shortcuts"] = {HOSTILE: HOSTILE}
    hostile = {"AD": HOSTILE}
    changed = dataclasses.replace(
        inputs,
        title=HOSTILE,
        evaluation=evaluation,
        audit=audit,
        patients=inputs.patients.replace({"label": hostile}).rename(index={"OAS0000": HOSTILE}),
        excluded=inputs.excluded.assign(scan_id=HOSTILE, patient_id=HOSTILE, reason=HOSTILE),
        patient_scores=inputs.patient_scores.replace({"label": hostile, "predicted": hostile}),
        config={HOSTILE: {HOSTILE: HOSTILE}},
        provenance={HOSTILE: [HOSTILE]},
        montages=[dataclasses.replace(inputs.montages[0], patient_id=HOSTILE, label=HOSTILE)],
    )
    page = Page(render_report(changed))
    assert not page.named("script")
    assert page.text.count(HOSTILE) >= 15
    assert "50337" not in page.text
    assert page.named("img")[0]["alt"] is not None
    assert HOSTILE in str(page.named("img")[0]["alt"])


def test_dollar_signs_in_labels_are_not_mathematics(inputs: ReportInputs) -> None:
    assert "share labelled $a$" in rendered(inputs, positive_label="$a$").text


# --- first screen ------------------------------------------------------------------------------


def test_synthetic_cohort_is_the_first_thing_said(inputs: ReportInputs, page: Page) -> None:
    synthetic = rendered(inputs, synthetic=True)
    assert synthetic.texts[0] == "Synthetic cohort."
    assert "say nothing about patients" in synthetic.texts[1]
    assert "In this synthetic cohort" in synthetic.text
    assert "ynthetic" not in page.text


def test_untrained_trunk_is_said_loudly(inputs: ReportInputs, page: Page) -> None:
    assert rendered(inputs, trunk_weights="random").texts[0] == "Untrained trunk."
    assert "Untrained" not in page.text


def test_first_screen_answers_with_interval_and_caveats(page: Page) -> None:
    start = page.text[: page.text.index("Flow of scans")]
    assert "Research use only: not a medical device" in start
    assert "61 times in 100: AUC 0.61 (95 % CI 0.53 to 0.69)." in start.replace("\u00a0", " ")
    assert "Only 40 patients: intervals are wide." in start
    assert "40 patients (20 AD, 20 CN)" in start
    assert "no difference is shown (model minus baseline 0.01, " in start


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.41, 0.69, "guessing is not ruled out"), (0.2, 0.4, "worse than guessing")],
)
def test_answer_says_when_guessing_is_not_excluded(
    inputs: ReportInputs, low: float, high: float, words: str
) -> None:
    patient = {**inputs.evaluation["patient"], "auc": entry((low + high) / 2, (high - low) / 2)}
    assert words in rendered(inputs, patient=patient).text


# --- everything is there -----------------------------------------------------------------------


def test_every_metric_stands_with_value_interval_and_method(
    inputs: ReportInputs, page: Page
) -> None:
    for group in ("patient", "slice"):
        for found in inputs.evaluation[group].values():
            assert number(found["value"]) in page.texts
            assert interval(found) in page.texts
    assert "patient bootstrap" in page.texts


def test_metric_without_a_title_is_not_dropped(inputs: ReportInputs) -> None:
    patient = {**inputs.evaluation["patient"], "net_benefit": entry(0.1234)}
    page = rendered(inputs, patient=patient)
    assert {"Net benefit", "0.123"} <= set(page.texts)


def test_every_exclusion_is_listed_and_counted(inputs: ReportInputs, page: Page) -> None:
    for cells in inputs.excluded.itertuples(index=False):
        assert {str(cell) for cell in cells} <= set(page.texts)
    rows = page.texts[page.texts.index("Scans left out, by stage and reason") :]
    assert rows[4:7] == ["check", "constant image", "2"]
    assert rows[7:10] == ["slices", "too few usable axial slices: 12", "1"]
    flow = page.texts[page.texts.index("Flow of scans and patients") + 1 :]
    assert flow[:4] == ["43", "scans offered", "3", "left out; 2 patients with no scan left"]


def test_no_exclusion_is_said_in_words(inputs: ReportInputs) -> None:
    page = Page(render_report(dataclasses.replace(inputs, excluded=inputs.excluded.iloc[:0])))
    assert "No scan was left out." in page.texts


def test_cohort_table_has_hand_values(inputs: ReportInputs) -> None:
    patients = pd.DataFrame(
        {"label": ["CN", "CN", "AD", ""], "age": [70.0, 74.0, np.nan, 81.0],
         "sex": ["F", "M", "F", ""]},
        index=pd.Index(list("abcd"), name="patient_id"),
    )  # fmt: skip
    scores = inputs.patient_scores.iloc[:3].assign(patient_id=list("abc"))
    changed = dataclasses.replace(inputs, patients=patients, patient_scores=scores)
    texts = Page(render_report(changed)).texts
    start = texts.index("Who was studied")
    assert texts[start + 1 : texts.index("Flow of scans and patients")] == [
        "Characteristic", "All evaluated", "CN", "AD", "Not evaluated",
        "Patients", "3", "2", "1", "1",
        "Age, years: mean (SD)", "72.0 (2.8)", "72.0 (2.8)", "not given", "81.0 (–)",
        "Age, years: missing", "1", "0", "1", "0",
        "Sex: F", "2 (67 %)", "1 (50 %)", "1 (100 %)", "0",
        "Sex: M", "1 (33 %)", "1 (50 %)", "0 (0 %)", "0",
        "Sex: missing", "0", "0", "0", "1",
    ]  # fmt: skip


def test_leakage_arms_inflation_and_claim_stand(page: Page) -> None:
    assert "A study that split by slice would have claimed 93.8 % accuracy." in page.texts
    assert any(text.startswith("Inflation: 26.7 points") for text in page.texts)
    assert {"0.938", "0.898 to 0.978", "0.503", "0.463 to 0.543"} <= set(page.texts)
    assert "scan-a = scan-b" in page.texts


def test_audit_that_was_not_run_is_said(inputs: ReportInputs) -> None:
    page = Page(render_report(dataclasses.replace(inputs, audit=None)))
    assert "The leakage stress test was not run." in page.texts


def test_baselines_repeats_folds_confusion_and_patients_stand(page: Page) -> None:
    assert {"0.582", "0.743", "0.77", "< 0.001"} <= set(page.texts)
    assert {"Each repeat", "Each fold", "0.470", "OAS0013", "75 %", "70 %"} <= set(page.texts)


def test_settings_and_provenance_are_shown_as_they_are(page: Page) -> None:
    expected = {"n_slices", "32", "0.5, 99.5", "ab" * 32, "0123abcd", "mri-transfer report RUN"}
    assert expected <= set(page.texts)


def test_threshold_is_described_as_it_was_set(inputs: ReportInputs, page: Page) -> None:
    config = {**inputs.config, "predictions": {"threshold": 0.4}}
    fixed = Page(render_report(dataclasses.replace(inputs, config=config)))
    assert "The threshold was fixed beforehand at 0.40" in fixed.text
    assert "The threshold was chosen on training patients" in page.text


def test_every_picture_has_words(page: Page) -> None:
    assert len(page.named("img")) == 2
    assert all("32 axial slices" in str(image["alt"]) for image in page.named("img"))
    drawings = page.named("svg")
    assert len(drawings) == 7
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in drawings)


def test_montage_names_height_and_score_of_each_slice(inputs: ReportInputs, page: Page) -> None:
    montage = inputs.montages[0]
    for z, score in zip(montage.z_mm, montage.slice_scores, strict=True):
        where = page.texts.index(f"{number(float(z), 0)} mm")
        assert where
        assert number(float(score), 2) in page.texts


# --- what is not defined -----------------------------------------------------------------------


def test_undefined_values_say_why(inputs: ReportInputs) -> None:
    reason = "no patient was called AD"
    patient = {**inputs.evaluation["patient"], "ppv": entry(None, reason=reason)}
    fold = {"auc": None, "fold": 0, "reasons": {"auc": "one label in the fold"}, "repeat": 0}
    page = rendered(inputs, patient=patient, per_fold=[fold])
    assert "not defined:\none label in the fold" in page.text
    assert page.texts[page.texts.index("Each fold") + 1 :][:3] == ["Repeat", "Fold", "AUC"]
    assert f"not defined:\n{reason}" in page.text
    assert "None" not in page.text
    assert "nan" not in page.text.split()


def test_undefined_auc_and_empty_parts_still_make_a_page(inputs: ReportInputs) -> None:
    patient = {name: entry(None, reason="one label only") for name in METRIC_NAMES}
    evaluation = {
        **inputs.evaluation, "patient": patient, "slice": {}, "per_repeat": [], "per_fold": [],
        "baselines": {}, "roc": None, "calibration": None, "confusion": None, "caveats": [],
        **dict.fromkeys(SECTIONS),
    }  # fmt: skip
    bare = dataclasses.replace(
        inputs, evaluation=evaluation, audit=None, montages=(), config={}, provenance={},
        patient_scores=inputs.patient_scores.iloc[:0], slice_scores=inputs.slice_scores.iloc[:0],
    )  # fmt: skip
    page = Page(render_report(bare))
    assert "There is no answer: the AUC by patient is not defined: one label only." in page.texts
    assert not page.named("svg")


# --- refusals and wording ----------------------------------------------------------------------


def test_another_schema_is_refused(inputs: ReportInputs) -> None:
    with pytest.raises(RunFolderError, match=r"evaluation\.json: .*evaluation/1.*'evaluate'"):
        dataclasses.replace(inputs, evaluation={"schema": "mri-transfer/evaluation/1"})
    with pytest.raises(RunFolderError, match=r"audit/1.*'audit'"):
        dataclasses.replace(inputs, audit={"schema": "mri-transfer/audit/1"})


def test_a_table_without_its_columns_is_refused(inputs: ReportInputs) -> None:
    with pytest.raises(RunFolderError, match=r"excluded: .*lacks columns"):
        dataclasses.replace(inputs, excluded=inputs.excluded.drop(columns="reason"))


def test_a_montage_whose_parts_do_not_fit_is_refused(inputs: ReportInputs) -> None:
    with pytest.raises(RunFolderError, match="OAS0039"):
        dataclasses.replace(inputs.montages[0], z_mm=np.zeros(31))


def test_numbers_become_text_with_sensible_digits() -> None:
    entry = {"value": 0.7834, "ci_low": 0.7, "ci_high": 0.8466, "n": 140}
    assert estimate(entry, confidence=0.95).replace("\u00a0", " ") == (
        "0.78 (95 % CI 0.70 to 0.85)"
    )
    assert number(-0.0123, 2) == "\u22120.01"
    assert number(-0.0001, 2) == "0.00"
    assert number(None) == number(float("nan")) == "not defined"
    assert (count(52.0), count(51.666)) == ("52", "51.7")
    small, middle, large = (p_value(p).replace("\u00a0", " ") for p in (0.0004, 0.0312, 0.77))
    assert (small, middle, large) == ("< 0.001", "= 0.031", "= 0.77")
    assert "no interval: flat" in estimate(
        {"value": 1.0, "ci_low": None, "ci_high": None, "reason": "flat"}, confidence=0.95
    )
