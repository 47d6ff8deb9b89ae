"""PreparedStore: prepared scans in the cache, and their copy as BIDS derivatives.

A prepared scan has three files under one key: the volume and the mask (NIfTI), and a JSON file with
the steps and the digests of both, which is written last and marks the entry as complete. A scan
that passed through has only the JSON file. The same scan and Spec give the same bytes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mri_transfer.core.files import atomic_path, link_or_copy, sha256_of_file, write_json
from mri_transfer.core.specs import digest
from mri_transfer.core.store import JsonStore
from mri_transfer.scans.preparation.nifti import read_bits, write_nifti
from mri_transfer.scans.preparation.prepared import PreparedScan
from mri_transfer.scans.preparation.registration import Alignment
from mri_transfer.scans.preparation.template import SPACE, itk_affine
from mri_transfer.scans.volumes import Volume, load_volume

__all__ = ["PreparedStore", "bids_stem", "write_derivative", "write_description"]

#: Without the entities that a derivative adds itself.
_BIDS_NAME = re.compile(r"sub-[A-Za-z0-9]+(_(?!space-|res-|desc-)[a-z]+-[A-Za-z0-9]+)*")


class PreparedStore(JsonStore):
    """Prepared scans, addressed by `prepared_key`."""

    kind = "prepared"
    schema = "mri-transfer/prepared/1"

    def volume_path(self, key: str) -> Path:
        """Return the path of a key's volume."""
        return self.path(key).with_suffix(".nii.gz")

    def mask_path(self, key: str) -> Path:
        """Return the path of a key's brain mask."""
        return self.path(key).with_name(f"{key}_mask.nii.gz")

    def verify(self, key: str) -> None:
        """Verify the digests of facts, volume and mask; see `ContentStore.verify`."""
        for path, recorded in self._files(key, self._read(key)).items():
            try:
                sha256 = sha256_of_file(path)
            except OSError as error:
                raise self._refusal(key, f"{path.name}: {error.strerror}") from error
            if sha256 != recorded:
                raise self._refusal(key, f"{path.name} with another digest, {sha256[:16]}")

    def _files(self, key: str, content: Mapping[str, Any]) -> dict[Path, str]:
        """Return the recorded digest of each file."""
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
        """Return the record of a scan's preparation.

        Raises
        ------
        StoreError
            If the entry is missing or invalid.
        """
        return dict(self._read(key)["facts"])

    def get(self, key: str, raw: Volume) -> PreparedScan:
        """Read a prepared scan, whose files `key in store` has verified.

        Parameters
        ----------
        key : str
        raw : Volume
            The original scan; returned itself if it passed through.
        """
        facts = self.facts(key)
        if facts["passed_through"]:
            return PreparedScan.unchanged(raw, turn=facts["turn"], margin=facts["lead"])
        volume = load_volume(self.volume_path(key), scan_id=raw.scan_id)
        bits = read_bits(self.mask_path(key))
        return PreparedScan(
            volume=volume,
            mask=(bits & 1) > 0,
            covered=(bits & 2) > 0,
            alignment=None if facts["alignment"] is None else _alignment(facts["alignment"]),
            steps=tuple(facts["steps"]),
            turn=facts["turn"],
            margin=facts["lead"],
        )


#: Key of each field of Alignment on disk, where the names differ.
_KEYS = {"margin": "lead"}


def _alignment(record: Mapping[str, Any]) -> Alignment:
    names = [field.name for field in dataclasses.fields(Alignment)]
    values = {name: record[_KEYS.get(name, name)] for name in names}
    return Alignment(**{**values, "matrix": np.array(record["matrix"])})


def _facts(prepared: PreparedScan) -> dict[str, Any]:
    alignment = prepared.alignment
    return {
        "passed_through": prepared.passed_through,
        "steps": list(prepared.steps),
        "turn": prepared.turn,
        "lead": prepared.margin,
        "alignment": None
        if alignment is None
        else {
            _KEYS.get(name, name): value.tolist() if name == "matrix" else value
            for name, value in dataclasses.asdict(alignment).items()
        },
    }


def bids_stem(*, scan_id: str, patient_id: str, session_id: str | None) -> str:
    """Return folders and first entities of a scan's BIDS name, such as ``sub-1/anat/sub-1``.

    A scan_id that is already a BIDS name is kept. Otherwise it is reduced to letters and digits and
    followed by a digest, so that two scans never share a name.
    """
    if _BIDS_NAME.fullmatch(scan_id):
        entities = scan_id.split("_")
        folders = [part for part in entities if part.startswith(("sub-", "ses-"))]
        return "/".join([*folders, "anat", scan_id])
    folders = [f"sub-{_label(patient_id.removeprefix('sub-'))}"]
    if session_id is not None:
        folders.append(f"ses-{_label(session_id.removeprefix('ses-'))}")
    # Always with a digest: `acq-x` alone may be part of another scan's BIDS name.
    name = f"acq-{_letters(scan_id)}{digest(scan_id)[:8]}"
    return "/".join([*folders, "anat", "_".join([*folders, name])])


def _label(text: str) -> str:
    """Return letters and digits only, followed by a digest if characters are lost."""
    kept = _letters(text)
    return kept if kept == text else kept + digest(text)[:8]


def _letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isascii() and letter.isalnum())


def write_description(
    folder: Path, *, version: str, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write dataset_description.json of a BIDS derivatives folder.

    Parameters
    ----------
    folder : Path
    version : str
        Of this package.
    more : mapping
        Further fields, or others in place of these.
    """
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
            **more,
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
        Key of a scan that did not pass through.
    stem : str
        Folders and entities before ``_space-``, such as ``sub-1/anat/sub-1``.
    source : str
        Path of the original scan, as in the manifest.
    scan_sha256 : str
        Digest of that file.

    Returns
    -------
    list of Path
        Volume, brain mask, sidecar and transform (ITK text; maps template points to the scan, as
        needed to resample the scan to the template).
    """
    import SimpleITK as sitk

    facts = store.facts(key)
    spaced = folder / f"{stem}_space-{SPACE}"
    volume = Path(f"{spaced}_desc-preproc_T1w.nii.gz")
    mask = Path(f"{spaced}_desc-brain_mask.nii.gz")
    transform = folder / f"{stem}_from-T1w_to-{SPACE}_mode-image_xfm.txt"
    link_or_copy(store.volume_path(key), volume)
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
