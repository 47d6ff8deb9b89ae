"""The search for hyper-parameters inside training patients.

A `Hyperparameters` is everything a fold's head is made by: which pooling of the feature maps, which
head with which settings, how slices join. The configuration gives one procedure and, under
`search.space`, values to try instead. `FoldSearch` is the search of one outer fold: Optuna asks
for procedures, the caller tells how well each ranks the inner folds of the training patients.

The best of many noisy figures is too good, and a fold that leaves the configured procedure for a
difference of noise pays for it: its scores lie on another scale than those of the other folds
(docs/decisions/0004). So the configured procedure stays unless another beats it by more than
`margin_se` standard errors, with the corrected variance of Nadeau and Bengio (2003, Mach Learn
52:239-281), which minds that the inner folds share most of their training patients.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, spec_dict, validation_message
from mri_transfer.errors import ConfigurationError
from mri_transfer.metrics.paired import corrected_standard_error
from mri_transfer.models.features import Pooling
from mri_transfer.models.heads import HEAD_KINDS, HEADS, AnyHeadSpec, HeadSpec, resolve_aggregation
from mri_transfer.models.heads.entry import Aggregation

__all__ = [
    "FoldSearch",
    "Hyperparameters",
    "SearchSpec",
    "check_space",
    "count_trials",
    "searched_poolings",
]

_POOLING, _AGGREGATION, _HEADS = "features.pooling", "predictions.aggregation", "heads"
_POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
_AGGREGATIONS = ("auto", "mean_probability", "mean_logit", "majority", "attention")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchSpec:
    """What is searched inside the training patients of every outer fold."""

    n_trials: int = Field(default=12, ge=1)
    """Procedures tried in a fold, the configured one among them; with `sampler = "grid"` the
    whole space is tried."""
    sampler: Literal["grid", "tpe"] = "tpe"
    """`tpe`: Optuna's tree-structured Parzen estimator, or every combination if there are no more
    than `n_trials`; `grid`: every combination."""
    margin_se: float = Field(default=1.0, ge=0)
    """Corrected standard errors by which another procedure's inner AUC must exceed that of the
    configured one to replace it; 0 takes the best."""
    space: Literal["auto", "none"] | dict[str, list[Any]] = "auto"
    """Values to try, by the name of the setting: `features.pooling`, `predictions.aggregation`,
    any setting of the head such as `heads.zones`, or `heads` for whole heads. `auto`: what suits
    the head (mlp: nothing, since nothing was chosen); `none`: no search."""

    @field_validator("space", mode="before")
    @classmethod
    def _name_in_full(cls, space: object) -> object:
        """Take `heads.zones = [1, 4]`, which TOML reads as a table in a table, by its full name."""
        if not isinstance(space, dict):
            if space not in ("auto", "none"):
                raise ValueError("neither `auto`, nor `none`, nor a table of values to try")
            return space
        named = dict(_flat(space))
        unlisted = [name for name, values in named.items() if not isinstance(values, list)]
        if unlisted:
            raise ValueError(f"the values to try of {', '.join(unlisted)} must be a list")
        return named

    def for_head(self, kind: str) -> dict[str, list[Any]]:
        """Return the values to try with a head of this kind; empty where nothing is searched."""
        if isinstance(self.space, dict):
            return self.space
        return dict(HEADS[kind].space) if self.space == "auto" else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What makes a head, and joins what it says of slices.

    Attributes
    ----------
    pooling : str
        Which pooling of the trunk's maps the features are (`FeatureSpec.pooling`).
    head : HeadSpec
    aggregation : str
        As in `PredictionSpec.aggregation`.
    """

    pooling: Pooling
    head: AnyHeadSpec
    aggregation: Literal["auto", "mean_probability", "mean_logit", "majority", "attention"]

    @property
    def joining(self) -> Aggregation:
        """The aggregation, with `auto` replaced by the head's own."""
        return resolve_aggregation(self.aggregation, self.head.kind)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "pooling": self.pooling,
            "head": json.loads(json.dumps(spec_dict(self.head))),
            "aggregation": self.joining,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Hyperparameters:
        """Return the procedure that `as_dict` wrote down."""
        head: AnyHeadSpec = TypeAdapter(HeadSpec).validate_python(content["head"])
        return cls(pooling=content["pooling"], head=head, aggregation=content["aggregation"])

    @property
    def resolved(self) -> Hyperparameters:
        """The procedure with `auto` spelled out, as files hold it."""
        return dataclasses.replace(self, aggregation=self.joining)

    def with_settings(self, settings: Mapping[str, Any]) -> Hyperparameters:
        """Return the procedure with some settings replaced.

        Raises
        ------
        ConfigurationError
            If a setting does not exist or its value is not allowed.
        """
        head = spec_dict(self.head)
        if _HEADS in settings:
            head = {"kind": self.head.kind, **_demand_table(settings[_HEADS])}
        for name, value in settings.items():
            if name.startswith(_HEADS + "."):
                head[name.removeprefix(_HEADS + ".")] = value
        pooling = settings.get(_POOLING, self.pooling)
        aggregation = settings.get(_AGGREGATION, self.aggregation)
        _demand_known(_POOLING, pooling, _POOLINGS)
        _demand_known(_AGGREGATION, aggregation, _AGGREGATIONS)
        try:
            spec: AnyHeadSpec = TypeAdapter(HeadSpec).validate_python(head)
        except ValidationError as error:
            message = validation_message(
                error, of="search space", model=HeadSpec, unnamed=HEAD_KINDS
            )
            raise ConfigurationError(message, where="search.space") from error
        return Hyperparameters(pooling=pooling, head=spec, aggregation=aggregation)


