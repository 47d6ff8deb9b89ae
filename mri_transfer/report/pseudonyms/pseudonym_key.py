"""The secret key that pseudonyms are made with."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mri_transfer.errors import ConfigurationError

__all__ = ["read_or_make_key"]

_NEW_BYTES = 32
_MIN_BYTES = 16


def read_or_make_key(path: str | Path, *, apart_from: str | Path) -> bytes:
    """Return the key that a file holds; a file that is not there is made.

    Whoever has the key and a list of possible ids can find out who is who, so the key must stay
    where the ids may be: in the hospital.

    Parameters
    ----------
    path : str or Path
        A new file gets 32 random bytes and can be read by its owner only (mode 0600).
    apart_from : str or Path
        Folder of the run, which is handed on in whole or in part; the key must not lie inside.

    Returns
    -------
    bytes
        16 or more.

    Raises
    ------
    ConfigurationError
        If the key lies inside `apart_from`, is too short, or is no file.
    OSError
        If the file cannot be read or made.
    """
    file = Path(path)
    if file.resolve().is_relative_to(Path(apart_from).resolve()):
        raise ConfigurationError(
            "the key of the pseudonyms lies inside the run, and would be handed on with it",
            where=str(path),
            expected=f"a file outside {apart_from}",
            remedy="Keep the key apart from everything that leaves the hospital",
        )
    if file.exists() and not file.is_file():
        raise ConfigurationError("the key of the pseudonyms is not a file", where=str(path))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_new(file, secrets.token_bytes(_NEW_BYTES))
    key = file.read_bytes()
    if len(key) < _MIN_BYTES:
        raise ConfigurationError(
            "the key of the pseudonyms is too short to be a secret",
            where=str(path),
            found=f"{len(key)} bytes",
            expected=f"{_MIN_BYTES} bytes or more",
            remedy="Name a file that does not exist yet; it is made",
        )
    return key


def _write_new(path: Path, key: bytes) -> None:
    # Never readable by others, not even for a moment; and never in place of a key that is there.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(key)
