"""BundleParts: a fitted model with everything that applying it to a new scan needs.

A folder, or a zip of it::

    bundle.json               what it is: version, lineage, config, trunk, cohort, performance
    heads/final.*             the head of all patients; heads/bootstrap_<n>.*: of resampled ones
    heads/final_tail.*        the trained stages that all heads read, where stages were trained
    contract.*                what the training data were like
    conformal.*               scores of held-out patients, without names, and heads/conformal_<n>.*
    overlap.json              salted hashes of training patients and scans
    reference.safetensors     phantoms and the scores they must get
    sbom.json LICENSE.txt model_card.md
    features.safetensors      training features, only if they were asked for
    seal.json signature.json  digests of all files, and who signed them

The trunk is not in it: it is named by its digest, and found as for a run.
`storage` writes and reads it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.bundle.conformal import ConformalSets
from mri_transfer.bundle.contract import InputContract
from mri_transfer.bundle.overlap import TrainingMarks
from mri_transfer.bundle.reference import ReferenceInputs
from mri_transfer.bundle.sealing import Seal
from mri_transfer.evaluation.ventricular_norm import VentricularNorm
from mri_transfer.models.encode_scan import encode_volume
from mri_transfer.models.features import ScanFeatures
from mri_transfer.models.tails.tail import Tail
from mri_transfer.models.tails.tuned_trunk import TunedTrunk, open_model_trunk
from mri_transfer.models.trunks import Trunk
from mri_transfer.scans.preparation import PreparedScan
from mri_transfer.scans.volumes import Volume
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.score import score_by
from mri_transfer.training.search import Hyperparameters

__all__ = ["BundleParts", "Runtime"]

FloatArray = npt.NDArray[np.float32]
ScoreArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where a bundle computes, and where it finds the trunk's weights.

    Attributes
    ----------
    weights : Path, optional
        A file to read them from.
    cache : Path, optional
        Folder of a converted copy.
    device : {"auto", "cpu", "cuda"}
    allow_programs : bool
        Whether a bundle that nobody trusted has signed may start the program for brain extraction
        that it names.
    """

    weights: Path | None = None
    cache: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    allow_programs: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BundleParts:
    """A fitted model with its input contract, apart from the run that made it.

    Attributes
    ----------
    facts : mapping
        The content of `bundle.json`.
    trained : FittedModel
        The head of all patients. It reads the features of `trunk`, which has the tail in it.
    bootstrap : tuple of FittedModel
        The heads of resampled patients.
    contract : InputContract
    marks : tuple of TrainingMarks
        Of every training behind it.
    reference : ReferenceInputs
    texts : mapping of str to str
        Licence, model card and list of software, by file name.
    tail : Tail, optional
        The trained stages behind the cut; None where the trunk is frozen.
    conformal : ConformalSets, optional
        What makes sets of labels; None where no cross-validation of the heads was at hand.
    features : LabelledFeatures, optional
        Training features, patients numbered; only where the maker asked for them.
    seal : Seal, optional
        What verification found; None for a bundle that was not written yet.
    runtime : Runtime
    """

    facts: Mapping[str, Any]
    trained: FittedModel
    bootstrap: tuple[FittedModel, ...]
    contract: InputContract
    marks: tuple[TrainingMarks, ...]
    reference: ReferenceInputs
    texts: Mapping[str, str]
    tail: Tail | None = None
    conformal: ConformalSets | None = None
    features: LabelledFeatures | None = None
    seal: Seal | None = None
    runtime: Runtime = Runtime()

    @functools.cached_property
    def config(self) -> ModelConfig:
        """Every Spec between a scan and a decision."""
        return ModelConfig.from_dict(self.facts["recipe"])

    @functools.cached_property
    def ventricular_norm(self) -> VentricularNorm | None:
        """How large ventricles usually are; None where ages and sexes were not known."""
        values = self.facts.get("ventricular_norm")
        return None if values is None else VentricularNorm.from_dict(values)

    @property
    def procedure(self) -> Hyperparameters:
        """What made the heads, and joins what they say of slices."""
        return Hyperparameters.from_dict(self.facts["procedure"])

    @property
    def version(self) -> str:
        """What its maker called this state of the model."""
        return str(self.facts["version"])

    @property
    def digest(self) -> str:
        """Of all files; empty for a bundle that was not written yet."""
        return "" if self.seal is None else self.seal.digest

    @functools.cached_property
    def trunk(self) -> Trunk | TunedTrunk:
        """The trunk with the tail in it, loaded once and tested on the reference pictures."""
        runtime = self.runtime
        spec = dataclasses.replace(self.config.features, device=runtime.device)
        trunk = open_model_trunk(
            self.config.trunk, spec, self.tail, weights_path=runtime.weights, cache=runtime.cache
        )
        self.reference.check_trunk(trunk, self.trained.pooling)
        return trunk

    def score(self, features: FloatArray, covariates: pd.DataFrame | None = None) -> ScoreArray:
        """Score scans, one patient each, by every head.

        Parameters
        ----------
        features : ndarray of float32, shape (n, n_slices, n_features)
        covariates : DataFrame, optional
            One row a scan: site and what is kept, if the heads harmonise. Without it features
            are taken as harmonised.

        Returns
        -------
        ndarray of float64, shape (1 + n_bootstrap, n)
            Recalibrated, the final head's first.
        """
        return score_by((self.trained, *self.bootstrap), features, covariates)

    def encode(self, volume: Volume) -> tuple[ScanFeatures, PreparedScan]:
        """Prepare a scan, cut its slices and pass them through the trunk."""
        config = self.config
        return encode_volume(
            volume,
            preparation=config.preparation,
            slices=config.slices,
            features=dataclasses.replace(config.features, pooling=self.procedure.pooling),
            trunk=self.trunk,
        )
