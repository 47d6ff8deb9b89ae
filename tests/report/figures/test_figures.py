"""Figures show the arrays they were given, say so in words, and come out the same every time."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from mri_transfer.report import figures
from tests.report.documents import audit_with, estimate_of, evaluation_of
from tests.report.figures.axes import line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = ("CN", "AD")
SVG = "{http://www.w3.org/2000/svg}"


def _entry(value: float | None, half: float | None = 0.05) -> dict[str, Any]:
    return dataclasses.asdict(estimate_of(value, half))


EVALUATION: dict[str, Any] = {
    "n_patients": 9,
    "confidence": 0.95,
    "positive_label": "AD",
    "patient": {"auc": _entry(0.78), "sensitivity": _entry(0.7), "specificity": _entry(0.8)},
    "roc": {"fpr": [0.0, 0.0, 0.25, 0.5, 1.0], "tpr": [0.0, 0.4, 0.6, 0.8, 1.0]},
    "calibration": {
        "predicted": [0.2, 0.5, 0.9], "observed": [0.1, 0.6, 0.8], "n": [3, 4, 2],
        "ci_low": [0.0, 0.3, 0.5], "ci_high": [0.3, 0.8, 1.0],
    },
}  # fmt: skip
ARMS = {
    "patient_split_true_labels": 0.67, "slice_split_true_labels": 0.94,
    "patient_split_permuted_labels": 0.5, "slice_split_permuted_labels": 0.91,
}  # fmt: skip
SCORES = pd.DataFrame(
    [(r, p, lab, s + r / 50) for r in (0, 1)
     for p, lab, s in (("a", "CN", 0.2), ("b", "CN", 0.4), ("c", "AD", 0.41), ("d", "AD", 0.9))],
    columns=["repeat", "patient_id", "label", "score"],
)  # fmt: skip
PROFILE = pd.DataFrame({"CN": [0.3, 0.4, 0.35], "AD": [0.6, 0.7, 0.8]}, index=[0, 1, 2])

MADE = evaluation_of(**EVALUATION)
MODEL = MADE.patient.auc
BASELINES = {"age": estimate_of(0.61), "sex": estimate_of(None)}

DRAWINGS: dict[str, Callable[[], str]] = {
    "roc": lambda: figures.draw_roc(MADE),
    "calibration": lambda: figures.draw_calibration(MADE),
    "patient-scores": lambda: figures.draw_patient_scores(SCORES, labels=LABELS),
    "slice-profile": lambda: figures.draw_slice_profile(PROFILE, labels=LABELS),
    "auc-comparison": lambda: figures.draw_auc_comparison(MODEL, BASELINES),
    "leakage": lambda: figures.draw_leakage(audit_with(ARMS)),
}


# --- the arrays --------------------------------------------------------------------------------


def test_roc_line_and_operating_point_are_those_of_the_evaluation(ax: Axes) -> None:
    figures.plot_roc(ax, MADE)
    roc = EVALUATION["roc"]
    np.testing.assert_array_equal(line(ax, "roc"), np.column_stack([roc["fpr"], roc["tpr"]]))
    np.testing.assert_allclose(line(ax, "operating-point"), [[0.2, 0.7]])


def test_roc_without_a_threshold_has_no_operating_point(ax: Axes) -> None:
    patient = {**EVALUATION["patient"], "sensitivity": _entry(None)}
    figures.plot_roc(ax, evaluation_of(**{**EVALUATION, "patient": patient}))
    assert "operating-point" not in {line.get_gid() for line in ax.lines}


def test_calibration_points_counts_and_intervals_are_those_given(ax: Axes) -> None:
    figures.plot_calibration(ax, MADE)
    curve = EVALUATION["calibration"]
    points = np.column_stack([curve["predicted"], curve["observed"]])
    np.testing.assert_array_equal(line(ax, "calibration"), points)
    segments = np.array(ax.collections[0].get_paths()[:2][0].vertices)
    np.testing.assert_allclose(segments, [[0.2, 0.0], [0.2, 0.3]])
    assert {text.get_text() for text in ax.texts} >= {"3", "4", "2"}


def test_calibration_says_a_common_count_once(ax: Axes) -> None:
    calibration = {**EVALUATION["calibration"], "n": [3, 3, 3]}
    figures.plot_calibration(ax, evaluation_of(**{**EVALUATION, "calibration": calibration}))
    assert "3 patients a point" in {text.get_text() for text in ax.texts}
    assert "3" not in {text.get_text() for text in ax.texts}


def test_patient_scores_are_means_over_repeats_one_dot_each(ax: Axes) -> None:
    figures.plot_patient_scores(ax, SCORES, labels=LABELS)
    np.testing.assert_allclose(line(ax, "row0")[:, 0], [0.21, 0.41])
    np.testing.assert_allclose(line(ax, "row1")[:, 0], [0.42, 0.91])


def test_dots_of_a_crowd_stay_in_their_row(ax: Axes) -> None:
    crowd = pd.DataFrame({"patient_id": [f"p{i}" for i in range(300)], "label": "AD", "score": 0.5})
    figures.plot_patient_scores(ax, crowd, labels=LABELS)
    heights = line(ax, "row1")[:, 1]
    assert len(np.unique(heights)) == 300
    assert np.abs(heights - 1).max() <= 0.4
    assert len(line(ax, "row0")) == 0


def test_slice_profile_lines_are_those_given(ax: Axes) -> None:
    figures.plot_slice_profile(ax, PROFILE, labels=LABELS)
    np.testing.assert_array_equal(line(ax, "profile-0")[:, 1], PROFILE["CN"])
    np.testing.assert_array_equal(line(ax, "profile-1")[:, 1], PROFILE["AD"])


def test_auc_comparison_leaves_out_what_is_not_defined(ax: Axes) -> None:
    figures.plot_auc_comparison(ax, MODEL, BASELINES)
    values = [line(ax, gid)[0, 0] for gid in ("auc0", "auc1")]
    assert values == [0.78, 0.61]
    texts = {text.get_text() for text in ax.texts}
    assert {"this model", "age"} <= texts
    assert "sex" not in texts


def test_leakage_bars_are_as_long_as_the_arms_accuracy(ax: Axes) -> None:
    figures.plot_leakage(ax, audit_with(ARMS))
    assert [bar.get_width() for bar in ax.patches] == list(ARMS.values())  # type: ignore[attr-defined]


def test_low_baseline_stays_inside_the_axes(ax: Axes) -> None:
    figures.plot_auc_comparison(ax, MODEL, {"age": estimate_of(0.3)})
    assert ax.get_xlim()[0] <= 0.25


# --- the SVG -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWINGS)
def test_svg_is_well_formed_titled_and_of_its_own_ids(name: str) -> None:
    root = ET.fromstring(DRAWINGS[name]())
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    title = root[0]
    assert title.tag == f"{SVG}title"
    assert title.attrib["id"] == root.attrib["aria-labelledby"] == f"{name}-title"
    assert len(title.text or "") > 20
    assert all(e.attrib["id"].startswith(f"{name}-") for e in root.iter() if "id" in e.attrib)


@pytest.mark.parametrize("name", DRAWINGS)
def test_svg_loads_nothing_and_dates_nothing(name: str) -> None:
    text = DRAWINGS[name]()
    body = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    body = re.sub(r'xmlns:xlink="[^"]*"', "", body)
    assert "http" not in body
    assert not re.search(r"<(style|metadata|script|image|!DOCTYPE|\?xml)", body)
    references = re.findall(r'url\(([^)]*)\)|href="([^"]*)"', body)
    assert all((url or href).startswith(f"#{name}-") for url, href in references)


@pytest.mark.parametrize("name", DRAWINGS)
def test_svg_has_the_same_bytes_twice_whatever_the_users_style(name: str) -> None:
    import matplotlib

    first = DRAWINGS[name]()
    with matplotlib.rc_context({"xtick.major.size": 20, "font.size": 30, "svg.hashsalt": "x"}):
        assert DRAWINGS[name]() == first


@pytest.mark.parametrize("name", DRAWINGS)
def test_colours_follow_the_page(name: str) -> None:
    """Every colour is a variable with a fallback, so none is lost on a dark page."""
    text = DRAWINGS[name]()
    bare = set(re.findall(r"(?<!, )#[0-9a-f]{6}\b", text))
    assert not bare, bare


def test_hostile_text_stays_text() -> None:
    hostile = "</svg><script>x</script>$a$"
    text = figures.draw_calibration(evaluation_of(**{**EVALUATION, "positive_label": hostile}))
    root = ET.fromstring(text)
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    assert f"share labelled {hostile}" in "".join(root.itertext())


def test_alt_text_carries_the_numbers() -> None:
    title = ET.fromstring(figures.draw_roc(MADE))[0].text
    assert title == "ROC curve of 9 patients. AUC 0.78, 95\u00a0% CI 0.73 to 0.83."


def test_undefined_auc_is_said_in_the_figure() -> None:
    text = figures.draw_roc(evaluation_of(**{**EVALUATION, "patient": {"auc": _entry(None)}}))
    assert "AUC not defined" in text


def test_matplotlib_is_imported_only_when_something_is_drawn() -> None:
    import subprocess
    import sys

    code = "import sys, mri_transfer.report.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_calibration_plot_counts_whole_patients_and_cuts_no_point() -> None:
    curve = {
        "predicted": [0.1, 0.5, 0.95], "observed": [0.0, 0.5, 1.0], "n": [7 / 3, 8 / 3, 7 / 3],
        "ci_low": [0.0, 0.2, 0.4], "ci_high": [0.6, 0.8, 1.0],
    }  # fmt: skip
    svg = figures.draw_calibration(evaluation_of(**{**EVALUATION, "calibration": curve}))
    words = [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert "about 2 patients a point" in words
    assert not any("2.3" in text for text in words)
    spread = {**curve, "n": [7 / 3, 29 / 3, 12.0]}
    svg = figures.draw_calibration(evaluation_of(**{**EVALUATION, "calibration": spread}))
    words = [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert {"2", "10", "12"} <= set(words)
