"""Ledger: verify that the files of a run folder match the stages' records and the settings.

A stage's record contains the digest of every file that it read and wrote, and its settings. A file
is trusted if the stage that writes it recorded the same digest and ran with the current settings,
and if its inputs are trusted in turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mri_transfer.core.files import sha256_of_file
from mri_transfer.errors import RunFolderError
from pipelines.config import RunConfig
from pipelines.record import StageRecord, recorded_specs
from pipelines.scan_index import scan_digests
from pipelines.settings import changed_settings
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from pipelines.stage import Stage

__all__ = ["Ledger", "Mismatch"]

_NO_FILE = "no file"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One difference between a stage's record and the current state.

    Attributes
    ----------
    stage : str
        The stage to run again.
    what : str
        The fault in one clause, naming the file or the setting.
    recorded, found : str
        Recorded and current digest or value; `recorded` is None without a record.
    """

    stage: str
    what: str
    recorded: str | None
    found: str

    @property
    def text(self) -> str:
        """The difference in one clause."""
        recorded = "" if self.recorded is None else f"recorded {self.recorded}, "
        return f"{self.what} ({recorded}found {self.found})"

    def error(self, workspace: Workspace) -> RunFolderError:
        """Return the error for this mismatch."""
        return RunFolderError(
            self.what,
            where=str(workspace.root),
            found=self.found,
            expected=None if self.recorded is None else f"{self.recorded}, as recorded",
            remedy=f"Recompute it with `mri-transfer {self.stage}` on this folder, or everything "
            "that is stale with `mri-transfer run`",
        )


class Ledger:
    """The records of a run's stages, compared with its files and settings.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
        The current settings.
    stages : sequence of Stage
        The stages whose files are requested, and all earlier ones, in order.
    """

    def __init__(self, workspace: Workspace, config: RunConfig, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)
        self._workspace = workspace
        self._config = config
        self._digests: dict[str, str] = {}
        self._first: dict[str, Mismatch | None] = {}
        self._scan_digests: dict[str, str] | None = None

    def own(self, stage: Stage) -> list[Mismatch]:
        """Return why a stage is not current by its own record; empty if it is current."""
        return self._mismatches(stage, self._config)

    def demand(self, files: Sequence[tuple[Path, str]]) -> None:
        """Refuse files that are missing, edited or stale.

        Parameters
        ----------
        files : sequence of (Path, str)
            Each with the stage that writes it; other files are the user's own.

        Raises
        ------
        RunFolderError
            Naming the file or setting, and the stage to run again. Of several faults the first in
            order of data flow is reported.
        """
        for path, maker in files:
            self._workspace.demand(path, made_by=maker)
        wanted = {maker for _, maker in files}
        makers = {stage.name: stage for stage in self._stages if stage.name in wanted}
        for stage in makers.values():
            if (mismatch := self._first_mismatch(stage)) is not None:
                raise mismatch.error(self._workspace)
        for path, maker in files:
            if maker in makers and self._name(path) not in self._outputs(maker):
                raise Mismatch(
                    stage=maker,
                    what=f"{self._name(path)} was not written by `{maker}`",
                    recorded=_NO_FILE,
                    found=self._digest(self._name(path)),
                ).error(self._workspace)

    def _first_mismatch(self, stage: Stage) -> Mismatch | None:
        """Return the first mismatch of a stage or of earlier ones."""
        if stage.name not in self._first:
            makers = {maker for _, maker in stage.inputs(self._workspace)}
            before = (self._first_mismatch(maker) for maker in self._stages if maker.name in makers)
            own = self._mismatches(stage, _as_computed(self._workspace, self._config))
            self._first[stage.name] = next(
                (mismatch for mismatch in before if mismatch is not None), own[0] if own else None
            )
        return self._first[stage.name]

    def _mismatches(self, stage: Stage, config: RunConfig) -> list[Mismatch]:
        record = StageRecord.read(self._workspace, stage.name)
        if record is None:
            exists = self._workspace.record(stage.name).exists()
            return [
                Mismatch(
                    stage=stage.name,
                    what=f"no valid record of `{stage.name}`",
                    recorded=None,
                    found="a damaged record, or one of another version" if exists else _NO_FILE,
                )
            ]
        specs = recorded_specs(config.seed, stage.specs(config))
        settings = [
            Mismatch(
                stage=stage.name,
                what=f"`{stage.name}` ran with a different {name}",
                recorded=old,
                found=new,
            )
            for name, (old, new) in changed_settings(record.specs, specs).items()
        ]
        current = [self._name(path) for path, _ in stage.inputs(self._workspace)]
        read = {name: record.inputs.get(name, _NO_FILE) for name in (*record.inputs, *current)}
        return [
            *settings,
            *self._files(stage.name, record.outputs, "{} has changed since `{}` wrote it"),
            *self._files(stage.name, read, "{} has changed since `{}` read it"),
            *self._scans(stage.name, record.scans),
        ]

    def _scans(self, stage: str, recorded: dict[str, str] | None) -> list[Mismatch]:
        """Return the scans whose files have changed; missing ones may be archived."""
        if recorded is None:
            return []
        if self._scan_digests is None:
            self._scan_digests = scan_digests(self._workspace)
        return [
            Mismatch(
                stage=stage,
                what=f"scan {scan_id} has changed since `{stage}` read it",
                recorded=recorded.get(scan_id, _NO_FILE)[:16],
                found=digest[:16],
            )
            for scan_id, digest in sorted(self._scan_digests.items())
            if digest != recorded.get(scan_id)
        ]

    def _files(self, stage: str, recorded: dict[str, str], what: str) -> list[Mismatch]:
        return [
            Mismatch(
                stage=stage,
                what=what.format(name, stage),
                recorded=digest[:16],
                found=self._digest(name)[:16],
            )
            for name, digest in sorted(recorded.items())
            if digest != self._digest(name)
        ]

    def _outputs(self, stage: str) -> dict[str, str]:
        record = StageRecord.read(self._workspace, stage)
        return {} if record is None else record.outputs

    def _name(self, path: Path) -> str:
        return path.relative_to(self._workspace.root).as_posix()

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            path = self._workspace.root / name
            self._digests[name] = sha256_of_file(path) if path.is_file() else _NO_FILE
        return self._digests[name]


def _as_computed(workspace: Workspace, config: RunConfig) -> RunConfig:
    """Return the settings with `auto` replaced by the values used when the features were computed.

    A finished run that is opened on another machine is not stale.
    """
    record = StageRecord.read(workspace, "features")
    requested = config.features
    unset = [name for name in ("precision", "device") if getattr(requested, name) == "auto"]
    if record is None or not unset:
        return config
    try:
        computed = {name: record.specs["features"][name] for name in unset}
        return dataclasses.replace(config, features=dataclasses.replace(requested, **computed))
    except (LookupError, TypeError, ValueError):  # an edited record, reported as a mismatch
        return config
