"""The context of a run as a process on another machine works in it."""

from __future__ import annotations

import dataclasses

from mri_transfer.models.features import resolve_features
from pipelines.engines.settings import ExecutorSpec
from pipelines.reporters import SilentReporter
from pipelines.stage import Context
from pipelines.workspace import Workspace

__all__ = ["elsewhere"]


def elsewhere(context: Context) -> Context:
    """Return the context as another machine works in it.

    It is plain data, says nothing, names folders by absolute paths and asks nobody else. What
    `auto` means of the trunk is what it means here, as keys were made by it.
    """
    workspace, config = context.workspace, context.config
    return dataclasses.replace(
        context,
        workspace=Workspace(root=workspace.root.absolute(), cache=workspace.cache.absolute()),
        config=dataclasses.replace(
            config, executor=ExecutorSpec(), features=resolve_features(config.features)
        ),
        reporter=SilentReporter(),
        weights=None if context.weights is None else context.weights.absolute(),
        jobs=None,
    )
