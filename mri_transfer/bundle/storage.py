"""A ModelBundle on disk: written whole or not at all, read without trust."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path

import pandas as pd

from mri_transfer.bundle.archive import demand_harmless, pack, unpack
from mri_transfer.bundle.cohort import read_features, write_features
from mri_transfer.bundle.conformal import ConformalSets
from mri_transfer.bundle.contract import InputContract
from mri_transfer.bundle.model import ModelBundle, Runtime
from mri_transfer.bundle.overlap import read_marks, write_marks
from mri_transfer.bundle.reference import ReferenceInputs
from mri_transfer.bundle.sealing import Seal, seal_folder, verify_folder
from mri_transfer.errors import ConfigurationError, StoreError
from mri_transfer.files import (
    TEMPORARY_PREFIX,
    atomic_write_text,
    read_json_object,
    write_json,
)
from mri_transfer.trained import TrainedFold

__all__ = ["SCHEMA", "TEXTS", "demand_free", "load_bundle", "write_bundle"]

SCHEMA = "mri-transfer/bundle/1"
#: Files of words, by the names that `ModelBundle.texts` has them under.
TEXTS = ("LICENSE.txt", "model_card.md", "sbom.json")


def demand_free(folder: Path, *, zipped: bool = False) -> Path:
    """Refuse a place where something is already; return where the zip goes.

    Raises
    ------
    ConfigurationError
        If the folder or, with `zipped`, the zip exists.
    """
    archive = folder.with_name(folder.name + ".zip")
    for path in (folder, *([archive] if zipped else [])):
        if path.exists():
            raise ConfigurationError(
                "a bundle is never written over",
                where=str(path),
                remedy="Name another folder with --out",
            )
    return archive


def write_bundle(
    bundle: ModelBundle, folder: Path, *, sign: Path | None = None, zipped: bool = False
) -> Seal:
    """Write a bundle, whole or not at all; what exists is never written over.

    Parameters
    ----------
    bundle : ModelBundle
    folder : Path
    sign : Path, optional
        A private Ed25519 key (PEM).
    zipped : bool
        Write `folder`.zip as well.

    Raises
    ------
    ConfigurationError
        If the folder or the zip exists, or the key cannot sign.
    """
    archive = demand_free(folder, zipped=zipped)
    temporary = folder.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{folder.name}")
    temporary.mkdir(parents=True)
    try:
        _write_files(bundle, temporary)
        seal = seal_folder(temporary, sign=sign)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if zipped:
        pack(folder, archive)
    return seal


def _write_files(bundle: ModelBundle, folder: Path) -> None:
    write_json(folder / "bundle.json", bundle.facts)
    bundle.trained.write(folder / "heads" / "final")
    for number, one in enumerate(bundle.bootstrap):
        one.write(folder / "heads" / f"bootstrap_{number:03d}")
    bundle.contract.write(folder)
    if bundle.conformal is not None:
        bundle.conformal.write(folder)
    write_marks(folder / "overlap.json", bundle.marks)
    bundle.reference.write(folder)
    for name in TEXTS:
        atomic_write_text(folder / name, bundle.texts[name])
    if bundle.features is not None:
        write_features(folder, bundle.features)


def load_bundle(
    path: str | Path,
    *,
    trusted_key: str | Path | None = None,
    digest: str | None = None,
    runtime: Runtime | None = None,
) -> ModelBundle:
    """Open a bundle: verify every byte, read it, and test it on its reference inputs.

    Parameters
    ----------
    path : str or Path
        Its folder or its zip.
    trusted_key : str or Path, optional
        The public key (hex, or a PEM file) that must have signed it. Without one the seal proves
        that the bundle is whole, not who made it.
    digest : str, optional
        The digest it must have, as its maker told it.
    runtime : Runtime, optional

    Raises
    ------
    StoreError
        If anything in it is damaged, changed, missing, added, of another version or not harmless.
    """
    where = Path(path)
    if where.is_dir():
        return _read(where, trusted_key, digest, runtime or Runtime())
    with tempfile.TemporaryDirectory(prefix="mri-transfer-") as folder:
        return _read(unpack(where, Path(folder)), trusted_key, digest, runtime or Runtime())


def _read(
    folder: Path, trusted_key: str | Path | None, digest: str | None, runtime: Runtime
) -> ModelBundle:
    demand_harmless(folder)
    seal = verify_folder(folder, trusted_key=trusted_key, digest=digest)
    facts = read_json_object(folder / "bundle.json") or {}
    if facts.get("schema") != SCHEMA:
        raise StoreError(
            "not a bundle this version reads",
            where=folder.name,
            found=str(facts.get("schema")),
            expected=SCHEMA,
        )
    heads = folder / "heads"
    known = pd.DataFrame() if facts["recipe"]["harmonisation"]["kind"] != "none" else None
    labels = facts["labels"]
    bundle = ModelBundle(
        facts=facts,
        trained=TrainedFold.read(heads / "final", repeat=0, fold=0, covariates=known),
        bootstrap=tuple(
            TrainedFold.read(
                heads / f"bootstrap_{number:03d}", repeat=0, fold=number, covariates=known
            )
            for number in range(facts["bootstrap"]["n_heads"])
        ),
        contract=InputContract.read(folder),
        conformal=ConformalSets.read(folder, covariates=known),
        marks=read_marks(folder / "overlap.json"),
        reference=ReferenceInputs.read(folder),
        texts={name: (folder / name).read_text(encoding="utf-8") for name in TEXTS},
        features=read_features(folder, positive=labels["positive"], others=labels["others"]),
        seal=seal,
        runtime=runtime,
    )
    bundle.self_test()
    return bundle
