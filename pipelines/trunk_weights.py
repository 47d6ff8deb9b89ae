"""Which weights a run means: found before it begins, and written into its configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mri_transfer.models.trunks import TRUNKS, TrunkWeights, weights_settled
from mri_transfer.models.trunks.seen import SeenScans
from pipelines.config import RunConfig, read_config
from pipelines.indexes import read_index, scan_rows
from pipelines.stage import Context
from pipelines.workspace import Workspace

__all__ = [
    "demand_unseen",
    "demand_weights",
    "seen_scans",
    "settle_weights",
    "size_note",
    "with_weights_of",
]


def demand_weights(workspace: Workspace, config: RunConfig, weights: Path | None) -> None:
    """Refuse to begin without what the trunk needs, unless the features already exist.

    Raises
    ------
    WeightsError
        If they are not found.
    ConfigurationError
        If slices are too small for the trunk.
    """
    if workspace.features.exists():
        return
    from mri_transfer.models.trunks.layers import stage_table

    stage_table(config.trunk, config.slices.size_px)
    if config.trunk.weights != "random":
        _find(workspace, config, weights)


def settle_weights(workspace: Workspace, config: RunConfig, weights: Path | None) -> RunConfig:
    """Return the configuration with the digest of the trunk's weights, if none was known.

    The weights are those that the run folder was begun with, else those that are found.

    Raises
    ------
    WeightsError
        If there are none.
    """
    config = with_weights_of(workspace, config)
    if weights_settled(config.trunk):
        return config
    return _meaning(config, _find(workspace, config, weights).digest)


def with_weights_of(workspace: Workspace, config: RunConfig) -> RunConfig:
    """Return the configuration with the weights that a run folder was begun with.

    Only where the configuration leaves them open and the trunk is otherwise the same.
    """
    if weights_settled(config.trunk) or not workspace.config.is_file():
        return config
    begun = read_config(workspace.config).trunk
    carried = _meaning(config, begun.digest)
    return carried if carried.trunk == begun else config


def seen_scans(workspace: Workspace, config: RunConfig, weights: Path | None) -> SeenScans | None:
    """Return which scans the trunk's weights were trained on.

    None of weights that were not trained here: no brain scan is known to be among them.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
    weights : Path, optional
        The file of the weights; by default those that the configuration means, from the cache.

    Raises
    ------
    WeightsError
        If they are not found.
    """
    return _find(workspace, config, weights).seen if config.trunk.weights == "scans" else None


def demand_unseen(context: Context) -> None:
    """Refuse weights that were trained on scans of the cohort, before features are computed.

    Raises
    ------
    WeightsError
        If a scan or a patient took part in their training.
    """
    workspace, config = context.workspace, context.config
    seen = seen_scans(workspace, config, context.weights)
    if seen is None:
        return
    seen.demand_none(scan_rows(read_index(workspace.slices)))
    edge = config.slices.size_px
    if edge != seen.size_px:
        context.reporter.note(
            f"slices of {edge} px; the weights were trained on slices of {seen.size_px} px"
        )


def size_note(config: RunConfig) -> str | None:
    """Say that the trunk's weights were trained on pictures of another size, if they were."""
    entry, edge = TRUNKS[config.trunk.name], config.slices.size_px
    if entry.input_px in (0, edge):
        return None
    return (
        f"slices of {edge} px; the weights of {entry.title} were trained on pictures of "
        f"{entry.input_px} px (slices.size_px = {entry.input_px} makes them so)"
    )


def _meaning(config: RunConfig, digest: str) -> RunConfig:
    return dataclasses.replace(config, trunk=dataclasses.replace(config.trunk, digest=digest))


def _find(workspace: Workspace, config: RunConfig, path: Path | None) -> TrunkWeights:
    trunk = config.trunk
    return TRUNKS[trunk.name].find_weights(path=path, cache=workspace.weights, digest=trunk.digest)
