"""A prediction for people: one page as a PDF, a row of a table, and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mri_transfer.bundle import UNDECIDED, ModelBundle, Prediction, ScanInference
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report import figures
from mri_transfer.report.blocks.cells import percent
from mri_transfer.report.blocks.wording import interval, number
from mri_transfer.report.render.pdf import print_pages
from mri_transfer.report.render.settings import Paper
from mri_transfer.version import __version__

__all__ = [
    "PREDICTION_COLUMNS",
    "prediction_lines",
    "prediction_pdf",
    "prediction_row",
]

_USE = "Research use only. Not a medical device; not for decisions about a patient."
#: Columns of predictions.csv; the path is known to whoever reads the file.
PREDICTION_COLUMNS = (
    "scan_id",
    "patient_id",
    "path",
    "status",
    "call",
    "label",
    "score",
    "score_low",
    "score_high",
    "threshold",
    "set",
    "p_positive",
    "p_negative",
    "density_p",
    "ventricular_percentile",
    "quality",
    "trained_on",
    "warnings",
    "reasons",
    "scan_sha256",
    "bundle_version",
    "bundle_digest",
)

_COLUMNS, _MAX_TILES, _TILE_PX = 8, 32, 110
_MANY_CHECKS = 12
_MAX_REASONS = 5
_VERDICT_WORDS = {"pass": "met", "fail": "NOT MET", "none": "not checked"}


def _set_words(prediction: Prediction) -> str:
    """Return the set of labels as words."""
    labels = prediction.labels
    if labels is None:
        return "not given: this bundle holds no scores to make sets of"
    share = percent(labels.coverage)
    if len(labels.labels) == 1:
        return f"{labels.labels[0]} alone, at a coverage of {share}"
    if labels.labels:
        return f"{' or '.join(labels.labels)}: neither can be ruled out at a coverage of {share}"
    return f"neither label: the scan is unlike patients of both, at a coverage of {share}"


def prediction_row(prediction: Prediction) -> dict[str, str]:
    """Return a row of predictions.csv; empty where nothing is said."""
    labels, place = prediction.labels, prediction.place
    content: dict[str, Any] = {
        **{name: getattr(prediction, name, None) for name in PREDICTION_COLUMNS},
        "set": None if labels is None else " ".join(labels.labels) or "neither",
        "p_positive": None if labels is None else labels.p_positive,
        "p_negative": None if labels is None else labels.p_negative,
        "density_p": None if place is None else place.density_p,
        "ventricular_percentile": None
        if prediction.ventricles is None
        else prediction.ventricles.percentile,
        "trained_on": _trained_on(prediction),
        "warnings": " ".join(map(str, prediction.warnings)),
        "reasons": " ".join(prediction.reasons),
    }
    return {name: _cell(content[name]) for name in PREDICTION_COLUMNS}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _trained_on(prediction: Prediction) -> str:
    found = prediction.overlap
    return " ".join(
        word for word, is_there in (("patient", found.patient), ("scan", found.scan)) if is_there
    )


def prediction_lines(prediction: Prediction) -> list[str]:
    """Return what a terminal shows of a scan."""
    head = f"{prediction.scan_id}: "
    if prediction.score is None:
        lines = [head + "no prediction"]
    else:
        lines = [
            f"{head}{_call(prediction)}; probability of {prediction.positive_label} "
            f"{number(prediction.score, 2)} ({_span(prediction)})",
            f"  labels: {_set_words(prediction)}",
            *(f"  ventricles: {words}" for words in [_ventricle_words(prediction)] if words),
        ]
    lines += [f"  {reason}" for reason in prediction.reasons]
    return lines + [f"  WARNING: {warning}" for warning in prediction.warnings]


def _ventricle_words(prediction: Prediction) -> str:
    """Return how large the ventricles are; empty where the bundle cannot tell."""
    found = prediction.ventricles
    if found is None:
        return ""
    if found.percentile is None:
        return f"no percentile, {found.why_not}"
    return (
        f"larger than those of {percent(found.percentile)} of people of the same age and sex "
        f"labelled {prediction.negative_label} (norm of {found.n_people} training patients)"
    )


def _call(prediction: Prediction) -> str:
    """Return what is said first; the threshold's call of a scan that is not decided comes later."""
    return str(prediction.call) if prediction.call == UNDECIDED else f"called {prediction.call}"


