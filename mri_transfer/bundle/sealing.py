"""Seal: the digests of all files of a bundle, and who signed them.

The seal finds every changed, added or missing byte. It does not say who made the bundle: whoever
changes a file can make a new seal, whose digest is then another. So a bundle's digest is printed
when it is made, to be told to users by another way than the file itself.

A signature (Ed25519; Josefsson and Liusvaara 2017, RFC 8032) does say who, but only to those who
have the signer's public key from the signer. The copy of the key that lies in the bundle merely
proves that the signature belongs to it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_transfer.core.files import sha256_of_file, write_json
from mri_transfer.core.specs import canonical_json
from mri_transfer.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Seal", "seal_folder", "verify_folder"]

_SCHEMA = "mri-transfer/seal/1"
_SEAL, _SIGNATURE = "seal.json", "signature.json"
_DAMAGED = "Fetch the bundle again from where it came from; do not use this copy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seal:
    """The result of a verification.

    Attributes
    ----------
    digest : str
        Of all files: two bundles of one digest are the same.
    signed_by : str or None
        The public key (hex) that signed it.
    trusted : bool
        Whether that is the key the caller named.
    """

    digest: str
    signed_by: str | None = None
    trusted: bool = False


def seal_folder(folder: Path, *, sign: Path | None = None) -> Seal:
    """Write the seal of a folder, and a signature if a key is given.

    Parameters
    ----------
    folder : Path
    sign : Path, optional
        A private Ed25519 key (PEM, not encrypted), such as
        ``openssl genpkey -algorithm ed25519 -out key.pem`` makes.
    """
    content = _seal_of(_digests(folder))
    write_json(folder / _SEAL, content)
    if sign is None:
        return Seal(digest=content["digest"])
    key = _private_key(sign)
    public = _hex(key.public_key())
    signature = key.sign(content["digest"].encode()).hex()
    write_json(
        folder / _SIGNATURE,
        {"algorithm": "Ed25519", "public_key": public, "signature": signature},
    )
    return Seal(digest=content["digest"], signed_by=public, trusted=True)


def verify_folder(
    folder: Path, *, trusted_key: str | Path | None = None, digest: str | None = None
) -> Seal:
    """Check every byte of a folder against its seal.

    Parameters
    ----------
    folder : Path
        Of regular files alone.
    trusted_key : str or Path, optional
        The public key (hex, or a PEM file) that must have signed it.
    digest : str, optional
        The digest it must have.

    Raises
    ------
    StoreError
        If a file was changed, added or removed, the signature does not fit, or the bundle is not
        the one asked for.
    """
    where = folder.name
    stored = _read_exactly(folder / _SEAL)
    listed = stored.get("files") if isinstance(stored.get("files"), dict) else None
    found = _digests(folder)
    if listed is None or stored != _seal_of(listed):
        raise StoreError("the seal itself is damaged", where=f"{where}/{_SEAL}", remedy=_DAMAGED)
    for what, names in (
        ("changed", [name for name in listed if name in found and listed[name] != found[name]]),
        ("missing", [name for name in listed if name not in found]),
        ("not in the seal", [name for name in found if name not in listed]),
    ):
        if names:
            raise StoreError(
                f"files of the bundle are {what}",
                where=where,
                found=", ".join(sorted(names)[:5]),
                remedy=_DAMAGED,
            )
    signed_by = _verify_signature(folder, stored["digest"])
    wanted = None if trusted_key is None else public_key_hex(trusted_key)
    _demand_wanted("signer", signed_by, wanted, where)
    _demand_wanted("digest", stored["digest"], digest, where)
    return Seal(digest=stored["digest"], signed_by=signed_by, trusted=wanted is not None)


def public_key_hex(key: str | Path) -> str:
    """Return a public key as hex digits, from hex digits or a PEM file.

    Raises
    ------
    ConfigurationError
        If it is neither.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if isinstance(key, str) and len(key) == 64:
            return _hex(Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)))
        loaded = load_pem_public_key(Path(key).read_bytes())
        if isinstance(loaded, Ed25519PublicKey):
            return _hex(loaded)
    except (OSError, ValueError) as error:
        raise ConfigurationError("not a public key", where=str(key), found=str(error)) from error
    raise ConfigurationError("not an Ed25519 public key", where=str(key))


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file but the seal's own two."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StoreError(
                "a bundle holds plain files alone", where=folder.name, found=name, remedy=_DAMAGED
            )
        if path.is_file() and name not in (_SEAL, _SIGNATURE):
            digests[name] = sha256_of_file(path)
    return digests


def _seal_of(files: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(canonical_json(files).encode()).hexdigest()
    return {"schema": _SCHEMA, "files": files, "digest": digest}


def _read_exactly(path: Path) -> dict[str, Any]:
    """Read JSON that must be, byte by byte, what `write_json` writes."""
    fault: str | None = None
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        again = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
        if isinstance(content, dict) and again == text:
            return content
    except (OSError, ValueError, RecursionError) as error:
        fault = str(error)
    raise StoreError(
        "a bundle's seal or signature is missing or damaged",
        where=path.name,
        found=fault,
        remedy=_DAMAGED,
    )


def _verify_signature(folder: Path, digest: str) -> str | None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not (folder / _SIGNATURE).exists():
        return None
    content = _read_exactly(folder / _SIGNATURE)
    try:
        if set(content) != {"algorithm", "public_key", "signature"}:
            raise ValueError("not the entries of a signature")
        if content["algorithm"] != "Ed25519":
            raise ValueError(f"algorithm {content['algorithm']}")
        public, signature = (content[name] for name in ("public_key", "signature"))
        # Hex digits in another case are a changed byte, too.
        if (public, signature) != (public.lower(), signature.lower()):
            raise ValueError("hex digits in capitals")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), digest.encode())
    except (KeyError, ValueError, TypeError, AttributeError, InvalidSignature) as error:
        raise StoreError(
            "the signature does not fit the bundle",
            where=f"{folder.name}/{_SIGNATURE}",
            found=str(error) or "another key or another content",
            remedy=_DAMAGED,
        ) from error
    return _hex(key)


def _demand_wanted(what: str, found: str | None, wanted: str | None, where: str) -> None:
    if wanted is not None and found != wanted:
        raise StoreError(
            f"the bundle has another {what} than the one asked for",
            where=where,
            found=found or "none",
            expected=wanted,
            remedy=_DAMAGED,
        )


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    fault = "a key of another kind"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
        if isinstance(key, Ed25519PrivateKey):
            return key
    except (OSError, ValueError, TypeError) as error:
        fault = str(error)
    raise ConfigurationError(
        "cannot sign with this key",
        where=str(path),
        found=fault,
        expected="an Ed25519 private key (PEM, not encrypted)",
        remedy="Make one with `openssl genpkey -algorithm ed25519 -out key.pem`",
    )


def _hex(key: Any) -> str:
    digits: str = key.public_bytes_raw().hex()
    return digits
