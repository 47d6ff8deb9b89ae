"""Data that may be kept about a patient: hashed ids, capped age, sex and a few technical fields.

Ids are HMAC-SHA256 digests keyed with a secret salt, truncated to 12 hexadecimal digits. Only with
the salt can a hash be linked to a patient; without it, not even by trying all possible ids.
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
    "Pseudonyms",
    "age_years",
    "file_salt",
    "technical_fields",
]

#: Higher ages are recorded as one year more: the age of the few older people may identify them.
MAX_AGE_YEARS = 89
#: Shortest salt, in characters. Patient ids are easily guessed; the salt must not be.
MIN_SALT_LETTERS = 16
#: The fields of dcm2niix's sidecar that are kept.
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
        Secret, at least `MIN_SALT_LETTERS` characters.

    Raises
    ------
    ConfigurationError
        If the salt is too short. The message does not repeat it.
    """

    def __init__(self, salt: str) -> None:
        if len(salt) < MIN_SALT_LETTERS:
            raise ConfigurationError(
                "the salt is too short to protect patient ids",
                found=f"{len(salt)} characters",
                expected=f"at least {MIN_SALT_LETTERS}, chosen at random",
                remedy="Give a longer salt, or omit it to generate one",
            )
        self._salt = salt.encode()

    def of(self, kind: str, value: str) -> str:
        """Return the hash of an id; equal values of two kinds have different hashes."""
        message = f"{kind}\n{value}".encode(errors="surrogatepass")
        return hmac.new(self._salt, message, hashlib.sha256).hexdigest()[:_HASH_LETTERS]


def file_salt(path: Path) -> tuple[str, bool]:
    """Return the salt stored in a file; generate it and write the file if it does not exist.

    Parameters
    ----------
    path : Path
        Its permissions are set to 0600, readable by the owner only.

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
            "the salt file cannot be used",
            where=str(path),
            found=type(error).__name__,
            remedy="Give a salt, or choose an image folder that you can write to",
        ) from None
    return salt, True


def age_years(identity: Identity) -> float | None:
    """Return the age at the study in whole years, or None.

    PatientAge is used (``072Y``, ``018M``) or, if missing, the years from birth to study. Ages
    above `MAX_AGE_YEARS` are recorded as one year more. Impossible ages, as from placeholder dates
    of birth, are missing.
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
    """Return the fields of a sidecar to keep: `TECHNICAL_FIELDS` with plain values."""
    kept = {}
    for name in TECHNICAL_FIELDS:
        value = sidecar.get(name)
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if is_number or (isinstance(value, str) and _PLAIN.fullmatch(value)):
            kept[name] = value
    return kept
