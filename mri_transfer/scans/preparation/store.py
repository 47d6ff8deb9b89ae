"""PreparedStore: prepared scans in the cache, and their copy as BIDS derivatives.

A prepared scan is three files under one key: the volume and the mask (NIfTI), and a JSON file with
what was done and the digests of both, written last: a key with that file is complete. A scan that
passed through has the JSON file alone. The same scan and Spec give the same bytes.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mri_transfer.core.files import atomic_path, sha256_of_file, write_json
from mri_transfer.core.specs import digest
from mri_transfer.core.store import JsonStore
from mri_transfer.scans.preparation.nifti import read_bits, write_nifti
from mri_transfer.scans.preparation.prepared import PreparedScan
from mri_transfer.scans.preparation.registration import Alignment
from mri_transfer.scans.preparation.template import SPACE, itk_affine
from mri_transfer.scans.volumes import Volume, load_volume

__all__ = ["PreparedStore", "bids_stem", "write_derivative", "write_description"]

_BIDS_NAME = re.compile(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*")


class PreparedStore(JsonStore):
    """Prepared scans, addressed by `prepared_key`."""

    kind = "prepared"
    schema = "mri-transfer/prepared/1"

    def volume_path(self, key: str) -> Path:
        """Return where the volume of a key lies."""
        return self.path(key).with_suffix(".nii.gz")

    def mask_path(self, key: str) -> Path:
        """Return where the brain mask of a key lies."""
        return self.path(key).with_name(f"{key}_mask.nii.gz")

    def verify(self, key: str) -> None:
        """Compute the digests of facts, volume and mask again; see `ContentStore.verify`."""
        for path, recorded in self._files(key, self._read(key)).items():
            try:
                found = sha256_of_file(path)
            except OSError as error:
                raise self._refusal(key, f"{path.name}: {error.strerror}") from error
            if found != recorded:
                raise self._refusal(key, f"{path.name} of another digest, {found[:16]}")

    def _files(self, key: str, content: Mapping[str, Any]) -> dict[Path, str]:
        """Return the digest that was recorded of each file beside the facts."""
        paths = {"volume": self.volume_path(key), "mask": self.mask_path(key)}
        return {paths[name]: sha256 for name, sha256 in content["files"].items()}

    def put(self, key: str, prepared: PreparedScan) -> None:
        """Store a prepared scan."""
        files = {}
        if not prepared.passed_through:
            affine = prepared.volume.affine
            write_nifti(self.volume_path(key), prepared.volume.voxels, affine)
            # Two bits: brain, and inside the field of view.
            bits = prepared.mask.astype(np.uint8) + 2 * prepared.covered.astype(np.uint8)
            write_nifti(self.mask_path(key), bits, affine)
            files = {
                "volume": sha256_of_file(self.volume_path(key)),
                "mask": sha256_of_file(self.mask_path(key)),
            }
        self._write(key, {"facts": _facts(prepared), "files": files})

    def facts(self, key: str) -> dict[str, Any]:
        """Return what was done to a scan.

        Raises
        ------
        StoreError
            If the entry is missing or cannot be trusted.
        """
        return dict(self._read(key)["facts"])

    def get(self, key: str, raw: Volume) -> PreparedScan:
        """Read a prepared scan; its files are those that `key in store` has verified.

        Parameters
        ----------
        key : str
        raw : Volume
            The scan as it came; returned itself if it passed through.
        """
        facts = self.facts(key)
        if facts["passed_through"]:
            return PreparedScan.as_it_is(raw, turn=facts["turn"], lead=facts["lead"])
        volume = load_volume(self.volume_path(key), scan_id=raw.scan_id)
        bits = read_bits(self.mask_path(key))
        alignment = facts["alignment"]
        return PreparedScan(
            volume=volume,
            mask=(bits & 1) > 0,
            covered=(bits & 2) > 0,
            alignment=None
            if alignment is None
            else Alignment(**{**alignment, "matrix": np.array(alignment["matrix"])}),
            steps=tuple(facts["steps"]),
            turn=facts["turn"],
            lead=facts["lead"],
        )


def _facts(prepared: PreparedScan) -> dict[str, Any]:
    alignment = prepared.alignment
    return {
        "passed_through": prepared.passed_through,
        "steps": list(prepared.steps),
        "turn": prepared.turn,
        "lead": prepared.lead,
        "alignment": None
        if alignment is None
        else {**dataclasses.asdict(alignment), "matrix": alignment.matrix.tolist()},
    }


def bids_stem(*, scan_id: str, patient_id: str, session_id: str | None) -> str:
    """Return folders and first entities of a scan's BIDS names, such as ``sub-1/anat/sub-1``.

    A scan_id that is a BIDS name already is kept. Of another the letters and digits are kept,
    followed by a digest, so that two scans never share a name.
    """
    if _BIDS_NAME.fullmatch(scan_id):
        entities = scan_id.split("_")
        folders = [part for part in entities if part.startswith(("sub-", "ses-"))]
        return "/".join([*folders, "anat", scan_id])
    folders = [f"sub-{_label(patient_id.removeprefix('sub-'))}"]
    if session_id is not None:
        folders.append(f"ses-{_label(session_id.removeprefix('ses-'))}")
    # Always with its digest: `acq-x` alone may be part of another scan's BIDS name.
    name = f"acq-{_letters(scan_id)}{digest(scan_id)[:8]}"
    return "/".join([*folders, "anat", "_".join([*folders, name])])


def _label(text: str) -> str:
    """Return letters and digits alone; a digest of the whole text follows if some are lost."""
    kept = _letters(text)
    return kept if kept == text else kept + digest(text)[:8]


def _letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isascii() and letter.isalnum())


def write_description(folder: Path, *, version: str) -> None:
    """Write dataset_description.json of a BIDS derivatives folder."""
    write_json(
        folder / "dataset_description.json",
        {
            "Name": "Prepared T1-weighted scans",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [
                {
                    "Name": "mri-transfer",
                    "Version": version,
                    "Description": "N4 bias field correction, affine registration to the MNI152 "
                    "template, brain mask, 1 mm grid",
                }
            ],
        },
    )


def write_derivative(
    folder: Path, store: PreparedStore, key: str, *, stem: str, source: str, scan_sha256: str
) -> list[Path]:
    """Write one scan of a BIDS derivatives folder from the cache.

    Parameters
    ----------
    folder : Path
        The data set's folder.
    store : PreparedStore
    key : str
        A scan that did not pass through.
    stem : str
        Folders and entities before ``_space-``, such as ``sub-1/anat/sub-1``.
    source : str
        The scan that it was made from, as the manifest names it.
    scan_sha256 : str
        Digest of that file.

    Returns
    -------
    list of Path
        Volume, brain mask, sidecar and transform (ITK text; it takes template points to the scan,
        as resampling the scan to the template needs it).
    """
    import SimpleITK as sitk

    facts = store.facts(key)
    spaced = folder / f"{stem}_space-{SPACE}"
    volume = Path(f"{spaced}_desc-preproc_T1w.nii.gz")
    mask = Path(f"{spaced}_desc-brain_mask.nii.gz")
    transform = folder / f"{stem}_from-T1w_to-{SPACE}_mode-image_xfm.txt"
    _link(store.volume_path(key), volume)
    affine = load_volume(store.volume_path(key), scan_id=stem).affine
    write_nifti(mask, read_bits(store.mask_path(key)) & 1, affine)
    sidecar = volume.with_name(volume.name.removesuffix(".nii.gz") + ".json")
    masked = any(step.startswith("brain mask") for step in facts["steps"])
    write_json(
        sidecar,
        {
            "Sources": [source],
            "SourceSha256": scan_sha256,
            "SpatialReference": SPACE,
            "SkullStripped": masked,
            "Resolution": "1 mm isotropic",
            "Steps": facts["steps"],
            "Transform": None if facts["alignment"] is None else transform.name,
            "Alignment": facts["alignment"],
        },
    )
    written = [volume, mask, sidecar]
    if facts["alignment"] is not None:
        with atomic_path(transform) as temporary:
            matrix = np.array(facts["alignment"]["matrix"])
            sitk.WriteTransform(itk_affine(matrix), str(temporary))
        written.append(transform)
    return written


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
