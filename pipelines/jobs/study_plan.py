"""Plan of a study: the arms of transfer learning on a cohort, with what each of them costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.specs import suggestion
from mri_transfer.errors import ConfigurationError
from mri_transfer.evaluation.transfer_study import (
    TransferType,
    transfer_type,
)
from mri_transfer.models.features import resolve_features
from mri_transfer.models.tails.adapters import count_trained
from mri_transfer.models.tails.cost import estimated_seconds, measure_rates, stage_gflop
from mri_transfer.models.tails.spec import TuningSpec, frozen_stages
from mri_transfer.models.trunks import TRUNKS, TrunkSpec, load_trunk, untrained
from pipelines.config import RunConfig
from pipelines.console import duration

__all__ = ["PlannedArm", "StudyPlan", "plan_lines", "plan_study"]

#: What can be compared: a strategy with its method and start; `untrained` also has a random trunk.
_ARMS: dict[str, TuningSpec] = {
    "frozen": TuningSpec(),
    "some": TuningSpec(strategy="some"),
    "most": TuningSpec(strategy="most"),
    "all": TuningSpec(strategy="all"),
    "ssf": TuningSpec(strategy="all", method="ssf"),
    "norm": TuningSpec(strategy="all", method="norm"),
    "lora": TuningSpec(strategy="all", method="lora"),
    "random": TuningSpec(strategy="all", start="random"),
    "untrained": TuningSpec(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """An arm before it is run.

    Attributes
    ----------
    name : str
        Also of its run folder.
    config : RunConfig
    estimated_s : float
        Seconds of features and training, with empty caches.
    """

    name: str
    config: RunConfig
    estimated_s: float

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from released weights."""
        return self.config.trunk.weights != "random" and self.config.tuning.start != "random"

    @property
    def transfer(self) -> TransferType:
        """What is transferred."""
        return transfer_type(pretrained=self.is_pretrained, trains=self.config.tuning.trains)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """The arms of a study, from the cheapest to the dearest.

    Attributes
    ----------
    arms : tuple of PlannedArm
    reference : str
        The name of the arm that the others are compared with.
    budget_s : float or None
        Arms are run in order while the estimates add up to no more.
    """

    arms: tuple[PlannedArm, ...]
    reference: str
    budget_s: float | None

    @property
    def reference_arm(self) -> PlannedArm:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.name == self.reference)

    @property
    def in_order(self) -> tuple[PlannedArm, ...]:
        """The arms in the order in which they are run: the reference, then the cheapest first."""
        return tuple(sorted(self.arms, key=lambda arm: arm.name != self.reference))

    @property
    def affordable(self) -> frozenset[str]:
        """Names of the arms within the budget; the reference always is."""
        names, spent = {self.reference}, 0.0
        for arm in self.in_order:
            spent += arm.estimated_s
            if self.budget_s is None or spent <= self.budget_s:
                names.add(arm.name)
        return frozenset(names)


def plan_study(
    manifest: Path,
    config: RunConfig,
    *,
    trunks: Sequence[str],
    kinds: Sequence[str],
    hours: float | None,
) -> StudyPlan:
    """Plan a study: its arms, what each will cost, and which of them the budget allows.

    Every kind of arm is planned for the first trunk; the other trunks are used frozen.

    Parameters
    ----------
    manifest : Path
    config : RunConfig
        What all arms share; its trunk and tuning are replaced.
    trunks : sequence of str
        Names of the registry.
    kinds : sequence of str
        Of `_ARMS`; `frozen` is always among them.
    hours : float, optional
        The budget.

    Raises
    ------
    ConfigurationError
        If a kind or a trunk is unknown, or an arm would train nothing.
    """
    _demand_known("arm", kinds, _ARMS)
    _demand_known("trunk", trunks, TRUNKS)
    n_scans = len(read_manifest(manifest, check_files=False).scans)
    arms = []
    for trunk in dict.fromkeys(trunks):
        wanted = dict.fromkeys(["frozen", *kinds]) if trunk == trunks[0] else ["frozen"]
        arms += list(_arms_of(trunk, list(wanted), config, n_scans))
    return StudyPlan(
        arms=tuple(sorted(arms, key=lambda arm: arm.estimated_s)),
        reference=f"{trunks[0]}-frozen",
        budget_s=None if hours is None else 3600 * hours,
    )


def _demand_known(what: str, names: Sequence[str], known: Collection[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError(
            f"no such {what}",
            found=", ".join(unknown),
            expected=", ".join(known),
            remedy=suggestion(unknown[0], known).strip() or None,
        )


def _demand_trained(trunk: TrunkSpec, tuning: TuningSpec, kind: str) -> None:
    """Refuse an arm whose method finds nothing to train behind the cut."""
    entry = TRUNKS[trunk.name]
    used = entry.architecture()[: entry.stages.index(trunk.layer) + 1]
    thawed = used[frozen_stages(tuning.strategy, entry.stages[: len(used)]) :]
    if tuning.trains and not count_trained(thawed, tuning):
        raise ConfigurationError(
            f"the arm {kind} would train nothing",
            found=f"{entry.title}, which has no layers that {tuning.method} trains",
            remedy="Leave the arm out, or study another trunk",
        )


def _arms_of(
    trunk: str,
    kinds: Sequence[str],
    config: RunConfig,
    n_scans: int,
) -> Iterator[PlannedArm]:
    base = config.trunk if trunk == config.trunk.name else TrunkSpec(name=trunk)
    features = resolve_features(config.features)
    # Rates do not depend on the weights, which may be missing.
    timed = load_trunk(
        untrained(base),
        precision=features.precision,
        device=features.device,
    )
    rates = measure_rates(timed, size_px=config.slices.size_px)
    gflop = stage_gflop(base, size_px=config.slices.size_px)
    for kind in kinds:
        own = _ARMS[kind]
        tuning = dataclasses.replace(
            config.tuning,
            strategy=own.strategy,
            method=own.method,
            start=own.start,
        )
        _demand_trained(base, tuning, kind)
        yield PlannedArm(
            name=f"{trunk}-{kind}",
            config=dataclasses.replace(
                config,
                trunk=untrained(base) if kind == "untrained" else base,
                tuning=tuning,
            ),
            estimated_s=estimated_seconds(
                gflop,
                tuning,
                rates,
                n_scans=n_scans,
                n_slices=config.slices.n_slices,
                n_folds=config.folds.n_folds,
                n_repeats=config.folds.n_repeats,
            ),
        )


def plan_lines(plan: StudyPlan) -> list[str]:
    """Return the arms of a plan with their estimates."""
    lines = []
    for arm in plan.arms:
        mark = "" if arm.name in plan.affordable else ": over the budget, not run"
        lines.append(f"  {arm.name}: about {duration(arm.estimated_s)}{mark}")
    total = sum(arm.estimated_s for arm in plan.arms if arm.name in plan.affordable)
    return [*lines, f"about {duration(total)} in all, beside preparation and evaluation"]
