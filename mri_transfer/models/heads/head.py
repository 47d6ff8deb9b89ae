"""Head: a small classifier on features, as fitted, and its file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import write_json
from mri_transfer.core.tensorfile import described_files, read_tensors, write_tensors
from mri_transfer.errors import HeadError

if TYPE_CHECKING:
    from mri_transfer.models.heads.module import HeadModule

__all__ = ["Head", "SliceOutput", "training_moments"]

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_SCHEMA = "mri-transfer/head/1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceOutput:
    """What a head says of slices.

    Attributes
    ----------
    logits : ndarray of float32, shape (n_scans, n_slices)
        Log-odds of the positive label.
    weights : ndarray of float32, shape (n_scans, n_slices)
        How much each slice counts in its scan; each row sums to 1.
    """

    logits: FloatArray
    weights: FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """A fitted head.

    Attributes
    ----------
    kind : str
        Which head (`HeadSpec.kind`).
    tensors : mapping of str to ndarray of float32
        Its parameters, the scaling of features among them.
    facts : mapping
        What is written beside it: choices made inside training patients, threshold, the scans
        it saw. JSON values only.
    """

    kind: str
    tensors: Mapping[str, FloatArray]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_module(cls, kind: str, module: HeadModule) -> Self:
        """Return the head that a trained module is, under its tensors' names."""
        state = module.state_dict()
        return cls(kind=kind, tensors={name: v.cpu().numpy() for name, v in state.items()})

    def write(self, stem: Path) -> None:
        """Write `stem`.safetensors and `stem`.json."""
        arrays, description = described_files(stem)
        write_tensors(arrays, self.tensors, schema=_SCHEMA)
        write_json(description, {"kind": self.kind, **self.facts})

    @classmethod
    def read(cls, stem: Path) -> Head:
        """Read what `write` wrote.

        Raises
        ------
        StoreError, HeadError
            If a file is missing or damaged.
        """
        arrays, description = described_files(stem)
        tensors = read_tensors(arrays, schema=_SCHEMA)
        try:
            facts = json.loads(description.read_text(encoding="utf-8"))
            kind = facts.pop("kind")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise HeadError("cannot read a head's description", where=str(description)) from error
        return cls(kind=kind, tensors=tensors, facts=facts)


def training_moments(
    features: FloatArray, slices: BoolArray, weights: npt.NDArray[np.float64] | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of the training slices' features.

    A feature that never varies gets a deviation of 1, so that it is moved but not blown up.

    Parameters
    ----------
    features : ndarray of float32, shape (n_scans, n_slices, n_features)
    slices : ndarray of bool, shape (n_scans, n_slices)
    weights : ndarray of float, shape (n_scans,), optional
        How much each scan counts; alike where nothing is given.
    """
    rows = features[slices].astype(np.float64)
    if weights is None:
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
    else:
        counts = np.broadcast_to(weights[:, None], slices.shape)[slices]
        mean = np.average(rows, axis=0, weights=counts)
        spread = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=counts))
    return mean.astype(np.float32), np.where(spread > 1e-6, spread, 1.0).astype(np.float32)
