"""Many at once, and workers that die, stumble or take too long."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
from pathlib import Path

import httpx
import pytest

from pipelines.jobs.predict import BundlePlace
from pipelines.serve import ServiceSpec, jobs
from tests.pipelines.serve import workers
from tests.pipelines.serve.serving import FAULT_FIELDS, Service, scan_bytes, serving

TOKEN = "a-token-of-twenty-letters"


async def _send(client: httpx.AsyncClient, url: str, content: bytes) -> httpx.Response:
    """Send a scan, again if there was no place."""
    while True:
        answer = await client.post(f"{url}/predict", files={"file": ("a.nii.gz", content)})
        if answer.status_code != 503:
            return answer
        assert int(answer.headers["retry-after"]) > 0
        await asyncio.sleep(0.2)


async def _send_all(url: str, contents: list[bytes]) -> list[httpx.Response]:
    # A kept connection may be closed by the other side just when it is used again.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        return await asyncio.gather(*(_send(client, url, one) for one in contents))


def test_nobody_gets_the_answer_of_another(service: Service, tmp_path: Path) -> None:
    good = [scan_bytes(tmp_path, seed=seed) for seed in range(5)]
    bad = [random.Random(seed).randbytes(2000) for seed in range(5)]
    bad += [one[: len(one) // 2] for one in good]
    contents = good + bad
    answers = asyncio.run(_send_all(service.url, contents))
    for content, answer in zip(contents, answers, strict=True):
        sha256 = hashlib.sha256(content).hexdigest()
        assert answer.headers["x-scan-sha256"] == sha256
        if content in good:
            assert answer.status_code == 200
            assert answer.json()["scan_sha256"] == sha256
        else:
            assert answer.status_code == 422
            assert set(answer.json()) == FAULT_FIELDS
    assert service.leftovers() == []


def test_whoever_finds_no_place_is_told_when_to_come_again(
    place: BundlePlace, tmp_path: Path
) -> None:
    queue = jobs.ScanQueue(place, "", ServiceSpec(places=1))
    with queue.place() as first, queue.place() as second:
        assert (first, second) == (True, False)
        assert queue.full().status == 503
        assert queue.full().headers["Retry-After"]
    assert queue.taken == 0


@pytest.mark.slow
def test_a_worker_that_fails_is_replaced_and_the_next_scan_is_scored(
    place: BundlePlace, tmp_path: Path, scan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ServiceSpec(max_megabytes=2, timeout_s=5, places=4)
    (tmp_path / "scratch").mkdir()
    with serving(place, tmp_path / "scratch", spec, token=TOKEN, hosts=()) as service:
        url, files = f"{service.url}/predict", {"file": ("a.nii.gz", scan)}
        bearer = {"authorization": f"Bearer {TOKEN}", "host": "scans.example"}
        for work, status in ((workers.sleep, 504), (workers.die, 500), (workers.stumble, 500)):
            monkeypatch.setattr(jobs, "predict_upload", work)
            answer = httpx.post(url, files=files, headers=bearer, timeout=60)
            assert answer.status_code == status
            assert set(answer.json()) == FAULT_FIELDS
            assert "secret" not in answer.text
            assert service.leftovers() == []
        monkeypatch.undo()
        queue_spec = dataclasses.replace(spec, timeout_s=60)
        service.queue.spec = queue_spec
        answer = httpx.post(url, files=files, headers=bearer, timeout=120)
        assert answer.json()["scan_sha256"] == hashlib.sha256(scan).hexdigest()
        _without_the_token(url, files)
    assert list((tmp_path / "scratch").iterdir()) == []


def _without_the_token(url: str, files: dict[str, tuple[str, bytes]]) -> None:
    wrong = ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN)
    for told in wrong:
        answer = httpx.post(url, files=files, headers={"authorization": told})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    base = url.removesuffix("/predict")
    assert httpx.get(f"{base}/version").status_code == 401
    assert httpx.get(f"{base}/openapi.json").status_code == 401
    assert httpx.get(f"{base}/health").json()["token_needed"] is True
