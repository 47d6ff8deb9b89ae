"""A ModelBundle on disk: written whole or not at all, read without trust."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import tempfile
from pathlib import Path

import pandas as pd

from mri_transfer.bundle.archive import demand_harmless, pack, unpack
from mri_transfer.bundle.conformal import ConformalSets
from mri_transfer.bundle.contract import InputContract
from mri_transfer.bundle.documents import Document, read_document, read_text
from mri_transfer.bundle.model import ModelBundle
from mri_transfer.bundle.overlap import read_marks, write_marks
from mri_transfer.bundle.parts import Runtime
from mri_transfer.bundle.reference import ReferenceInputs
from mri_transfer.bundle.sealing import Seal, seal_folder, verify_folder
from mri_transfer.core.files import (
    TEMPORARY_PREFIX,
    atomic_write_text,
    read_json_object,
    write_json,
)
from mri_transfer.errors import ConfigurationError, StoreError
from mri_transfer.scans.preparation.external import PROGRAMS
from mri_transfer.training.dataset import read_features, write_features
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.model_config import ModelConfig

__all__ = ["SCHEMA", "TUNED_SCHEMA", "demand_free", "load_bundle", "write_bundle"]

SCHEMA = "mri-transfer/bundle/1"
#: With a trained tail. Versions that read the first one alone would take its heads for heads on
#: features of the frozen trunk.
TUNED_SCHEMA = "mri-transfer/bundle/2"
#: Text files, as named in `ModelBundle.texts`.
TEXTS = ("LICENSE.txt", "model_card.md", "sbom.json")
_DOCUMENTS: dict[str, Document] = {
    "bundle.json": "bundle",
    "contract.json": "contract",
    "overlap.json": "overlap",
}
#: What lies beside a head, by how its name ends.
_PARTS: dict[str, Document] = {"combat": "combat", "tail": "tail"}
_SHOWN = 200


def demand_free(folder: Path, *, zipped: bool = False) -> Path:
    """Refuse a path that exists; return the path of the zip.

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
    """Write a bundle, whole or not at all; existing files are never overwritten.

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
    dataclasses.replace(bundle.trained, tail=bundle.tail).write(folder / "heads" / "final")
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
        If there is none; if anything in it is damaged, changed, missing, added, of another version
        or not harmless; or if it names an external program and is not signed by `trusted_key`.
    """
    where = Path(path)
    if not where.exists():
        raise StoreError(
            "there is no bundle",
            where=str(where),
            expected="the folder or the zip of one",
            remedy="Check the path; `mri-transfer retrain` writes bundles",
        )
    if where.is_dir():
        return _read(where, trusted_key, digest, runtime or Runtime())
    with tempfile.TemporaryDirectory(prefix="mri-transfer-") as folder:
        return _read(unpack(where, Path(folder)), trusted_key, digest, runtime or Runtime())


def _read(
    folder: Path, trusted_key: str | Path | None, digest: str | None, runtime: Runtime
) -> ModelBundle:
    demand_harmless(folder)
    try:
        seal = verify_folder(folder, trusted_key=trusted_key, digest=digest)
        bundle = _of_documents(folder, seal, runtime)
        bundle.demand_consistent()
        bundle.self_test()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The documents were checked one by one; arrays may still not fit them.
        raise StoreError(
            "the parts of the bundle do not fit together",
            where=folder.name,
            found=f"{type(error).__name__}: {error}"[:_SHOWN],
            remedy="Fetch the bundle again from whoever made it; do not mend it by hand",
        ) from error
    return bundle


def _of_documents(folder: Path, seal: Seal, runtime: Runtime) -> ModelBundle:
    _demand_documents(folder)
    facts = read_document(folder / "bundle.json", "bundle")
    config = ModelConfig.from_dict(facts["recipe"])
    _demand_harmless_program(config, seal, runtime)
    heads = folder / "heads"
    known = pd.DataFrame() if config.harmonisation.kind != "none" else None
    labels = facts["labels"]
    trained = FittedModel.read(heads / "final", repeat=0, fold=0, covariates=known)
    return ModelBundle(
        facts=facts,
        trained=trained.on_features,
        tail=trained.tail,
        bootstrap=tuple(
            FittedModel.read(
                heads / f"bootstrap_{number:03d}", repeat=0, fold=number, covariates=known
            )
            for number in range(facts["bootstrap"]["n_heads"])
        ),
        contract=InputContract.read(folder),
        conformal=ConformalSets.read(folder, covariates=known),
        marks=read_marks(folder / "overlap.json"),
        reference=ReferenceInputs.read(folder),
        texts={name: read_text(folder / name) for name in TEXTS},
        features=read_features(folder, positive=labels["positive"], others=labels["others"]),
        seal=seal,
        runtime=runtime,
    )


def _demand_documents(folder: Path) -> None:
    """Check every document before anything is made of one."""
    version = (read_json_object(folder / "bundle.json") or {}).get("schema")
    if version not in (SCHEMA, TUNED_SCHEMA):
        raise StoreError(
            "not a bundle this version reads",
            where=folder.name,
            found=str(version)[:_SHOWN],
            expected=f"{SCHEMA} or {TUNED_SCHEMA}",
        )
    for name, kind in _DOCUMENTS.items():
        read_document(folder / name, kind)
    if (folder / "conformal.json").exists():
        read_document(folder / "conformal.json", "conformal")
    for path in sorted((folder / "heads").glob("*.json")):
        part = path.stem.rpartition("_")[2]
        read_document(path, _PARTS.get(part, "head"))


def _demand_harmless_program(config: ModelConfig, seal: Seal, runtime: Runtime) -> None:
    """Refuse to start a program because somebody unknown names it."""
    program = config.preparation.brain_extraction
    if program in PROGRAMS and not (seal.trusted or runtime.allow_programs):
        raise StoreError(
            f"the bundle wants to start the program {program}, and nobody whom you trust signed it",
            where="bundle.json, preparation.brain_extraction",
            remedy="Name the signer's public key with --trusted-key, or allow it with "
            "--allow-programs",
        )
