"""The output of the BIDS App: a derivative data set of prepared scans and features."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import atomic_write_text, read_json_object
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.feature_derivative import write_feature_derivative
from mri_transfer.models.features import FeatureStore, resolve_features
from mri_transfer.scans.preparation import (
    PreparedStore,
    bids_stem,
    write_derivative,
    write_description,
)
from mri_transfer.version import __version__
from pipelines.config import RunConfig
from pipelines.indexes import read_index
from pipelines.workspace import Workspace

__all__ = ["GROUP_FOLDER", "WORK_FOLDER", "begin_dataset", "write_scans"]

#: The run folder of the group level, and the default folder for intermediate files.
GROUP_FOLDER, WORK_FOLDER = "group", "work"

_DESCRIPTION = "dataset_description.json"
_MAKER = "mri-transfer"
#: The raw data set's name in BIDS URIs.
_RAW = "raw"
#: What BIDS has no names for.
_IGNORED = (f"/{GROUP_FOLDER}", f"/{WORK_FOLDER}", "*_features.*", "*_xfm.txt")
_README = f"""# mri-transfer

T1-weighted scans prepared for classification, and features of their slices. Research software, not
a medical device.

| | |
|---|---|
| `*_desc-preproc_T1w.nii.gz` | the scan in template space; none of a scan that came prepared |
| `*_desc-brain_mask.nii.gz` | its brain mask |
| `*_mode-image_xfm.txt` | its transform (ITK) |
| `*_features.safetensors`, `.json` | features of its slices, and what they were computed with |
| `{GROUP_FOLDER}/report/index.html` | the report of the group level; the folder is a run folder |
| `{WORK_FOLDER}/` | intermediate files, which the group level needs |
"""


def begin_dataset(out: Path, source: Path) -> None:
    """Write the files that describe the data set; several jobs may do so at the same time.

    Parameters
    ----------
    out : Path
        The data set's folder; created if missing.
    source : Path
        The raw data set.

    Raises
    ------
    ConfigurationError
        If `out` is the raw data set, or a data set that another program made.
    """
    if out.resolve() == source.resolve():
        raise ConfigurationError(
            "the output would be mixed with the scans",
            where=f"OUT_DIR {out}",
            expected="another folder than BIDS_DIR, such as BIDS_DIR/derivatives/mri-transfer",
        )
    _demand_own(out / _DESCRIPTION)
    more = {"Name": "mri-transfer: prepared T1-weighted scans and their features"}
    write_description(out, version=__version__, more={**more, **_origin(out, source)})
    atomic_write_text(out / ".bidsignore", "\n".join([*_IGNORED, ""]))
    atomic_write_text(out / "README.md", _README)


def _demand_own(description: Path) -> None:
    """Refuse a data set that another program made."""
    if not description.exists():
        return
    makers = (read_json_object(description) or {}).get("GeneratedBy")
    names = [maker.get("Name") for maker in makers or () if isinstance(maker, dict)]
    if _MAKER not in names:
        raise ConfigurationError(
            "the folder holds a data set that mri-transfer did not make",
            where=str(description.parent),
            found=", ".join(map(str, names)) or f"{_DESCRIPTION} without GeneratedBy",
            remedy="Choose another OUT_DIR",
        )


def _origin(out: Path, source: Path) -> dict[str, Any]:
    """Return the fields on the raw data set, its licence among them."""
    raw = read_json_object(source / _DESCRIPTION) or {}
    inside = out.resolve().is_relative_to(source.resolve())
    # A relative address stays true when a data set is moved with its derivatives.
    where = os.path.relpath(source, out) if inside else source.resolve().as_uri()
    origin = {"URL": where} if raw.get("DatasetDOI") is None else {"DOI": raw["DatasetDOI"]}
    licence = {"License": raw["License"]} if isinstance(raw.get("License"), str) else {}
    return {"DatasetLinks": {_RAW: where}, "SourceDatasets": [origin], **licence}


def write_scans(out: Path, workspace: Workspace, config: RunConfig, *, source: Path) -> int:
    """Write prepared scans and features of a run folder into the data set.

    Parameters
    ----------
    out : Path
        The data set's folder.
    workspace : Workspace
        Its stages up to the features are current.
    config : RunConfig
    source : Path
        The raw data set.

    Returns
    -------
    int
        Number of scans written.
    """
    scans = read_manifest(workspace.manifest, check_files=False).scans.to_dict("records")
    prepared = {row["scan_id"]: row for row in _rows(workspace.prepared)}
    features = {row["scan_id"]: row for row in _rows(workspace.features)}
    store, spec = FeatureStore(workspace.cache), resolve_features(config.features)
    root = Path(os.path.abspath(source))
    for scan in scans:
        row, stem = prepared[scan["scan_id"]], _stem(scan)
        raw = f"bids:{_RAW}:{Path(os.path.abspath(scan['path'])).relative_to(root).as_posix()}"
        sources = [raw]
        # A scan that was prepared already has no other volume than its own.
        if not row["path"]:
            volume, *_ = write_derivative(
                out,
                PreparedStore(workspace.cache),
                row["key"],
                stem=stem,
                source=raw,
                scan_sha256=row["scan_sha256"],
            )
            sources = [f"bids::{volume.relative_to(out).as_posix()}"]
        write_feature_derivative(
            out,
            store,
            features[scan["scan_id"]]["key"],
            stem=stem,
            sources=sources,
            trunk=config.trunk,
            features=spec,
        )
    return len(scans)


def _rows(path: Path) -> list[Mapping[Hashable, str]]:
    return list(read_index(path).to_dict("records"))


def _stem(scan: Mapping[Hashable, Any]) -> str:
    session = scan["session_id"]
    return bids_stem(
        scan_id=scan["scan_id"],
        patient_id=scan["patient_id"],
        session_id=session if isinstance(session, str) else None,
    )
