"""Model card and data sheet: what others must know before they use the model or the cohort.

Both are Markdown, and begin with the fields by which the Hugging Face Hub files such cards.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_transfer.core.files import atomic_write_text
from mri_transfer.core.specs import spec_dict
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.models.heads import AnyHeadSpec
from mri_transfer.models.trunks import TRUNKS, TrunkSpec, weights_released
from mri_transfer.report.blocks.report import Front
from mri_transfer.report.blocks.wording import label_of
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.pages.data_questions import SUPPLY, data_questions
from mri_transfer.report.render.markdown import Markdown, markdown_table, render_markdown
from mri_transfer.report.summary import threshold
from mri_transfer.report.tables.calibration_tables import calibration_table
from mri_transfer.report.tables.cohort import cohort_table
from mri_transfer.report.tables.group_tables import subgroup_table
from mri_transfer.report.tables.tables import metric_table
from mri_transfer.scans.slices import SliceSpec
from mri_transfer.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["data_sheet", "model_card", "write_data_sheet", "write_model_card"]

#: Our names of metrics, and those that the Hub knows.
_HUB_METRICS = {
    "auc": "roc_auc",
    "balanced_accuracy": "balanced_accuracy",
    "accuracy": "accuracy",
    "sensitivity": "recall",
    "specificity": "specificity",
    "ppv": "precision",
    "brier": "brier_score",
}
_DIGITS = 4
_TAGS = ("mri", "t1-weighted", "brain", "medical-imaging", "transfer-learning", "research-use-only")
#: Numbers of examples by which the Hub sorts data sets.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def model_card(inputs: ReportInputs, front: Front) -> str:
    """Return the model card of a run.

    Parameters
    ----------
    inputs : ReportInputs
    front : Front
        The first screen of the report: the card says the same in the same words.

    Returns
    -------
    str
        Markdown with YAML front matter, the same for the same inputs. Texts of the manifest are
        escaped.
    """
    task = inputs.task
    weights = inputs.evaluation.trunk_weights
    return render_markdown(
        "model_card.md.jinja",
        front_matter=_model_front_matter(inputs),
        title=inputs.title,
        front=front,
        made_by=f"mri-transfer {__version__}",
        supply=SUPPLY,
        trunk={
            "name": inputs.settings.trunk.name,
            "weights": weights,
            "digest": inputs.provenance.trunk_sha256 if inputs.provenance else None,
        },
        trunk_licence=_trunk_licence(inputs.settings.trunk),
        head=_settings(inputs.settings.heads),
        slices=_settings(inputs.settings.slices),
        positive=task.positive,
        negative=task.negative,
        threshold=threshold(inputs),
        cohort=markdown_table(cohort_table(inputs)),
        metrics=markdown_table(metric_table(inputs)),
        calibration=markdown_table(calibration_table(inputs)),
        subgroups=markdown_table(subgroup_table(inputs)),
        seed=inputs.settings.seed,
        n_artefacts=len(inputs.artefacts),
    )


def _trunk_licence(trunk: TrunkSpec) -> str:
    if trunk.weights == "random":
        return "The trunk's weights are random numbers."
    if weights_released(trunk):
        return TRUNKS[trunk.name].citation
    return f"Licence of the trunk's weights: {SUPPLY}"


def data_sheet(inputs: ReportInputs) -> str:
    """Return the data sheet of a run's cohort.

    Parameters
    ----------
    inputs : ReportInputs

    Returns
    -------
    str
        Markdown with YAML front matter, the same for the same inputs. It names no patient.
    """
    return render_markdown(
        "data_sheet.md.jinja",
        front_matter=_data_front_matter(inputs),
        title=inputs.title,
        synthetic=inputs.evaluation.synthetic,
        supply=SUPPLY,
        parts=data_questions(inputs),
    )


def write_model_card(inputs: ReportInputs, front: Front, path: str | Path) -> None:
    """Write the model card; see `model_card`."""
    atomic_write_text(path, model_card(inputs, front))


def write_data_sheet(inputs: ReportInputs, path: str | Path) -> None:
    """Write the data sheet; see `data_sheet`."""
    atomic_write_text(path, data_sheet(inputs))


def _model_front_matter(inputs: ReportInputs) -> Markdown:
    from huggingface_hub import ModelCardData

    results = _results(inputs)
    synthetic = ("synthetic",) if inputs.evaluation.synthetic else ()
    card = ModelCardData(
        # The cohort's terms decide under which licence a head may be passed on.
        license="unknown",
        library_name="mri-transfer",
        pipeline_tag="image-classification",
        tags=[*_TAGS, *synthetic],
        metrics=[result.metric_type for result in results],
        model_name=inputs.title,
        eval_results=results or None,
    )
    return Markdown(card.to_yaml())


def _results(inputs: ReportInputs) -> list[EvalResult]:
    """Return the patient-level figures that are defined, each with its interval."""
    from huggingface_hub import EvalResult

    evaluation = inputs.evaluation
    found: dict[str, Estimate] = {name: getattr(evaluation.patient, name) for name in _HUB_METRICS}
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type="other",
            dataset_name=f"cohort of the run, {evaluation.n_patients} patients",
            dataset_split="internal testing by cross-validation",
            metric_type=_HUB_METRICS[name],
            metric_name=f"{label_of(name)}, by patient",
            metric_value=round(entry.value, _DIGITS),
            metric_args=_interval(entry, evaluation.confidence),
        )
        for name, entry in found.items()
        if entry.value is not None
    ]


def _interval(entry: Estimate, confidence: float) -> dict[str, Any]:
    if entry.interval is None:
        return {"no_interval": entry.reason or "none was computed"}
    low, high = entry.interval
    return {
        "ci_low": round(low, _DIGITS), "ci_high": round(high, _DIGITS), "confidence": confidence,
    }  # fmt: skip


def _data_front_matter(inputs: ReportInputs) -> Markdown:
    from huggingface_hub import DatasetCardData

    n_scans = inputs.evaluation.n_scans or inputs.evaluation.n_patients
    size = next((name for limit, name in _SIZES if n_scans < limit), "other")
    synthetic = ["synthetic"] if inputs.evaluation.synthetic else []
    card = DatasetCardData(
        license="unknown",
        pretty_name=f"Cohort of: {inputs.title}",
        size_categories=[size],
        task_categories=["image-classification"],
        annotations_creators=["machine-generated"] if synthetic else None,
        tags=[*_TAGS, *synthetic],
    )
    return Markdown(card.to_yaml())


def _settings(spec: AnyHeadSpec | SliceSpec) -> str:
    """Return settings as words; those that are not set are left out."""
    parts = [
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in spec_dict(spec).items()
        if value is not None
    ]
    return ", ".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " to ".join(map(str, value)) if len(value) == 2 else " / ".join(map(str, value))
    return str(value)
