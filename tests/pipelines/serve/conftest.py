"""One bundle and one service for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.jobs.predict import BundlePlace
from pipelines.serve import ServiceSpec
from tests.pipelines.serve.serving import Service, scan_bytes, serving, write_small_bundle

MAX_MEGABYTES, MAX_UNPACKED_MEGABYTES = 2, 100


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> BundlePlace:
    return write_small_bundle(tmp_path_factory.mktemp("served") / "bundle")


@pytest.fixture(scope="session")
def service(place: BundlePlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    spec = ServiceSpec(
        max_megabytes=MAX_MEGABYTES,
        max_unpacked_megabytes=MAX_UNPACKED_MEGABYTES,
        places=4,
        timeout_s=60,
    )
    with serving(place, tmp_path_factory.mktemp("scratch"), spec) as one:
        yield one


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return scan_bytes(tmp_path_factory.mktemp("scan"))
