"""PretrainingDocument: what is written beside a file of weights that were trained here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mri_transfer.core.documents import Count, Document, Part
from mri_transfer.models.pretraining.spec import PretrainingSpec
from mri_transfer.scans.slices import SliceSpec

__all__ = ["PretrainingDocument", "PretrainingEpoch"]

_SCHEMA: Literal["mri-transfer/pretraining/1"] = "mri-transfer/pretraining/1"
_Loss = Annotated[float, Field(ge=0)]


class PretrainingEpoch(Part):
    """Mean squared errors of restored grey values, which lie between 0 and 1."""

    training: _Loss
    """Of the training slices, each as it was passed."""
    held_out: _Loss
    """Of the patients held out, after the epoch."""


class PretrainingDocument(Document):
    """How weights of a trunk were trained on unlabelled scans."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/pretraining/1"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    trunk: str
    """A name of the registry of trunks."""
    weights_sha256: str
    """Digest of the numbers, as `trunk.digest` and every artefact name them."""
    settings: PretrainingSpec
    slices: SliceSpec
    """How scans became slices."""
    n_scans: Count
    n_patients: Count
    n_held_out: Count
    """Patients among them by whose loss the epoch was chosen."""
    epochs: tuple[PretrainingEpoch, ...]
    kept: Count
    """The epoch whose weights were kept, from 1 up."""
    made_by: str
    """Name and version of the software."""
