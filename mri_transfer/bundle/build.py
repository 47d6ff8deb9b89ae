"""Building a ModelBundle from a fitted model and a summary of its training data."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mri_transfer.bundle.conformal import ConformalSets
from mri_transfer.bundle.contract import ContractSpec, TrainingScan
from mri_transfer.bundle.contract_learning import learn_contract
from mri_transfer.bundle.materials import licence, model_card, sbom
from mri_transfer.bundle.model import ModelBundle
from mri_transfer.bundle.overlap import TrainingMarks
from mri_transfer.bundle.reference import ReferenceInputs, make_reference
from mri_transfer.bundle.storage import SCHEMA, TUNED_SCHEMA
from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.evaluation.ventricular_norm import VentricularNorm
from mri_transfer.models.heads import Head
from mri_transfer.models.tails.spec import source_trunk
from mri_transfer.models.tails.tuned_trunk import TunedTrunk
from mri_transfer.models.trunks import Trunk, trunk_digest
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import BootstrapHeads, BootstrapSpec, Refit
from mri_transfer.version import __version__

__all__ = [
    "TrainingSummary",
    "expected_performance",
    "make_bundle",
]

Mode = Literal["refit", "tune", "warm", "recalibrate", "adapt"]

#: Figures of `evaluation.json` that a bundle reports as its expected performance.
_FIGURES = (
    "auc",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "brier",
    "calibration_intercept",
    "calibration_slope",
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSummary:
    """What is known of the training data besides features and labels.

    Attributes
    ----------
    scans : tuple of TrainingScan
    ages : mapping of str to float or None
        In years, of every patient.
    scan_digests : frozenset of str
        SHA-256 of files, contents and voxels that scans are recognised by.
    synthetic : bool
        Whether the patients are made up.
    """

    scans: tuple[TrainingScan, ...]
    ages: Mapping[str, float | None]
    scan_digests: frozenset[str]
    synthetic: bool

    def joined(self, other: TrainingSummary) -> TrainingSummary:
        """Return the summary of both cohorts."""
        return TrainingSummary(
            scans=self.scans + other.scans,
            ages={**self.ages, **other.ages},
            scan_digests=self.scan_digests | other.scan_digests,
            synthetic=self.synthetic or other.synthetic,
        )


def expected_performance(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the expected performance of a bundle, from the content of `evaluation.json`.

    The figures are those of held-out patients in cross-validation. The head of all patients is
    another one than those, fitted in the same way to more patients.
    """
    figures = document["patient"]
    n_folds, n_repeats = document["n_folds"], document["n_repeats"]
    return {
        "from": f"Cross-validation by patient, {n_folds} folds, repeated {n_repeats} times, "
        "of models fitted in the same way (internal testing)",
        "figures": {name: figures[name] for name in _FIGURES if name in figures},
        "operating_points": document.get("operating_points", []),
    }