def searched_poolings(spec: SearchSpec, head_kind: str) -> tuple[Pooling, ...]:
    """Return the poolings that the search may choose, for the stage that computes features."""
    found = spec.for_head(head_kind).get(_POOLING, [])
    for value in found:
        _demand_known(_POOLING, value, _POOLINGS)
    return tuple(pooling for pooling in _POOLINGS if pooling in found)


def check_space(spec: SearchSpec, base: Hyperparameters) -> None:
    """Refuse a space that names what cannot be searched, or values that are not allowed.

    Parameters
    ----------
    spec : SearchSpec
    base : Hyperparameters
        The configured one, whose settings the values would replace.

    Raises
    ------
    ConfigurationError
        Naming the setting or the value.
    """
    space = spec.for_head(base.head.kind)
    heads = [{_HEADS: head} for head in space.get(_HEADS, [])]
    for name, values in space.items():
        _demand_searchable(name)
        # A setting of the head has to suit every head that it may be joined with.
        joined_with = [{}, *heads] if name.startswith(_HEADS + ".") else [{}]
        for value in values:
            for head in joined_with:
                base.with_settings({**head, name: value})


def count_trials(spec: SearchSpec, base: Hyperparameters) -> int:
    """Return how many procedures a search tries, the configured one among them."""
    n_combinations = _n_combinations(spec, base)
    # A sampler that draws would try some of a small space twice and some of it never.
    whole = spec.sampler == "grid" or n_combinations <= spec.n_trials
    return n_combinations if whole else spec.n_trials


def _n_combinations(spec: SearchSpec, base: Hyperparameters) -> int:
    """Count the combinations of values to try, each setting also as it is configured."""
    return math.prod(1 + len(values) for values in spec.for_head(base.head.kind).values())


class FoldSearch:
    """The search of one outer fold: ask for a procedure, tell its inner AUC, take the best.

    Parameters
    ----------
    spec : SearchSpec
    base : Hyperparameters
        The configured one; it is tried first.
    seed : int

    Raises
    ------
    ConfigurationError
        As `check_space`.
    """

    def __init__(self, spec: SearchSpec, base: Hyperparameters, *, seed: int) -> None:
        import optuna

        check_space(spec, base)
        self._base = base
        self._margin_se = spec.margin_se
        # Optuna's choices are plain values: lists and tables travel as JSON. None: as configured.
        space = spec.for_head(base.head.kind)
        self._choices: dict[str, list[str | None]] = {
            name: [None, *(json.dumps(value) for value in values)]
            for name, values in sorted(space.items())
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed % 2**32)
        )
        self.n_trials = count_trials(spec, base)
        combinations = itertools.product(*self._choices.values())
        whole = _n_combinations(spec, base) == self.n_trials
        for values in itertools.islice(combinations, self.n_trials if whole else 1):
            self._study.enqueue_trial(dict(zip(self._choices, values, strict=True)))
        self._asked: list[Any] = []
        self.tried: dict[Hyperparameters, list[float]] = {}

    def ask(self) -> Hyperparameters:
        """Return the next procedure to try; it may have been tried before."""
        trial = self._study.ask()
        self._asked.append(trial)
        settings = {}
        for name, choices in self._choices.items():
            chosen = trial.suggest_categorical(name, choices)
            if chosen is not None:
                settings[name] = json.loads(str(chosen))
        return self._base.with_settings(settings)

    def tell(self, procedure: Hyperparameters, fold_aucs: Sequence[float]) -> None:
        """Say how well the procedure asked for last ranks each inner fold."""
        self.tried.setdefault(procedure, list(fold_aucs))
        self._study.tell(self._asked.pop(), float(np.mean(self.tried[procedure])))

    def choose(self, *, n_train: int, n_test: int) -> Hyperparameters:
        """Return the procedure to use: the best, if it is clearly better than the configured one.

        Parameters
        ----------
        n_train, n_test : int
            Patients of an inner fold.
        """
        best = max(self.tried, key=lambda one: round(float(np.mean(self.tried[one])), 6))
        ahead = np.subtract(self.tried[best], self.tried[self._base])
        margin = self._margin_se * corrected_standard_error(
            ahead.tolist(), n_train=n_train, n_test=n_test
        )
        return best if ahead.mean() > margin else self._base


def _demand_known(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigurationError(
            f"no such value of {name}",
            where="search.space",
            found=str(value),
            expected=", ".join(allowed),
        )


def _demand_table(head: object) -> dict[str, Any]:
    if isinstance(head, dict):
        return head
    raise ConfigurationError(
        "not the settings of a head",
        where=f"search.space.{_HEADS}",
        found=repr(head),
        expected='tables, such as {kind = "attention", epochs = 40}',
    )


def _flat(space: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in space.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _demand_searchable(name: str) -> None:
    if name == f"{_HEADS}.kind":
        raise ConfigurationError(
            "a kind of head is searched as a whole head",
            where="search.space",
            found=name,
            expected=f'{_HEADS} = [{{kind = "attention"}}]',
        )
    if name in (_POOLING, _AGGREGATION, _HEADS) or name.startswith(_HEADS + "."):
        return
    raise ConfigurationError(
        "this setting cannot be searched",
        where="search.space",
        found=name,
        expected=f"{_POOLING}, {_AGGREGATION}, {_HEADS}, or {_HEADS}.<setting of the head>",
        remedy="What shapes scans and slices is fixed before folds: compare runs instead",
    )