def _span(prediction: Prediction) -> str:
    return f"{number(prediction.score_low, 2)} to {number(prediction.score_high, 2)}"


def prediction_pdf(
    inference: ScanInference,
    bundle: ModelBundle,
    *,
    orientation: figures.Orientation = "neurological",
    paper: Paper = "a4",
) -> bytes:
    """Return the page of one scan.

    Parameters
    ----------
    inference : ScanInference
    bundle : ModelBundle
        That was asked.
    orientation : {"radiological", "neurological"}
        How slices are shown.
    paper : {'a4', 'us-letter'}
    """
    prediction = inference.prediction
    montage = _montage(inference, orientation)
    content = {
        "title": f"{prediction.scan_id}: " + _headline(prediction),
        "use": _USE,
        "said": prediction.score is not None,
        "warnings": [
            {**warning.as_dict(), "grave": warning.code != "quality"}
            for warning in prediction.warnings
        ],
        "facts": list(_facts(prediction, bundle)),
        "reasons_title": "Why there is no number"
        if prediction.score is None
        else "Why there should be no number",
        "reasons": list(_reasons(prediction)),
        "texts": list(_texts(prediction, bundle)),
        "montage": None if montage is None else montage[0],
        "checks": [
            {
                "title": check.title,
                "found": check.found,
                "expected": check.expected,
                "verdict": check.verdict,
                "words": _VERDICT_WORDS[check.verdict],
            }
            for check in prediction.checks
        ],
        "check_size": 7.0 if len(prediction.checks) > _MANY_CHECKS else 8.0,
        "footer": _footer(prediction),
    }
    files = {} if montage is None else {montage[0]["file"]: montage[1]}
    return print_pages("prediction.typ", content, files, paper=paper)


def _headline(prediction: Prediction) -> str:
    if prediction.score is None:
        return "no prediction"
    forced = "forced, " if prediction.status == "forced" else ""
    return forced + _call(prediction)


def _reasons(prediction: Prediction) -> Iterator[str]:
    """Yield the first reasons whole; the table of checks holds the others."""
    yield from prediction.reasons[:_MAX_REASONS]
    if left := [check.title for check in prediction.failed_checks][_MAX_REASONS:]:
        yield f"And what the table below says of: {', '.join(left)}."


def _facts(prediction: Prediction, bundle: ModelBundle) -> Iterator[dict[str, Any]]:
    if prediction.score is None:
        yield {
            "title": "Prediction",
            "value": "none",
            "size": 17,
            "note": f"{len(prediction.reasons)} of {len(prediction.checks)} checks are not met.",
        }
    else:
        confidence = percent(bundle.facts["bootstrap"]["confidence"])
        yield {
            "title": "Call",
            "value": prediction.call,
            "size": 17,
            "note": f"Labels that cannot be ruled out: {_set_words(prediction)}.",
        }
        yield {
            "title": f"Probability of {prediction.positive_name}",
            "value": number(prediction.score, 2),
            "size": 12,
            "note": f"{_span(prediction)}: where {confidence} of models of other training "
            f"patients would put it. The threshold is {number(prediction.threshold, 2)}: by it "
            f"alone the scan is called {prediction.label}.",
        }
    yield {
        "title": "Quality of the scan",
        "value": {"pass": "good", "warn": "with warnings", "fail": "failed", "none": "not judged"}[
            prediction.quality
        ],
        "size": 12,
        "note": "Used as it came." if prediction.passed_through else "; ".join(prediction.steps),
    }
    yield {
        "title": "Place among training scans",
        "value": "unknown"
        if prediction.place is None
        else f"p = {number(prediction.place.density_p, 3)}",
        "size": 12,
        "note": "Share of training patients whose features lie as far out or farther.",
    }


