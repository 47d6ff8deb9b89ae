"""The work of a stage, imported when the stage runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from pipelines.stage import Context, StageResult

__all__ = ["work_of"]


def work_of(stage: str) -> Callable[[Context], StageResult]:
    """Return the work of a stage, whose module is imported when it begins."""

    def work(context: Context) -> StageResult:
        module = importlib.import_module(f"pipelines.stages.{stage}")
        result: StageResult = module.work(context)
        return result

    return work
