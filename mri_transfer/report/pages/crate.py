"""RO-Crate: what a run folder holds, made by which software from what, for machines to read.

Follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and its profile Process Run Crate 0.5
(https://w3id.org/ro/wfrun/process/0.5): one action a stage. Only `ro-crate-metadata.json` is
written; nothing is copied.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mri_transfer.core.files import sha256_of_file, write_json
from mri_transfer.errors import RunFolderError

__all__ = ["CRATE_NAME", "RecordedStage", "run_crate", "write_crate"]

#: The file's name, fixed by the standard.
CRATE_NAME = "ro-crate-metadata.json"

_VERSION = "1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_MIT = "https://spdx.org/licenses/MIT"
_BIDS = "https://bids-specification.readthedocs.io/en/v1.10.0/derivatives/introduction.html"
# schema.org has this term, the context of RO-Crate 1.1 does not.
_TERMS = {"sha256": "http://schema.org/sha256"}
_FORMATS = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".toml": "application/toml",
}
_NAMES = {
    "audit.json": "Audit for leakage and shortcuts",
    "config.toml": "Configuration with every default spelled out",
    "duplicates.csv": "Pairs of scans that may be the same",
    "evaluation.json": "Figures of the evaluation",
    "excluded.csv": "Scans that were not used, with reasons",
    "features.csv": "Where each scan's features lie in the cache",
    "folds.csv": "Fold of each patient in each repeat",
    "manifest.csv": "Scans that were used",
    "prepared.csv": "Where each prepared scan lies in the cache",
    "quality.csv": "Quality of each scan",
    "refused.csv": "Scans that the first check refused",
    "slices.csv": "Where each scan's slices lie in the cache",
    "source_manifest.csv": "The manifest as it came in",
}
#: Folders of one file or more a patient: named as a whole, so that no file name tells who they are.
_FOLDERS = {
    "prepared": "Prepared scans as a BIDS derivatives folder",
    "quality": "Pages on the quality of each scan",
    "report/volumes": "Pages on the scans of each patient, in three planes",
    "records": "What each stage read, wrote and ran with",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedStage:
    """A stage of the run, as its record has it.

    Attributes
    ----------
    name : str
    inputs, outputs : tuple of str
        Paths in the run folder.
    version : str
        Of mri-transfer.
    commit : str or None
        Of the source it ran from; None for an installed package.
    packages : mapping of str to str
        Version of each package that numbers depend on, and of Python.
    started : str
        ISO 8601 with time zone; empty for the stage that is writing the crate.
    seconds : float
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    version: str
    commit: str | None
    packages: Mapping[str, str]
    started: str = ""
    seconds: float = 0.0

    @property
    def ended(self) -> str:
        """When it ended, to the second; empty if not known."""
        if not self.started:
            return ""
        start = datetime.datetime.fromisoformat(self.started)
        end = start + datetime.timedelta(seconds=self.seconds)
        return end.isoformat(timespec="seconds")


def run_crate(
    folder: str | Path, stages: Sequence[RecordedStage], *, title: str, description: str
) -> dict[str, Any]:
    """Describe a run folder.

    Parameters
    ----------
    folder : str or Path
        The run folder. Of the files that the stages name, those that exist are listed.
    stages : sequence of RecordedStage
        In the order in which they ran.
    title, description : str

    Returns
    -------
    dict
        JSON-LD, the same for the same files and records: no date but those of the records.

    Raises
    ------
    RunFolderError
        If no stage has a date.
    """
    from rocrate.rocrate import ROCrate

    folder = Path(folder)
    crate = ROCrate(version=_VERSION)
    crate.metadata.extra_terms = dict(_TERMS)
    _describe_root(crate, stages, where=str(folder), title=title, description=description)
    files = _add_files(crate, folder, stages)
    _add_folders(crate, folder)
    actions = [_add_action(crate, stage, files) for stage in stages]
    crate.root_dataset["mentions"] = actions
    document: dict[str, Any] = crate.metadata.generate()
    return _sorted(document)


def write_crate(
    folder: str | Path, stages: Sequence[RecordedStage], *, title: str, description: str
) -> None:
    """Write `ro-crate-metadata.json` into a run folder; see `run_crate`."""
    crate = run_crate(folder, stages, title=title, description=description)
    write_json(Path(folder) / CRATE_NAME, crate)