def make_bundle(
    config: ModelConfig,
    cohort: LabelledFeatures,
    summary: TrainingSummary,
    *,
    trunk: Trunk | TunedTrunk,
    refit: Refit,
    bootstrap: BootstrapHeads,
    bootstrap_spec: BootstrapSpec,
    performance: Mapping[str, Any],
    version: str,
    mode: Mode = "refit",
    parent: ModelBundle | None = None,
    with_features: bool = False,
    conformal: ConformalSets | None = None,
    contract_spec: ContractSpec | None = None,
    adaptation: Mapping[str, Any] | None = None,
    ventricular_norm: VentricularNorm | None = None,
) -> ModelBundle:
    """Pack a fitted model.

    Parameters
    ----------
    config : ModelConfig
    cohort : LabelledFeatures
        What `refit` was fitted on; with `parent` and a mode other than `refit`, the new patients.
        Where a tail was trained, with the features that it makes.
    summary : TrainingSummary
        Of the cohort.
    trunk : Trunk or TunedTrunk
        That the features were computed with. Its tail is packed, one for all heads.
    refit, bootstrap, bootstrap_spec
        The heads, and how the bootstrap ones were asked for. The refit is without its tail.
    performance : mapping
        As `expected_performance` returns it.
    version : str
    mode : {"refit", "tune", "warm", "recalibrate", "adapt"}
        How the heads came from the parent's.
    parent : ModelBundle, optional
        The bundle that this one follows.
    with_features : bool
        Put the cohort's features in, patients numbered.
    conformal : ConformalSets, optional
        Of a cross-validation of the same procedure on the same patients.
    contract_spec : ContractSpec, optional
    adaptation : mapping, optional
        With mode `adapt`: the way, the numbers that it fitted, the blend's weights.
    ventricular_norm : VentricularNorm, optional
        Of patients of the cohort without the positive label. With a mode other than `refit` the
        parent's is kept.

    Raises
    ------
    HeadError
        If fewer than two bootstrap heads could be fitted.
    ConfigurationError
        If the trunk is another one than configured, or features are to go in beside a tail.
    """
    _demand_trunk(config, trunk)
    if config.tuning.trains and with_features:
        raise ConfigurationError(
            "features alone cannot refit a model with a trained tail",
            where="--with-features",
            remedy="Keep the run, and name it with --run when a cohort is added",
        )
    if len(bootstrap.heads) < 2:
        raise HeadError(
            "too few heads of resampled patients for an interval",
            found="; ".join(bootstrap.faults) or f"{len(bootstrap.heads)} heads",
            expected="two or more",
        )
    table = cohort.tables[refit.trained.pooling]
    facts = {
        "schema": TUNED_SCHEMA if isinstance(trunk, TunedTrunk) else SCHEMA,
        "mri_transfer": __version__,
        "version": version,
        "mode": mode,
        "lineage": [] if parent is None else successor_facts(parent),
        "labels": {"positive": config.labels.positive, "others": config.labels.others},
        "recipe": config.as_dict(),
        **_decision(refit.trained),
        "trunk": _trunk(config),
        "bootstrap": {
            "n_heads": len(bootstrap.heads),
            "confidence": bootstrap_spec.confidence,
            "not_fitted": list(bootstrap.faults),
        },
        "cohort": _cohort(cohort, summary, None if mode == "refit" else parent),
        "performance": dict(performance),
        "with_features": with_features,
        **({"tail": _tail(trunk)} if isinstance(trunk, TunedTrunk) else {}),
        **({} if adaptation is None else {"adaptation": dict(adaptation)}),
        **_norm(ventricular_norm, None if mode == "refit" else parent),
    }
    trained_on, digests = set(cohort.patient_ids), summary.scan_digests
    if cohort.instances is not None:
        trained_on |= set(cohort.instances.labels)
        digests |= set(cohort.instances.scans.scan_sha256)
    marks = TrainingMarks.make(sorted(trained_on), digests, secret=_head_digest(refit.trained.head))
    # Patients that a head was ever fitted to stay recognisable in all its successors.
    inherited = () if parent is None else parent.marks
    bare = ModelBundle(
        facts=facts,
        trained=refit.trained,
        bootstrap=bootstrap.heads,
        contract=learn_contract(
            summary.scans,
            {name: summary.ages.get(name) for name in cohort.patient_ids},
            table.patient_means()[1],
            slice_means=table.features.mean(axis=0),
            spec=contract_spec,
        ),
        conformal=conformal,
        marks=(*inherited, marks),
        reference=_no_reference(),
        texts={
            "LICENSE.txt": licence(
                source_trunk(config.trunk, config.tuning), tail=facts.get("tail")
            ),
            "model_card.md": model_card(facts),
            "sbom.json": sbom(),
        },
        features=cohort if with_features else None,
        tail=trunk.tail if isinstance(trunk, TunedTrunk) else None,
    )
    return dataclasses.replace(bare, reference=_reference(bare, trunk))


def _norm(own: VentricularNorm | None, parent: ModelBundle | None) -> dict[str, Any]:
    """Return the norm of the ventricles, where there is one."""
    norm = own if parent is None else parent.ventricular_norm
    return {} if norm is None else {"ventricular_norm": norm.as_dict()}


