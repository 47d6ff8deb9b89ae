"""The JSON documents of a bundle: their permitted content, checked before anything is built.

A seal proves that a bundle is whole, not that it was made by this package: whoever changes a
document can seal it anew. So every value is checked by its type, and every name against the
known ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mri_transfer.bundle.measures import MEASURES
from mri_transfer.core.files import read_json_object
from mri_transfer.core.specs import validation_message
from mri_transfer.errors import StoreError
from mri_transfer.models.features import Pooling
from mri_transfer.models.heads import HEAD_KINDS, HeadSpec
from mri_transfer.models.heads.entry import Aggregation
from mri_transfer.models.tails.spec import TuningSpec

__all__ = ["Document", "read_document", "read_text"]

Document = Literal["bundle", "combat", "conformal", "contract", "head", "overlap", "tail"]

_AGAIN = "Fetch the bundle again from whoever made it; do not mend it by hand"
#: No bundle has more bootstrap heads or folds; a larger number is an attempt to exhaust memory.
_MAX_HEADS = 1000
_MAX_COST = 1 << 16

_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Inside = Annotated[float, Field(gt=0, lt=1)]
_Heads = Annotated[int, Field(ge=1, le=_MAX_HEADS)]
_Word = Annotated[str, Field(min_length=1, max_length=1000)]
_Mark = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Closed(BaseModel):
    """Nothing is turned into another type, nothing is passed over."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Open(BaseModel):
    """What else stands in it is shown at most, and never computed with."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Figure(_Open):
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None


class _Ancestor(_Closed):
    version: _Word
    digest: _Digest | Literal[""]
    n_patients: _Count
    mode: _Word


class _Labels(_Closed):
    positive: _Word
    others: _Word


class _Procedure(_Closed):
    pooling: Literal[get_args(Pooling)]  # type: ignore[valid-type]
    head: HeadSpec
    aggregation: Literal[get_args(Aggregation)]  # type: ignore[valid-type]


class _Recalibration(_Closed):
    method: _Word
    parameters: dict[_Word, list[float]]


class _Trunk(_Closed):
    name: _Word
    layer: _Word
    digest: _Digest
    precision: Literal["fp32", "bf16"]
    device: _Word


class _Bootstrap(_Closed):
    n_heads: Annotated[int, Field(ge=2, le=_MAX_HEADS)]
    confidence: _Inside
    not_fitted: list[str]


class _Cohort(_Closed):
    n_patients: _Count
    n_scans: _Count
    n_by_label: dict[_Word, _Count]
    synthetic: bool


class _Moments(_Open):
    mean: float | None
    sd: float | None
    n: _Count


class _ByLabel(_Closed):
    all: _Moments
    positive: _Moments
    negative: _Moments


class _CaseMix(_Closed):
    n: _Count
    age: _Moments
    sex: dict[str, _Count]
    linear_predictor: _ByLabel
    auc_if_calibrated: float | None


class _Performance(_Closed):
    source: str = Field(alias="from")
    figures: dict[_Word, _Figure]
    operating_points: list[dict[str, Any]]
    case_mix: _CaseMix | None = None


class _TailFacts(_Closed):
    cut: _Word
    stages: Annotated[list[_Word], Field(min_length=1)]
    strategy: _Word
    method: _Word
    start: _Word
    numbers: _Count
    bytes: _Count
    shared_by: _Word


class _Adaptation(_Closed):
    way: _Word
    title: _Word
    n_labelled: _Count
    n_parameters: _Count
    blend: dict[_Word, _Share] | None = None


class _Tail(_Closed):
    cut: _Word
    weights: _Digest
    tuning: TuningSpec


class _Norm(_Closed):
    n_people: _Count
    age_years: tuple[float, float]
    sexes: Annotated[list[_Word], Field(min_length=1, max_length=20)]
    means: list[float]
    coefficients: list[float]
    inverse: list[list[float]]
    deviation: Annotated[float, Field(ge=0)]
    degrees: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _has_a_number_for_everything(self) -> _Norm:
        n = len(self.sexes) + 1
        rows = [len(row) for row in self.inverse]
        if (len(self.means), len(self.coefficients), rows) != (n - 1, n, [n] * n):
            raise ValueError(f"not {n} coefficients, of 1, age and every sex but one")
        return self


class _Bundle(_Closed):
    form: Literal["mri-transfer/bundle/1", "mri-transfer/bundle/2"] = Field(alias="schema")
    mri_transfer: _Word
    version: _Word
    mode: Literal["refit", "tune", "warm", "recalibrate", "adapt"]
    lineage: list[_Ancestor]
    labels: _Labels
    #: `ModelConfig.from_dict` reads it.
    recipe: dict[str, Any]
    procedure: _Procedure
    recalibration: _Recalibration
    threshold: float
    threshold_from: str
    target_thresholds: dict[_Word, float | None]
    trunk: _Trunk
    bootstrap: _Bootstrap
    cohort: _Cohort
    performance: _Performance
    with_features: bool
    tail: _TailFacts | None = None
    adaptation: _Adaptation | None = None
    ventricular_norm: _Norm | None = None

    @model_validator(mode="after")
    def _says_what_it_holds(self) -> _Bundle:
        if (self.mode == "adapt") != (self.adaptation is not None):
            raise ValueError("an adapted bundle says how, and no other does")
        if self.form.endswith("/2") != (self.tail is not None):
            raise ValueError(f"{self.form} with{'out' if self.tail is None else ''} a tail")
        return self


class _Instances(_Closed):
    weight: Annotated[float, Field(gt=0)]
    n_patients: _Count


class _Head(_Open):
    kind: Literal[HEAD_KINDS]  # type: ignore[valid-type]
    procedure: _Procedure
    recalibration: _Recalibration
    threshold: float
    threshold_from: str = ""
    target_thresholds: dict[_Word, float | None] | None = None
    instances: _Instances | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> _Head:
        if self.procedure.head.kind != self.kind:
            raise ValueError(f"a {self.kind} head made as a {self.procedure.head.kind} one")
        return self


class _Combat(_Closed):
    site_column: _Word
    sites: Annotated[list[str], Field(min_length=1)]
    preserve: list[tuple[str, list[str | float]]]


class _Marks(_Closed):
    salt: _Mark
    cost: Annotated[int, Field(ge=2, le=_MAX_COST)]
    patients: list[_Mark]
    scans: list[_Mark]

    @model_validator(mode="after")
    def _has_a_cost_of_scrypt(self) -> _Marks:
        if self.cost & (self.cost - 1):
            raise ValueError(f"a cost of {self.cost}, which is no power of 2")
        return self


class _Overlap(_Closed):
    form: Literal["mri-transfer/overlap/1"] = Field(alias="schema")
    patients: dict[str, Any]
    scans: dict[str, Any]
    marks: list[_Marks]


class _Measure(_Closed):
    always: bool
    range: tuple[float, float]
    allowed: tuple[float | None, float | None]

    @model_validator(mode="after")
    def _has_a_limit(self) -> _Measure:
        if self.allowed == (None, None):
            raise ValueError("no limit on either side")
        return self


class _Age(_Closed):
    range: tuple[float, float]
    allowed: tuple[float, float]
    n: _Count
    n_missing: _Count


class _Contract(_Closed):
    form: Literal["mri-transfer/contract/2"] = Field(alias="schema")
    n_patients: Annotated[int, Field(ge=1)]
    n_scans: Annotated[int, Field(ge=1)]
    passed_through: dict[Literal["True", "False"], _Count]
    turns: dict[str, _Count]
    rare: _Share
    measures: dict[Literal[tuple(one.name for one in MEASURES)], _Measure]  # type: ignore[valid-type]
    age_years: _Age | None
    density_p: _Share
    widening: float
    in_distribution: dict[str, Any]


class _Coverage(_Open):
    all: _Figure


class _Measured(_Open):
    coverage: _Coverage


class _Conformal(_Closed):
    form: Literal["mri-transfer/conformal/1"] = Field(alias="schema")
    n_heads: _Heads
    coverage: _Inside
    n_calibration: _Count
    measured: _Measured | None


_MODELS: dict[Document, type[BaseModel]] = {
    "bundle": _Bundle,
    "combat": _Combat,
    "conformal": _Conformal,
    "contract": _Contract,
    "head": _Head,
    "overlap": _Overlap,
    "tail": _Tail,
}


def read_document(path: Path, kind: Document) -> dict[str, Any]:
    """Return the content of a bundle's JSON file, with every value checked.

    Parameters
    ----------
    path : Path
    kind : str
        Which document it must be.

    Raises
    ------
    StoreError
        If the file is no JSON object, or something in it is missing, unknown or of a wrong type.
    """
    content = read_json_object(path)
    if content is None:
        raise StoreError("a document of the bundle cannot be read", where=path.name, remedy=_AGAIN)
    try:
        # As JSON, in which lists and numbers keep the types of the file.
        _MODELS[kind].model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise StoreError(
            validation_message(error, of="document", unnamed=HEAD_KINDS),
            where=path.name,
            remedy=f"Use the version of mri-transfer that made the bundle. {_AGAIN}",
        ) from error
    except RecursionError as error:
        raise StoreError("a document is nested too deeply", where=path.name) from error
    return content


def read_text(path: Path) -> str:
    """Return a text of a bundle.

    Raises
    ------
    StoreError
        If it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            "a text of the bundle cannot be read", where=path.name, found=str(error), remedy=_AGAIN
        ) from error
