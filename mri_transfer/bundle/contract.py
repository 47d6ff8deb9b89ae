"""InputContract: the ranges in which a bundle's figures apply to a scan.

It is learned from training scans when a bundle is made, and holds only ranges, counts and means:
nothing of it names or shows a patient. Each check is loose enough that all of them together turn
away few patients of the training kind; how many is measured by cross-validation, and written into
the contract.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.bundle.checks import Check, InputFacts, input_checks
from mri_transfer.bundle.density import FeatureDensity
from mri_transfer.bundle.measures import measure_input, turn_words
from mri_transfer.core.files import read_json_object, write_json
from mri_transfer.core.specs import STRICT
from mri_transfer.core.tensorfile import described_files, read_tensors, write_tensors
from mri_transfer.errors import StoreError
from mri_transfer.scans.quality import ScanScores
from mri_transfer.scans.slices import SliceSpec, SliceStack
from mri_transfer.scans.volumes import ScanHeader

__all__ = ["ContractSpec", "InputContract", "TrainingScan", "describe_scan"]

_SCHEMA = "mri-transfer/contract/2"
#: Arrays that are not the density's.
_OTHERS = ("histogram", "slice_means")

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ContractSpec:
    """How strict a contract is with scans of the training kind."""

    abstain_at_most: float = Field(default=0.05, gt=0, lt=1)
    """Share of patients like those trained on that all checks together may turn away."""
    density_p: float = Field(default=0.02, gt=0, lt=1)
    """A scan whose features have a conformal p value up to this is turned away."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingScan:
    """What is known of one training scan besides its features.

    Attributes
    ----------
    patient_id : str
        Does not enter the contract.
    passed_through : bool
        Whether it was prepared already.
    turn : str
        How its content lies against its header; empty if they agree.
    measures : mapping of str to float
        As `measure_input` gives them.
    histogram : tuple of float
        Of its grey values, as `ScanScores` has it; empty if unknown.
    """

    patient_id: str
    passed_through: bool
    turn: str
    measures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    histogram: tuple[float, ...] = ()


def describe_scan(
    stack: SliceStack,
    scores: ScanScores,
    volume: ScanHeader,
    *,
    patient_id: str,
    passed_through: bool,
    spec: SliceSpec,
) -> TrainingScan:
    """Describe a training scan from what its run left in the cache.

    Parameters
    ----------
    stack : SliceStack
    scores : ScanScores
    volume : ScanHeader
        Of the volume that the slices were cut from.
    patient_id : str
    passed_through : bool
    spec : SliceSpec
    """
    shape, spacing_mm = _in_ras(volume)
    return TrainingScan(
        patient_id=patient_id,
        passed_through=passed_through,
        turn=turn_words(scores.turn, passed_through=passed_through),
        measures=measure_input(stack, scores, shape=shape, spacing_mm=spacing_mm, spec=spec),
        histogram=scores.histogram,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InputContract:
    """The ranges and distributions of the training data.

    Attributes
    ----------
    facts : mapping
        JSON values: n_patients, n_scans; passed_through and turns, how many scans by each;
        measures, by name the `range` of training scans and what is `allowed`; age_years, the same
        with n and n_missing, or None; density_p; widening; in_distribution, how many training
        patients a contract made without them turns away, in all and by check.
    density : FeatureDensity
    histogram : ndarray of float64, shape (n_bins,) or (0,)
        Mean of the training scans'.
    slice_means : ndarray of float32, shape (n_slices, n_features)
        Mean features of each slice over the training scans.
    """

    facts: Mapping[str, Any]
    density: FeatureDensity
    histogram: npt.NDArray[np.float64]
    slice_means: npt.NDArray[np.float32]

    def judge(self, scan: InputFacts) -> tuple[Check, ...]:
        """Compare a scan with the contract.

        Parameters
        ----------
        scan : InputFacts

        Returns
        -------
        tuple of Check
            Every check, passed or not, in a fixed order.
        """
        return input_checks(self.facts, self.density, self.histogram, scan)

    def write(self, folder: Path) -> None:
        """Write contract.json and contract.safetensors."""
        arrays, description = described_files(folder / "contract")
        tensors = {
            **self.density.tensors,
            "histogram": self.histogram,
            "slice_means": self.slice_means,
        }
        write_tensors(arrays, tensors, schema=_SCHEMA)
        write_json(description, {"schema": _SCHEMA, **self.facts})

    @classmethod
    def read(cls, folder: Path) -> InputContract:
        """Read what `write` wrote; raises StoreError if a file is damaged."""
        arrays, description = described_files(folder / "contract")
        facts = read_json_object(description) or {}
        if facts.pop("schema", None) != _SCHEMA:
            raise StoreError("not an input contract this version reads", where=description.name)
        tensors = read_tensors(arrays, schema=_SCHEMA)
        known = {name: values for name, values in tensors.items() if name not in _OTHERS}
        return cls(
            facts=facts,
            density=FeatureDensity(tensors=known),
            histogram=tensors["histogram"],
            slice_means=tensors["slice_means"],
        )


def _in_ras(volume: ScanHeader) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return matrix and voxel size along the axes of RAS+."""
    from nibabel.orientations import io_orientation

    axes = io_orientation(volume.affine)[:, 0].astype(int)  # type: ignore[no-untyped-call]
    order = [int(np.flatnonzero(axes == axis)[0]) for axis in range(3)]
    return (
        tuple(volume.shape[axis] for axis in order),
        tuple(volume.spacing_mm[axis] for axis in order),
    )
