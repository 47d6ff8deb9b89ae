"""The ways to adapt a model to a site, behind one interface.

An arm is handed a view of the site's labelled patients, and what is known of the training: never
another patient of the site, labelled or not. Where a way needs the site's moments, they are those
of the labelled patients, as in few-shot learning by episodes.

Ways are ordered from the least change to the most. All work on a linear head; FiLM and
recalibration on any.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.adaptation.domains import KnownDomains
from mri_transfer.models.adaptation.film import StepsFit, fit_steps
from mri_transfer.models.adaptation.linear_maps import behind_affine, centroid_head, demand_linear
from mri_transfer.models.adaptation.objectives import CentroidLoss, HeadLoss, Objective
from mri_transfer.models.adaptation.projection import fit_projection
from mri_transfer.models.adaptation.settings import AdaptationSpec
from mri_transfer.models.adaptation.shrunk_platt import shrunk_recalibration
from mri_transfer.models.adaptation.site_maps import combat_map, moments_map
from mri_transfer.models.heads import Head, LinearHeadSpec, fit_head
from mri_transfer.models.recalibration import Recalibration
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.fit_record import TuningRecord
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.update import moved

__all__ = ["ARMS", "Adapted", "Arm", "ArmName", "KnownSource", "fit_arm", "lacking"]

FloatArray = npt.NDArray[np.float64]
ArmName: TypeAlias = Literal[
    "none",
    "recalibrate",
    "moments",
    "combat",
    "warm",
    "linear",
    "url",
    "film",
    "adapters",
    "film_blended",
    "flute",
]
#: What a way cannot do without.
Need = Literal["linear head", "training patients", "frozen stages", "domains"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnownSource:
    """What is known of the training.

    Attributes
    ----------
    model : FittedModel
        That is adapted; its own tail, if it has one, is applied to the features already.
    patients : LabelledFeatures, optional
        That it was trained on, in the features that its head reads.
    stages : TailSource, optional
        The trunk's last stages, if they are as released.
    domains : KnownDomains, optional
        FiLM sets of training domains, of these stages.
    """

    model: FittedModel
    patients: LabelledFeatures | None = None
    stages: TailSource | None = None
    domains: KnownDomains | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Adapted:
    """What a way made of a model.

    Attributes
    ----------
    model : FittedModel
    n_parameters : int
        Numbers that were fitted to the site.
    facts : mapping
        JSON values: the blend's weights, losses by step, where there are any.
    """

    model: FittedModel
    n_parameters: int
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to adapt.

    Attributes
    ----------
    title : str
    fit : callable
        (view of the labelled patients, source, settings, seed) to `Adapted`.
    needs : frozenset of str
    reads_labels : bool
        Whether the site's labels enter at all.
    """

    title: str
    fit: Callable[[TrainingView, KnownSource, AdaptationSpec, int], Adapted]
    needs: frozenset[Need] = frozenset()
    reads_labels: bool = True


def lacking(name: ArmName, source: KnownSource) -> Need | None:
    """Return what a way needs and is not there; None if it can be followed."""
    there: dict[Need, bool] = {
        "linear head": source.model.head.kind == "linear",
        "training patients": source.patients is not None,
        "frozen stages": source.stages is not None,
        "domains": source.domains is not None,
    }
    return next((need for need in there if need in ARMS[name].needs and not there[need]), None)


def fit_arm(
    name: ArmName,
    view: TrainingView,
    source: KnownSource,
    spec: AdaptationSpec,
    *,
    seed: int,
) -> Adapted:
    """Adapt a model to the labelled patients of a site.

    Parameters
    ----------
    name : str
        A name of `ARMS`.
    view : TrainingView
        The labelled patients, and nobody else.
    source : KnownSource
    spec : AdaptationSpec
    seed : int

    Raises
    ------
    ConfigurationError
        If something that the way needs is not there, or the model harmonises sites: it cannot
        score a site that it was not fitted with.
    HeadError
        If the patients cannot support the way.
    """
    if source.model.harmoniser is not None:
        raise ConfigurationError(
            "a model that harmonises sites is bound to the sites it was fitted with",
            where="harmonisation.kind",
            found="combat",
            expected="none",
            remedy="Refit with the new site among the training patients: retrain --from --run",
        )
    need = lacking(name, source)
    if need is not None:
        raise ConfigurationError(
            f"the way {name} needs {need}, and there is none",
            found=ARMS[name].title,
            remedy="Name the run that the bundle was made of with --run, or choose another way",
        )
    return ARMS[name].fit(view, source, spec, seed)