def _describe_root(
    crate: Any, stages: Sequence[RecordedStage], *, where: str, title: str, description: str
) -> None:
    ends = [stage.ended for stage in stages if stage.started]
    if not ends:
        raise RunFolderError(
            "no stage of the run has a record, so the crate has no date",
            where=where,
            remedy="Run the stages before the report again",
        )
    root = crate.root_dataset
    root["name"], root["description"] = title, description
    root["datePublished"] = max(ends, key=datetime.datetime.fromisoformat)
    root["license"] = _context(
        crate,
        "#licence",
        "CreativeWork",
        name="For the authors to supply",
        description=(
            "Who may have this folder and on which terms depends on the cohort: it holds data of "
            "patients."
        ),
    )
    root["conformsTo"] = _context(
        crate, _PROFILE, "CreativeWork", name="Process Run Crate", version="0.5"
    )


def _add_files(crate: Any, folder: Path, stages: Sequence[RecordedStage]) -> dict[str, Any]:
    named = {path for stage in stages for path in (*stage.inputs, *stage.outputs)}
    named.add("prepared/dataset_description.json")
    files = {}
    for path in sorted(named):
        lone = path == "prepared/dataset_description.json"
        whole = any(path.startswith(f"{name}/") for name in _FOLDERS)
        if (whole and not lone) or not (folder / path).is_file():
            continue
        properties = {
            "name": _NAMES.get(path, path),
            "contentSize": str((folder / path).stat().st_size),
            "encodingFormat": _FORMATS.get(Path(path).suffix, "application/octet-stream"),
            "sha256": sha256_of_file(folder / path),
        }
        files[path] = crate.add_file(dest_path=path, properties=properties)
    return files


def _add_folders(crate: Any, folder: Path) -> None:
    for name, what in _FOLDERS.items():
        if not (folder / name).is_dir():
            continue
        entity = crate.add_dataset(dest_path=f"{name}/", properties={"name": what})
        if (folder / name / "dataset_description.json").is_file():
            bids = _context(crate, _BIDS, "CreativeWork", name="BIDS derivatives 1.10.0")
            entity["conformsTo"] = bids
            entity["hasPart"] = [crate.get(f"{name}/dataset_description.json")]


def _add_action(crate: Any, stage: RecordedStage, files: Mapping[str, Any]) -> Any:
    times = {"startTime": stage.started, "endTime": stage.ended} if stage.started else {}
    return _context(
        crate,
        f"#stage-{stage.name}",
        "CreateAction",
        name=f"mri-transfer {stage.name}",
        instrument=_software(crate, stage),
        object=[files[path] for path in sorted(stage.inputs) if path in files],
        result=[files[path] for path in sorted(stage.outputs) if path in files],
        **times,
    )


def _software(crate: Any, stage: RecordedStage) -> Any:
    source = stage.commit or "package"
    packages = [
        _context(
            crate, f"#{name}-{version}", "SoftwareApplication", name=name, softwareVersion=version
        )
        for name, version in sorted(stage.packages.items())
    ]
    return _context(
        crate,
        f"#mri-transfer-{stage.version}-{source}",
        "SoftwareApplication",
        name="mri-transfer",
        softwareVersion=stage.version if stage.commit is None else f"{stage.version}, {source}",
        license=_context(crate, _MIT, "CreativeWork", name="MIT License"),
        softwareRequirements=packages,
    )


def _context(crate: Any, identifier: str, kind: str, **properties: Any) -> Any:
    """Add an entity that is no file; one of that name that is there already is returned."""
    from rocrate.model.contextentity import ContextEntity

    found = crate.get(identifier)
    if found is not None:
        return found
    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def _sorted(document: dict[str, Any]) -> dict[str, Any]:
    """Put the entities in one order: the crate's own two, then the others by name."""
    own = {CRATE_NAME: 0, "./": 1}
    graph = sorted(document["@graph"], key=lambda one: (own.get(one["@id"], 2), one["@id"]))
    for entity in graph:
        if "hasPart" in entity:
            entity["hasPart"] = sorted(entity["hasPart"], key=lambda one: str(one["@id"]))
    return {**document, "@graph": graph}
