"""Entries of the cache are read only with the digest that they were written with."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mri_transfer.core.results import ResultStore
from mri_transfer.core.store import ContentStore, JsonStore, TensorStore
from mri_transfer.core.tensorfile import write_tensors
from mri_transfer.errors import StoreError
from mri_transfer.explain.pixel_attribution import PixelAttributionStore
from mri_transfer.explain.scan_maps import MapStore
from mri_transfer.models.features import FeatureStore, MaximaStore, ScanFeatures
from mri_transfer.report.figures import PictureStore
from mri_transfer.scans.descriptors import DescriptorStore
from mri_transfer.scans.preparation.identity import IdentityStore
from mri_transfer.scans.quality import ScoreStore
from mri_transfer.scans.slices import SliceStack, SliceStore

KEY, OTHER = "ab" * 32, "cd" * 32
RNG = np.random.default_rng(0)
Read = Callable[[ContentStore, str], Any]

CASES: dict[str, tuple[type[ContentStore], Any, Read]] = {
    "features": (
        FeatureStore,
        [
            ScanFeatures(scan_id="s", features=RNG.random((4, 9), np.float32), z_mm=np.ones(4))
            for _ in range(2)
        ],
        lambda store, key: store.get(key, scan_id="s"),
    ),
    "slices": (
        SliceStore,
        [
            SliceStack(
                scan_id="s",
                pixels=RNG.integers(0, 255, (2, 32, 32), dtype=np.uint8),
                z_mm=np.ones(2, dtype=np.float32),
            )
            for _ in range(2)
        ],
        lambda store, key: store.get(key, scan_id="s"),
    ),
    "pictures": (
        PictureStore,
        [{"thumbnail": b"one" * 20}, {"thumbnail": b"two" * 20}],
        lambda store, key: store.get(key),
    ),
}
each_store = pytest.mark.parametrize("name", CASES)


def _filled(name: str, folder: Path) -> tuple[ContentStore, Read]:
    kind, contents, read = CASES[name]
    store = kind(folder)
    for key, content in zip((KEY, OTHER), contents, strict=True):
        store.put(key, content)  # type: ignore[attr-defined]
    return store, read


def _refused(store: ContentStore, read: Read, key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert key not in store
    assert str(store.path(key)) in caplog.text
    with pytest.raises(StoreError, match=key):
        read(store, key)


@each_store
def test_no_flipped_bit_goes_unseen(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, read = _filled(name, tmp_path)
    path, good = store.path(KEY), store.path(KEY).read_bytes()
    for at in RNG.choice(len(good), min(150, len(good)), replace=False):
        spoiled = bytearray(good)
        spoiled[at] ^= 1 << int(RNG.integers(8))
        path.write_bytes(bytes(spoiled))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert KEY not in store, at
        with pytest.raises(StoreError):
            read(store, KEY)
    path.write_bytes(good)
    assert KEY in store


@each_store
@pytest.mark.parametrize("kept", [0, 1, 7, 100, -1])
def test_a_file_that_was_cut_off_counts_as_missing_and_is_named(
    name: str, kept: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, read = _filled(name, tmp_path)
    store.path(KEY).write_bytes(store.path(KEY).read_bytes()[:kept])
    _refused(store, read, KEY, caplog)


@each_store
def test_another_entry_under_the_key_counts_as_missing_and_is_named(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, read = _filled(name, tmp_path)
    shutil.copy(store.path(OTHER), store.path(KEY))
    _refused(store, read, KEY, caplog)
    assert f"the entry of key {OTHER[:16]}" in caplog.text
    assert OTHER in store


@each_store
def test_what_is_missing_is_not_worth_a_warning(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert KEY not in CASES[name][0](tmp_path)
    assert caplog.text == ""


def test_an_entry_of_another_store_is_none_of_this_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, read = _filled("features", tmp_path)
    slices, _ = _filled("slices", tmp_path)
    shutil.copy(slices.path(KEY), store.path(KEY))
    _refused(store, read, KEY, caplog)


def test_entries_of_before_there_were_digests_are_made_again_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, scores, results = FeatureStore(tmp_path), ScoreStore(tmp_path), ResultStore(tmp_path)
    write_tensors(
        store.path(KEY),
        {"features": np.ones((2, 3), np.float32), "z_mm": np.ones(2, np.float32)},
        schema="mri-transfer/features/1",
    )
    for one, text in (
        (scores, {"schema": "mri-transfer/scores/2", "values": {}}),
        (results, {"key": KEY, "result": {}, "sha256": "0" * 64}),
    ):
        one.path(KEY).parent.mkdir(parents=True)
        one.path(KEY).write_text(json.dumps(text))
    assert not any(KEY in one for one in (store, scores, results))
    assert caplog.text == ""
    with pytest.raises(StoreError):
        store.get(KEY, scan_id="s")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["content"].update(value=0.6),
        lambda d: d["content"].update(more=1),
        lambda d: d["entry"].update(key=OTHER),
        lambda d: d["entry"].update(schema="mri-transfer/other/1"),
        lambda d: d["entry"].pop("sha256"),
        lambda d: d.pop("entry"),
        lambda d: d.update(content=[]),
        lambda d: d.update(entry="x"),
    ],
)
def test_an_edited_object_counts_as_missing(
    change: Callable[[dict], object], tmp_path: Path
) -> None:
    store = ResultStore(tmp_path)
    store.put(KEY, {"value": 0.5})
    document = json.loads(store.path(KEY).read_text())
    change(document)
    store.path(KEY).write_text(json.dumps(document))
    assert KEY not in store
    assert store.get(KEY) is None


@pytest.mark.parametrize(
    "kind",
    [
        PixelAttributionStore, DescriptorStore, FeatureStore, IdentityStore, MapStore, MaximaStore,
        PictureStore, ResultStore, ScoreStore, SliceStore,
    ],
)  # fmt: skip
def test_every_store_carries_digests(kind: type[ContentStore]) -> None:
    assert issubclass(kind, TensorStore | JsonStore)
    assert kind.kind
    assert kind.schema.startswith("mri-transfer/")
