"""Uploads: read a form with one scan and write the scan to a temporary folder."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from pathlib import Path
from typing import BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from pipelines.serve.faults import Refusal

__all__ = ["FORM_SCHEMA", "Upload", "read_upload"]

FIELDS = ("file", "age", "sex", "force")
_MAX_AGE, _MAX_SEX = 130, 20
_MAX_NAME = 100
_MAX_FIELD_BYTES = 1024
_CHUNK_BYTES = 1 << 20
_TRUTH = {"true": True, "1": True, "on": True, "false": False, "0": False, "": False}

#: The JSON schema of the form.
FORM_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "A 3-D T1 scan, .nii or .nii.gz.",
        },
        "age": {
            "type": "number",
            "minimum": 0,
            "maximum": _MAX_AGE,
            "description": "Age in years, to compare with the training patients.",
        },
        "sex": {
            "type": "string",
            "maxLength": _MAX_SEX,
            "description": "As the training manifest spells it, such as F or M. With the age it "
            "tells whether the ventricles are wide.",
        },
        "force": {
            "type": "boolean",
            "default": False,
            "description": "Also score a scan outside the input contract, marked as such.",
        },
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upload:
    """A received scan."""

    path: Path
    scan_id: str
    sha256: str
    age_years: float | None
    sex: str | None
    force: bool


async def read_upload(request: Request, folder: Path, *, timeout_s: float) -> Upload | Refusal:
    """Read a form and write its scan into a folder.

    Parameters
    ----------
    request : Request
    folder : Path
        Empty; the caller removes it. The client's file name is not used.
    timeout_s : float
        Time limit for the upload, in seconds.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind != "multipart/form-data":
        return Refusal(
            status=415,
            what="not a form with a file",
            where="Content-Type",
            found=kind or None,
            expected="multipart/form-data",
        )
    try:
        async with (
            asyncio.timeout(timeout_s),
            request.form(
                max_files=1, max_fields=len(FIELDS), max_part_size=_MAX_FIELD_BYTES
            ) as form,
        ):
            return await _of_form(form, folder)
    except TimeoutError:
        return Refusal(status=408, what="the upload timed out", found=f"more than {timeout_s:g} s")


async def _of_form(form: FormData, folder: Path) -> Upload | Refusal:
    names = [name for name, _ in form.multi_items()]
    for name in names:
        if name not in FIELDS or names.count(name) > 1:
            return _wrong(
                "duplicate field" if name in FIELDS else "no such field",
                where=_shown(name),
                expected=", ".join(FIELDS) + ", each at most once",
            )
    file = form.get("file")
    if not isinstance(file, UploadFile):
        return _wrong("the scan is missing", where="file", expected="a .nii or .nii.gz file")
    suffix = _suffix(file.filename or "")
    if suffix is None:
        return _wrong(
            "the file does not have a NIfTI name", where="file", expected=".nii or .nii.gz"
        )
    age = _age(form.get("age"))
    if isinstance(age, Refusal):
        return age
    sex = _shown(str(form.get("sex") or ""))
    if len(sex) > _MAX_SEX:
        return _wrong("not a sex", where="sex", expected=f"at most {_MAX_SEX} letters")
    force = _TRUTH.get(str(form.get("force", "")).strip().casefold())
    if force is None:
        return _wrong("not a boolean", where="force", expected="true or false")
    path = folder / f"upload{suffix}"
    return Upload(
        path=path,
        scan_id=_shown((file.filename or "")[: -len(suffix)]) or "scan",
        sha256=await asyncio.to_thread(_store, file.file, path),
        age_years=age,
        sex=sex or None,
        force=force,
    )


def _suffix(name: str) -> str | None:
    """Return the NIfTI suffix of a file name, or None."""
    return next((end for end in (".nii.gz", ".nii") if name.casefold().endswith(end)), None)


def _age(given: UploadFile | str | None) -> float | Refusal | None:
    if given is None or given == "":
        return None
    try:
        age = float(str(given))
    except ValueError:
        age = -1.0
    # Comparisons with NaN are false.
    if not 0 <= age <= _MAX_AGE:
        return _wrong("not an age in years", where="age", expected=f"0 to {_MAX_AGE}")
    return age


def _wrong(what: str, *, where: str, expected: str) -> Refusal:
    return Refusal(status=422, what=what, where=where, expected=expected)


def _shown(name: str) -> str:
    """Return a client's text as one short line for display; it is never used as a path."""
    return "".join(letter for letter in name if letter.isprintable())[:_MAX_NAME].strip()


def _store(source: BinaryIO, path: Path) -> str:
    """Write an upload; return its SHA-256."""
    digest = hashlib.sha256()
    source.seek(0)
    with path.open("xb") as stream:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            stream.write(chunk)
    return digest.hexdigest()
