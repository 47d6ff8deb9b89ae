"""Ledger: whether files of a run folder are what its stages recorded, under the settings in force.

A stage's record names the digest of every file it read and wrote, and its settings. A file is
trusted if the stage that makes it recorded this very digest, if that stage ran with the settings
in force, and if what it read is trusted in turn.
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
    """One difference between what a stage recorded and what is there.

    Attributes
    ----------
    stage : str
        The stage, which makes its outputs again when it is run.
    what : str
        The fault in one clause, naming the file or the setting.
    recorded, found : str
        Digest or value, then and now; nothing was recorded where there is no record.
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
        """Return the refusal to work on what does not match."""
        return RunFolderError(
            self.what,
            where=str(workspace.root),
            found=self.found,
            expected=None if self.recorded is None else f"{self.recorded}, as recorded",
            remedy=f"Run `mri-transfer {self.stage}` on this folder to make it again; "
            "`mri-transfer run` does so with all that is stale",
        )


class Ledger:
    """What the stages of a run recorded, held against its files and its settings.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
        The settings in force.
    stages : sequence of Stage
        Those whose files are asked for, and all before them, in their order.
    """

    def __init__(self, workspace: Workspace, config: RunConfig, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)
        self._workspace = workspace
        self._config = config
        self._digests: dict[str, str] = {}
        self._first: dict[str, Mismatch | None] = {}
        self._scan_digests: dict[str, str] | None = None

    def own(self, stage: Stage) -> list[Mismatch]:
        """Return why a stage is not current, judged by its own record alone; nothing if it is."""
        return self._mismatches(stage, self._config)

    def demand(self, files: Sequence[tuple[Path, str]]) -> None:
        """Refuse files that are missing, edited or stale.

        Parameters
        ----------
        files : sequence of (Path, str)
            Each with the stage that makes it; what is made by no stage is the user's own.

        Raises
        ------
        RunFolderError
            Naming the file or the setting, and the stage that mends it. Of several faults the
            one that comes first in the data's flow is named.
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
                    what=f"{self._name(path)} is no file that `{maker}` wrote",
                    recorded=_NO_FILE,
                    found=self._digest(self._name(path)),
                ).error(self._workspace)

    def _first_mismatch(self, stage: Stage) -> Mismatch | None:
        """Return the mismatch of a stage, or of one before it, that comes first."""
        if stage.name not in self._first:
            makers = {maker for _, maker in stage.inputs(self._workspace)}
            before = (self._first_mismatch(one) for one in self._stages if one.name in makers)
            mine = self._mismatches(stage, _as_computed(self._workspace, self._config))
            self._first[stage.name] = next(
                (one for one in before if one is not None), mine[0] if mine else None
            )
        return self._first[stage.name]

    def _mismatches(self, stage: Stage, config: RunConfig) -> list[Mismatch]:
        record = StageRecord.read(self._workspace, stage.name)
        if record is None:
            there = self._workspace.record(stage.name).exists()
            return [
                Mismatch(
                    stage=stage.name,
                    what=f"there is no record of `{stage.name}` that can be trusted",
                    recorded=None,
                    found="a damaged one or one of another version" if there else _NO_FILE,
                )
            ]
        specs = recorded_specs(config.seed, stage.specs(config))
        settings = [
            Mismatch(
                stage=stage.name,
                what=f"`{stage.name}` ran with another {name}",
                recorded=old,
                found=new,
            )
            for name, (old, new) in changed_settings(record.specs, specs).items()
        ]
        current = [self._name(path) for path, _ in stage.inputs(self._workspace)]
        read = {name: record.inputs.get(name, _NO_FILE) for name in (*record.inputs, *current)}
        return [
            *settings,
            *self._files(stage.name, record.outputs, "{} is not what `{}` wrote"),
            *self._files(stage.name, read, "{} is not what `{}` read"),
            *self._scans(stage.name, record.scans),
        ]

    def _scans(self, stage: str, recorded: dict[str, str] | None) -> list[Mismatch]:
        """Return the scans that are another file now; one that is gone may lie in an archive."""
        if recorded is None:
            return []
        if self._scan_digests is None:
            self._scan_digests = scan_digests(self._workspace)
        return [
            Mismatch(
                stage=stage,
                what=f"scan {scan_id} is not the file that `{stage}` read",
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
    """Return settings in which `auto` is what the machine had that computed the features.

    A finished run may be read on another machine; it is not stale for that.
    """
    record = StageRecord.read(workspace, "features")
    asked = config.features
    unset = [name for name in ("precision", "device") if getattr(asked, name) == "auto"]
    if record is None or not unset:
        return config
    try:
        computed = {name: record.specs["features"][name] for name in unset}
        return dataclasses.replace(config, features=dataclasses.replace(asked, **computed))
    except (LookupError, TypeError, ValueError):  # an edited record, which is told as a mismatch
        return config