def _demand_trunk(config: ModelConfig, trunk: Trunk | TunedTrunk) -> None:
    """Refuse a trunk that is not the one the configuration names."""
    tuned = isinstance(trunk, TunedTrunk)
    found = (trunk.spec, trunk.precision, tuned)
    if found != (config.trunk, config.features.precision, config.tuning.trains):
        raise ConfigurationError(
            "the trunk is not the one that the features were computed with",
            found=f"{trunk.spec.name}, {trunk.precision}, {_with_tail(tuned)}",
            expected=f"{config.trunk.name}, {config.features.precision}, "
            f"{_with_tail(config.tuning.trains)}",
        )


def _with_tail(tuned: bool) -> str:
    return "with a trained tail" if tuned else "frozen"


def _tail(trunk: TunedTrunk) -> dict[str, Any]:
    """Return what a bundle says of its tail."""
    tail = trunk.tail
    return {
        "cut": tail.cut,
        "stages": list(trunk.source.stages),
        "strategy": tail.spec.strategy,
        "method": tail.spec.method,
        "start": tail.spec.start,
        "numbers": int(sum(values.size for values in tail.tensors.values())),
        "bytes": int(sum(values.nbytes for values in tail.tensors.values())),
        "shared_by": "the final head and all heads of resampled patients: a resample fits a head "
        "of its own on the features of this one tail, so that intervals leave out how far the "
        "tail itself depends on the patients",
    }


def successor_facts(parent: ModelBundle) -> list[dict[str, Any]]:
    """Return the lineage of a bundle's successor, oldest first."""
    facts = parent.facts
    own = {
        "version": parent.version,
        "digest": parent.digest,
        "n_patients": facts["cohort"]["n_patients"],
        "mode": facts["mode"],
    }
    return [*facts["lineage"], own]


def _decision(trained: FittedModel) -> dict[str, Any]:
    names = (
        "procedure",
        "recalibration",
        "threshold",
        "threshold_from",
        "target_thresholds",
    )
    return {name: trained.head.facts[name] for name in names}


def _trunk(config: ModelConfig) -> dict[str, Any]:
    return {
        "name": config.trunk.name,
        "layer": config.trunk.layer,
        "digest": trunk_digest(source_trunk(config.trunk, config.tuning)),
        "precision": config.features.precision,
        "device": config.features.device,
    }


def _cohort(
    cohort: LabelledFeatures, summary: TrainingSummary, parent: ModelBundle | None
) -> dict[str, Any]:
    labels = list(cohort.labels.values())
    counts = {label: labels.count(label) for label in sorted(set(labels))}
    n_patients, n_scans = len(labels), len(next(iter(cohort.tables.values())).scan_ids)
    synthetic = summary.synthetic
    if parent is not None:
        # The head has also learnt from the parent's patients.
        earlier = parent.facts["cohort"]
        n_patients += earlier["n_patients"]
        n_scans += earlier["n_scans"]
        synthetic = synthetic or earlier["synthetic"]
        for label, count in earlier["n_by_label"].items():
            counts[label] = counts.get(label, 0) + count
    return {
        "n_patients": n_patients,
        "n_scans": n_scans,
        "n_by_label": counts,
        "synthetic": synthetic,
    }


def _head_digest(head: Head) -> str:
    sha = hashlib.sha256()
    for name in sorted(head.tensors):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(head.tensors[name]).tobytes())
    return sha.hexdigest()


def _no_reference() -> ReferenceInputs:
    nothing: npt.NDArray[Any] = np.zeros(0)
    return ReferenceInputs(
        pixels=nothing.astype(np.uint8), features=nothing.astype(np.float32), scores=nothing
    )


def _reference(bundle: ModelBundle, trunk: Trunk | TunedTrunk) -> ReferenceInputs:
    slices = bundle.config.slices
    return make_reference(
        trunk,
        bundle.score,
        bundle.contract.density,
        pooling=bundle.trained.pooling,
        n_slices=slices.n_slices,
        size_px=slices.size_px,
    )
