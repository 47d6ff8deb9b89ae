"""What may be said of a patient: hashed ids, capped age, sex, and a few technical fields.

Ids are HMAC-SHA256 under a secret salt, cut to 12 hexadecimal letters: whoever knows the salt can
tell which patient a hash belongs to, nobody else can, not even by trying all ids there are.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
import secrets
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from mri_transfer.cohorts.readers.dicom.series import Identity
from mri_transfer.errors import ConfigurationError

__all__ = [
    "MAX_AGE_YEARS",
    "MIN_SALT_LETTERS",
    "TECHNICAL_FIELDS",
    "Pseudonyms",
    "age_years",
    "file_salt",
    "technical_fields",
]

#: Ages above it are given as one year more: so few people are older that an age tells who it is.
MAX_AGE_YEARS = 89
#: Shortest salt. Patients' ids are easily guessed; the salt must not be.
MIN_SALT_LETTERS = 16
#: Everything that a sidecar may hold of what dcm2niix writes.
TECHNICAL_FIELDS = (
    "Manufacturer",
    "ManufacturersModelName",
    "MagneticFieldStrength",
    "MRAcquisitionType",
    "ScanningSequence",
    "SequenceVariant",
    "PulseSequenceType",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "SliceThickness",
    "SpacingBetweenSlices",
)

_HASH_LETTERS = 12
_OLDEST_YEARS = 120
_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.25}
_PLAIN = re.compile(r"[\w .,+*/\\()-]{1,64}", re.ASCII)


class Pseudonyms:
    """Hashes ids.

    Parameters
    ----------
    salt : str
        At least `MIN_SALT_LETTERS` letters, kept secret.

    Raises
    ------
    ConfigurationError
        If the salt is too short. The message does not repeat it.
    """

    def __init__(self, salt: str) -> None:
        if len(salt) < MIN_SALT_LETTERS:
            raise ConfigurationError(
                "the salt is too short to hide patients' ids",
                found=f"{len(salt)} letters",
                expected=f"at least {MIN_SALT_LETTERS}, drawn at random",
                remedy="Give a longer salt, or none and have one drawn",
            )
        self._salt = salt.encode()

    def of(self, kind: str, value: str) -> str:
        """Return the hash of an id; equal values of two kinds have different hashes."""
        message = f"{kind}\n{value}".encode(errors="surrogatepass")
        return hmac.new(self._salt, message, hashlib.sha256).hexdigest()[:_HASH_LETTERS]


def file_salt(path: Path) -> tuple[str, bool]:
    """Return the salt that a file keeps; the first time one is drawn and the file written.

    Parameters
    ----------
    path : Path
        Readable by its owner alone (mode 0600); other permissions are taken away.

    Returns
    -------
    salt : str
    is_new : bool
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            path.chmod(0o600)
            return path.read_text(encoding="utf-8").strip(), False
        salt = secrets.token_hex(32)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(salt + "\n")
            os.fsync(stream.fileno())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the file of the salt cannot be used",
            where=str(path),
            found=type(error).__name__,
            remedy="Give a salt, or choose a folder for the images that you may write to",
        ) from None
    return salt, True


def age_years(identity: Identity) -> float | None:
    """Return the age at the study in whole years, or None.

    PatientAge is taken (``072Y``, ``018M``); where it is missing, the years from birth to study.
    Ages above `MAX_AGE_YEARS` are given as one year more. Impossible ones, as made-up dates of
    birth give them, are missing.
    """
    stated = re.fullmatch(r"(\d{1,3})([YMWD])", identity.age.strip().upper())
    if stated:
        years: float | None = int(stated[1]) / _PER_YEAR[stated[2]]
    else:
        born, seen = _date(identity.birth_date), _date(identity.study_date)
        had_birthday = (seen.month, seen.day) >= (born.month, born.day) if born and seen else False
        years = seen.year - born.year - (not had_birthday) if born and seen else None
    if years is None or not 0 <= years <= _OLDEST_YEARS:
        return None
    return float(min(math.floor(years), MAX_AGE_YEARS + 1))


def _date(text: str) -> date | None:
    digits = re.sub(r"[^0-9]", "", text)[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def technical_fields(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a sidecar may be kept: `TECHNICAL_FIELDS` with plain values, nothing else."""
    kept = {}
    for name in TECHNICAL_FIELDS:
        value = sidecar.get(name)
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if is_number or (isinstance(value, str) and _PLAIN.fullmatch(value)):
            kept[name] = value
    return kept