def _none(_v: TrainingView, source: KnownSource, _s: AdaptationSpec, _seed: int) -> Adapted:
    return Adapted(model=source.model, n_parameters=0)


def _recalibrate(
    view: TrainingView, source: KnownSource, spec: AdaptationSpec, _seed: int
) -> Adapted:
    model = source.model
    learned = shrunk_recalibration(
        model.recalibration,
        view.is_positive,
        patient_scores(model, view, recalibrated=False),
        slope_deviation=spec.slope_deviation,
        intercept_deviation=spec.intercept_deviation,
    )
    record = dataclasses.replace(model.record, recalibration=learned)
    return Adapted(model=model.with_record(record), n_parameters=2)


def _by_map(
    make: Callable[[npt.NDArray[Any], npt.NDArray[Any]], tuple[FloatArray, FloatArray]],
) -> Callable[[TrainingView, KnownSource, AdaptationSpec, int], Adapted]:
    """Return the way that moves and scales features, by what maps the site's to the old ones."""

    def fit(view: TrainingView, source: KnownSource, _s: AdaptationSpec, _seed: int) -> Adapted:
        model = source.model
        assert source.patients is not None  # lacking
        scale, shift = make(
            source.patients.tables[model.pooling].features, view.tables[model.pooling].features
        )
        head = behind_affine(model.head, scale, shift)
        return Adapted(model=dataclasses.replace(model, head=head), n_parameters=2 * len(scale))

    return fit


def _warm(view: TrainingView, source: KnownSource, _s: AdaptationSpec, _seed: int) -> Adapted:
    model = moved(source.model, view)
    n_parameters = model.head.tensors["weight"].size + 1
    return Adapted(model=model, n_parameters=int(n_parameters))


def _linear(view: TrainingView, source: KnownSource, _s: AdaptationSpec, seed: int) -> Adapted:
    model = source.model
    demand_linear(model.head)
    spec = model.record.hyperparameters.head
    assert isinstance(spec, LinearHeadSpec)
    table = view.tables[model.pooling]
    fitted = fit_head(spec, table, view.scan_is_positive, slices=view.slices, seed=seed)
    head = dataclasses.replace(model.head, tensors=fitted.tensors)
    n_parameters = int(head.tensors["weight"].size) + 1
    return Adapted(model=_with_new_head(model, head), n_parameters=n_parameters)


def _url(view: TrainingView, source: KnownSource, spec: AdaptationSpec, seed: int) -> Adapted:
    model = source.model
    rows = view.tables[model.pooling].patient_means()[1].astype(np.float64)
    projection = fit_projection(
        rows,
        view.is_positive,
        rank=spec.projection_rank,
        steps=spec.projection_steps,
        learning_rate=spec.projection_learning_rate,
        scale=spec.cosine_scale,
        seed=seed,
    )
    head = centroid_head(
        model.head, rows, view.is_positive, scale=spec.cosine_scale, projection=projection
    )
    n_parameters = 2 * spec.projection_rank * rows.shape[1]
    return Adapted(model=_with_new_head(model, head), n_parameters=n_parameters)


def _film(view: TrainingView, source: KnownSource, spec: AdaptationSpec, seed: int) -> Adapted:
    tuning = TuningSpec(strategy="some", method="ssf")
    fit = _steps(view, source, spec, tuning, _head_loss(view, source), seed)
    return _with_tail(source.model, fit, spec)


def _adapters(view: TrainingView, source: KnownSource, spec: AdaptationSpec, seed: int) -> Adapted:
    tuning = TuningSpec(strategy="some", method="parallel", rank=spec.adapter_rank)
    fit = _steps(view, source, spec, tuning, _head_loss(view, source), seed)
    return _with_tail(source.model, fit, spec)


def _film_blended(
    view: TrainingView, source: KnownSource, spec: AdaptationSpec, seed: int
) -> Adapted:
    fit, weights = _from_blend(view, source, spec, _head_loss(view, source), seed)
    return _with_tail(source.model, fit, spec, blend=weights)


def _flute(view: TrainingView, source: KnownSource, spec: AdaptationSpec, seed: int) -> Adapted:
    objective = CentroidLoss(view.scan_is_positive, scale=spec.cosine_scale)
    fit, weights = _from_blend(view, source, spec, objective, seed)
    adapted = _with_tail(source.model, fit, spec, blend=weights)
    model, activations = adapted.model, view.activations
    assert activations is not None  # _steps
    features = fit.tail.features(activations, [model.pooling])[model.pooling]
    table = dataclasses.replace(view.tables[model.pooling], features=features)
    rows = table.patient_means()[1].astype(np.float64)
    head = centroid_head(model.head, rows, view.is_positive, scale=spec.cosine_scale)
    return dataclasses.replace(adapted, model=_with_new_head(model, head))


