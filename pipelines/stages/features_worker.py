"""Passing scans through a trunk, on any machine: slices from the cache, features into it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mri_transfer.core.threads import map_ahead
from mri_transfer.models.activations import ActivationStore
from mri_transfer.models.features import (
    FeatureSpec,
    FeatureStore,
    MaximaStore,
    encode_poolings,
    encode_with_maxima,
)
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk
from mri_transfer.scans.slices import SliceStack, SliceStore

__all__ = [
    "ACTIVATIONS",
    "Encoding",
    "ScanToEncode",
    "activate_batch",
    "encode_batch",
    "forget_trunk",
    "trunk_of",
]

#: What a scan's activations are called: in its keys, and in features.csv.
ACTIVATIONS = "activations"

#: Scans whose slices are read while the trunk is busy with another.
_READ_AHEAD = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanToEncode:
    """A scan whose features the cache lacks: its slices' key, and a key per pooling.

    Where activations are stored, there is one key, of the name ACTIVATIONS.
    """

    scan_id: str
    slices_key: str
    keys: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoding:
    """How scans are passed through a trunk.

    Attributes
    ----------
    cache : Path
        Absolute.
    trunk : TrunkSpec
    features : FeatureSpec
        Resolved.
    weights : Path, optional
        A file with the trunk's weights.
    weights_cache : Path
        Folder of converted weights.
    maxima : bool
        Whether to keep where max-pooled features have their largest values, for explanations.
    """

    cache: Path
    trunk: TrunkSpec
    features: FeatureSpec
    weights: Path | None
    weights_cache: Path
    maxima: bool = False

    def open(self) -> Trunk:
        """Load the trunk."""
        return load_trunk(
            self.trunk,
            precision=self.features.precision,
            device=self.features.device,
            weights_path=self.weights,
            cache=self.weights_cache,
        )


@functools.lru_cache(maxsize=1)
def trunk_of(encoding: Encoding) -> Trunk:
    """Return the trunk; the last one is kept for further scans."""
    return encoding.open()


def forget_trunk() -> None:
    """Free the memory of the trunk that `trunk_of` keeps."""
    trunk_of.cache_clear()


def encode_batch(
    encoding: Encoding, scans: Sequence[ScanToEncode], cores: int | None
) -> Iterator[None]:
    """Pass scans through the trunk and put their features into the cache; yield after each."""
    del cores  # torch's threads are limited already
    store = FeatureStore(encoding.cache)
    todo = [scan for scan in scans if any(key not in store for key in scan.keys.values())]
    # The others were finished by a batch that was interrupted.
    yield from [None] * (len(scans) - len(todo))
    if not todo:
        return
    trunk = trunk_of(encoding)
    with ThreadPoolExecutor(max_workers=1) as writer:
        written: list[Future[None]] = []
        for scan, stack in _with_stacks(encoding, todo):
            writes = _encoded(encoding, scan, stack, trunk)
            for one in written:
                one.result()
            written = [writer.submit(write) for write in writes]
            yield None
        for one in written:
            one.result()


def activate_batch(
    encoding: Encoding, scans: Sequence[ScanToEncode], cores: int | None
) -> Iterator[None]:
    """Put what lies behind the trunk's layer, the cut, into the cache; yield after each scan."""
    del cores
    store = ActivationStore(encoding.cache)
    todo = [scan for scan in scans if scan.keys[ACTIVATIONS] not in store]
    yield from [None] * (len(scans) - len(todo))
    for scan, stack in _with_stacks(encoding, todo):
        store.put(scan.keys[ACTIVATIONS], stack, trunk_of(encoding))
        yield None


def _with_stacks(
    encoding: Encoding, scans: Sequence[ScanToEncode]
) -> Iterator[tuple[ScanToEncode, SliceStack]]:
    """Yield scans with their slices, which are read while the trunk is busy."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        read = map_ahead(reader, partial(_stack, encoding.cache), scans, ahead=_READ_AHEAD)
        yield from zip(scans, read, strict=True)


def _stack(cache: Path, scan: ScanToEncode) -> SliceStack:
    return SliceStore(cache).get(scan.slices_key, scan_id=scan.scan_id)


def _encoded(
    encoding: Encoding, scan: ScanToEncode, stack: SliceStack, trunk: Trunk
) -> list[Callable[[], None]]:
    """Pass a scan through the trunk; return what puts the outcome into the cache, in order."""
    features = FeatureStore(encoding.cache)
    if not encoding.maxima or "max" not in scan.keys:
        encoded = encode_poolings(stack, trunk, scan.keys)
        first = []
    else:
        encoded, largest = encode_with_maxima(stack, trunk, scan.keys)
        # Before the features: where these are in the cache, the maxima are too, even after a kill.
        write = MaximaStore(encoding.cache).put
        first = [partial(write, scan.keys["max"], largest, encoded["max"].features)]
    return [*first, *(partial(features.put, scan.keys[name], encoded[name]) for name in encoded)]
