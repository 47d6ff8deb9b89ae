"""Labels: which diagnoses are classified, and which of them is positive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import ConfigurationError

__all__ = ["LabelSpec", "demand_both_labels", "spelt_out", "why_unused"]

#: Common abbreviations spelt out, for readers of the report who do not know them.
_NAMES = {
    "AD": "Alzheimer's disease",
    "CN": "cognitively normal",
    "NC": "normal control",
    "HC": "healthy control",
    "MCI": "mild cognitive impairment",
    "EMCI": "early mild cognitive impairment",
    "LMCI": "late mild cognitive impairment",
    "sMCI": "stable mild cognitive impairment",
    "pMCI": "progressive mild cognitive impairment",
    "SMC": "significant memory concern",
    "SCD": "subjective cognitive decline",
    "FTD": "frontotemporal dementia",
    "bvFTD": "behavioural variant frontotemporal dementia",
    "DLB": "dementia with Lewy bodies",
    "VaD": "vascular dementia",
    "PD": "Parkinson's disease",
}


def _as_text(value: Any) -> Any:
    """Return an integer as text: labels may be called 0 and 1."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


#: A label; an integer is converted to text.
LabelText = Annotated[str, BeforeValidator(_as_text)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelSpec:
    """The labels of the task; patients with another label, or none, are excluded."""

    positive: LabelText = Field(default="AD", min_length=1)
    """The label whose probability is the score."""
    negative: LabelText = Field(default="CN", min_length=1)
    classes: tuple[LabelText, ...] = ()
    """Three or more labels to classify, including `positive` and `negative`, such as CN, MCI and
    AD. The score is then of `positive` against all others, and each class is also predicted
    against the rest. Empty: two labels; patients with other labels are excluded."""
    unlabelled: Literal["exclude", "keep"] = "exclude"
    """Scans without one of the labels: `exclude` excludes them from the start; `keep` prepares
    and encodes them too, for runs that end with the features."""

    @model_validator(mode="after")
    def _check(self) -> LabelSpec:
        if self.positive == self.negative:
            raise ValueError("labels.positive and labels.negative must differ")
        if self.classes:
            if len(set(self.classes)) != len(self.classes) or len(self.classes) < 3:
                raise ValueError("labels.classes must list three or more distinct labels")
            if not {self.positive, self.negative} <= set(self.classes):
                raise ValueError("labels.classes must include labels.positive and labels.negative")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """The labels in use."""
        return self.classes or (self.negative, self.positive)

    @property
    def others(self) -> str:
        """The name for patients without the positive label: the other label, or `not AD`."""
        return f"not {self.positive}" if self.classes else self.negative


def why_unused(label: str | None, spec: LabelSpec) -> str | None:
    """Return why a scan with this label is excluded, or None if it is used."""
    if spec.unlabelled == "keep":
        return None
    if label is None:
        return "no label: not used for training, and never treated as healthy"
    if label not in spec.used:
        if spec.classes:
            return f"label {label} is not one of {', '.join(spec.classes)}"
        return f"label {label} is neither {spec.positive} nor {spec.negative}"
    return None


def demand_both_labels(labels: Sequence[str | None], spec: LabelSpec) -> None:
    """Refuse a cohort that lacks one of the labels, unless unlabelled scans are kept.

    Raises
    ------
    ConfigurationError
        Listing the cohort's labels.
    """
    if spec.unlabelled == "keep":
        return
    found = sorted({label for label in labels if label is not None})
    missing = [label for label in spec.used if label not in found]
    if missing:
        raise ConfigurationError(
            f"no scan is labelled {' or '.join(missing)}",
            where="labels",
            found=", ".join(found) or "no labels at all",
            remedy="Set labels.positive and labels.negative to the cohort's labels; if you only "
            "want the features, set labels.unlabelled=keep",
        )


def spelt_out(label: str) -> str:
    """Return a label with its abbreviation spelt out, such as `Alzheimer's disease (AD)`.

    Parameters
    ----------
    label : str
        A label, or `not` and a label; unknown labels are returned unchanged.
    """
    if label.startswith("not "):
        return f"not {spelt_out(label.removeprefix('not '))}"
    return f"{_NAMES[label]} ({label})" if label in _NAMES else label
