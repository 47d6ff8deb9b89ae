"""STAGES: every stage, in order of data flow."""

from __future__ import annotations

from mri_transfer.core.specs import suggestion
from mri_transfer.errors import ConfigurationError
from pipelines.plan.models import AUDIT, EVALUATE, EXPLAIN, REPORT, TRAIN
from pipelines.plan.scans import CHECK, FEATURES, FOLDS, PREPARE, SLICES
from pipelines.stage import Stage

__all__ = ["STAGES", "stage_named", "stages_until"]

#: Every stage, in order of data flow.
STAGES: tuple[Stage, ...] = (
    CHECK,
    PREPARE,
    SLICES,
    FEATURES,
    FOLDS,
    TRAIN,
    EVALUATE,
    AUDIT,
    EXPLAIN,
    REPORT,
)


def stage_named(name: str) -> Stage:
    """Return a stage by its name.

    Raises
    ------
    ConfigurationError
        If there is no such stage.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    names = [stage.name for stage in STAGES]
    raise ConfigurationError(
        "no such stage",
        found=name,
        expected=", ".join(names),
        remedy=suggestion(name, names).strip() or None,
    )


def stages_until(name: str | None) -> tuple[Stage, ...]:
    """Return the stages up to and including one; all of them if `name` is None.

    Raises
    ------
    ConfigurationError
        If there is no such stage.
    """
    return STAGES if name is None else STAGES[: STAGES.index(stage_named(name)) + 1]