def _texts(prediction: Prediction, bundle: ModelBundle) -> Iterator[str]:
    place = prediction.place
    if prediction.score is not None and place is not None and place.below_positive is not None:
        yield (
            f"The score is higher than that of {percent(place.below_negative or 0.0)} of the "
            f"training patients labelled {prediction.negative_label} and of "
            f"{percent(place.below_positive)} of those labelled {prediction.positive_label}, each "
            "scored by a head that had not seen that patient."
        )
    if words := _ventricle_words(prediction):
        yield (
            f"Ventricles: {words}. They are measured between the lowest and the highest slice; the "
            "score does not rest on this figure."
        )
    yield _performance(bundle)
    yield (
        "What cannot be seen: a left-right mirrored image; a disease that the training patients "
        "did not have. The probability holds where the disease is as common as in training."
    )


def _performance(bundle: ModelBundle) -> str:
    figures = bundle.facts["performance"]["figures"]
    known = {name: Estimate(**figure) for name, figure in figures.items()}
    parts = [
        f"{title} {number(known[name].value, 2)} ({interval(known[name], 2)})"
        for name, title in (
            ("auc", "AUC"),
            ("sensitivity", "sensitivity"),
            ("specificity", "specificity"),
            ("calibration_slope", "calibration slope"),
        )
        if name in known and known[name].value is not None
    ]
    cohort = bundle.facts["cohort"]
    text = f"Expected of the model, by internal testing on {cohort['n_patients']} patients: "
    text += (", ".join(parts) or "not known") + "."
    measured = None if bundle.conformal is None else bundle.conformal.facts["measured"]
    if measured is not None:
        text += (
            " Sets of labels held the true one for "
            f"{percent(measured['coverage']['all']['value'])} of held-out patients."
        )
    return text


def _montage(
    inference: ScanInference, orientation: figures.Orientation
) -> tuple[Mapping[str, Any], bytes] | None:
    stack, maps = inference.stack, inference.maps
    if stack is None:
        return None
    n = len(stack.pixels)
    at = np.unique(np.linspace(0, n - 1, min(n, _MAX_TILES)).round().astype(int))
    shown = np.zeros((n, 2, 2), dtype=np.float32) if maps is None else maps
    limit = float(np.quantile(np.abs(shown), 0.99))
    content = figures.attribution_png(
        stack.pixels[at],
        shown[at],
        limits=[limit] * len(at),
        z_mm=[float(z) for z in stack.z_mm[at]],
        orientation=orientation,
        columns=_COLUMNS,
        tile_px=_TILE_PX,
    )
    caption = (
        f"{len(at)} of {n} slices, heights by the header. {figures.convention_text(orientation)}"
    )
    if maps is not None:
        positive = inference.prediction.positive_label
        caption += (
            f" Orange raised the log-odds of {positive} beside the average training scan, blue "
            "lowered them (scale: log-odds a place of the map). It shows what moved the score, not "
            "where disease is."
        )
    alt = f"{len(at)} slices of the scan" + ("" if maps is None else ", with attribution in colour")
    rows = -(-len(at) // _COLUMNS)
    # Where much has to be said, the slices leave room for it.
    row_pt = 38 if inference.prediction.reasons else 54
    shown_as = {"file": "montage.png", "alt": alt, "caption": caption, "height": rows * row_pt}
    return shown_as, content


def _footer(prediction: Prediction) -> str:
    return (
        f"Bundle version {prediction.bundle_version}, digest {prediction.bundle_digest or 'none'}."
        f"\nScan SHA-256 {prediction.scan_sha256}. mri-transfer {__version__}. {_USE}"
    )