def _head_loss(view: TrainingView, source: KnownSource) -> HeadLoss:
    return HeadLoss(source.model.head, view.scan_is_positive)


def _from_blend(
    view: TrainingView, source: KnownSource, spec: AdaptationSpec, objective: Objective, seed: int
) -> tuple[StepsFit, dict[str, float]]:
    assert source.domains is not None  # lacking
    assert view.activations is not None
    start, weights = source.domains.blend(view.activations)
    return _steps(view, source, spec, source.domains.tuning, objective, seed, start), weights


def _steps(
    view: TrainingView,
    source: KnownSource,
    spec: AdaptationSpec,
    tuning: TuningSpec,
    objective: Objective,
    seed: int,
    start: Mapping[str, npt.NDArray[Any]] | None = None,
) -> StepsFit:
    assert source.stages is not None  # lacking
    if view.activations is None:
        raise ConfigurationError(
            "FiLM and adapters need what lies at the cut", expected="features with activations"
        )
    return fit_steps(
        source.stages,
        tuning,
        view.activations,
        objective,
        pooling=source.model.pooling,
        n_slices=view.scans.features.shape[1],
        spec=spec.film,
        seed=seed,
        start=start,
    )


def _with_tail(
    model: FittedModel,
    fit: StepsFit,
    spec: AdaptationSpec,
    blend: Mapping[str, float] | None = None,
) -> Adapted:
    assert fit.tail.source is not None  # fit_steps
    record = TuningRecord(
        cut=fit.tail.cut,
        stages=fit.tail.source.stages,
        settings=fit.tail.spec,
        parameters=fit.n_parameters,
        epochs=spec.film.steps,
        loss=fit.losses,
        moved=dict(fit.distances),
        inner=(),
    )
    adapted = model.with_record(dataclasses.replace(model.record, tuning=record))
    facts = {"losses": list(fit.losses)} | ({} if blend is None else {"blend": dict(blend)})
    return Adapted(
        model=dataclasses.replace(adapted, tail=fit.tail),
        n_parameters=fit.n_parameters,
        facts=facts,
    )


def _with_new_head(model: FittedModel, head: Head) -> FittedModel:
    """Return the model with a head of its own scale: the old map of scores does not hold for it."""
    record = dataclasses.replace(
        model.record,
        recalibration=Recalibration("none", {}),
        threshold=0.5,
        threshold_from="0.5: labels weigh the same in the head of the new site",
        target_thresholds={},
    )
    return dataclasses.replace(model, head=head).with_record(record)


ARMS: dict[ArmName, Arm] = {
    "none": Arm(title="the bundle as it is", fit=_none, reads_labels=False),
    "recalibrate": Arm(title="slope and intercept of the score", fit=_recalibrate),
    "moments": Arm(
        title="features scaled by the site's own moments",
        fit=_by_map(moments_map),
        needs=frozenset({"linear head", "training patients"}),
        reads_labels=False,
    ),
    "combat": Arm(
        title="ComBat",
        fit=_by_map(combat_map),
        needs=frozenset({"linear head", "training patients"}),
        reads_labels=False,
    ),
    "warm": Arm(
        title="linear head moved from where it is",
        fit=_warm,
        needs=frozenset({"linear head"}),
    ),
    "linear": Arm(title="linear head refitted", fit=_linear, needs=frozenset({"linear head"})),
    "url": Arm(
        title="projection of features, nearest centroid (URL)",
        fit=_url,
        needs=frozenset({"linear head"}),
    ),
    "film": Arm(title="FiLM from ImageNet's set", fit=_film, needs=frozenset({"frozen stages"})),
    "adapters": Arm(
        title="adapters beside kernels (TSA)", fit=_adapters, needs=frozenset({"frozen stages"})
    ),
    "film_blended": Arm(
        title="FiLM from the blend",
        fit=_film_blended,
        needs=frozenset({"frozen stages", "domains"}),
    ),
    "flute": Arm(
        title="FiLM from the blend, nearest centroid (FLUTE)",
        fit=_flute,
        needs=frozenset({"linear head", "frozen stages", "domains"}),
    ),
}
assert tuple(ARMS) == get_args(ArmName)
