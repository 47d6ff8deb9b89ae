"""The service over HTTP: the answers of `predict`, and a reason for every refusal."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mri_transfer.bundle import model_notices
from pipelines.jobs.predict import BundlePlace
from tests.pipelines.serve.conftest import MAX_MEGABYTES, MAX_UNPACKED_MEGABYTES
from tests.pipelines.serve.serving import FAULT_FIELDS, Service


def assert_refused(answer: httpx.Response, status: int, what: str) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    fault: dict[str, str] = answer.json()
    assert set(fault) == FAULT_FIELDS
    assert what in fault["what"]
    assert "Traceback" not in answer.text
    return fault


def test_an_answer_is_that_of_predict(
    service: Service, place: BundlePlace, scan: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "one.nii.gz"
    path.write_bytes(scan)
    expected = place.load().predict(path, age_years=70, force=True).as_dict()
    answer = service.post(scan, name="one.nii.gz", age="70", force="true")
    assert answer.status_code == 200
    found = answer.json()
    assert found["status"] == "forced"
    assert found.pop("score") == pytest.approx(expected.pop("score"), abs=1e-6)
    for name in ("score_low", "score_high", "slice_scores", "place"):
        assert found.pop(name) == pytest.approx(expected.pop(name), abs=1e-6)
    assert found == expected


def test_abstention_is_an_answer_with_reasons_and_no_number(service: Service, scan: bytes) -> None:
    answer = service.post(scan)
    assert answer.status_code == 200
    said = answer.json()
    assert said["status"] == "abstained"
    assert said["reasons"]
    assert said["score"] is said["label"] is said["score_low"] is said["labels"] is None
    assert answer.headers["x-scan-sha256"] == hashlib.sha256(scan).hexdigest()


def test_no_file_is_kept(service: Service, scan: bytes) -> None:
    service.post(scan)
    service.post(b"no scan")
    service.post(scan[:2000])
    service.post(bytes(3 * 10**6))
    assert service.leftovers() == []
    folders = [path for path in service.scratch.rglob("*") if path.is_dir()]
    assert len(folders) == 1  # the one that the uploads' folders are made in


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.nii", b"", "empty"),
        ("a.nii", b"not a scan", "not a NIfTI"),
        ("a.nii.gz", b"not a scan", "not a NIfTI"),
        ("a.nii.gz", b"\x1f\x8b\x08\0\0", "damaged"),
        ("a.nii.gz", gzip.compress(b"DICM"), "not a NIfTI"),
        ("a.dcm", b"", "NIfTI name"),
        ("../../x.sh", b"#!", "NIfTI name"),
    ],
)
def test_what_is_no_scan_is_refused_with_a_reason(
    service: Service, name: str, content: bytes, what: str
) -> None:
    fault = assert_refused(service.post(content, name=name), 422, what)
    assert str(service.scratch) not in str(fault)


def test_a_cut_scan_is_refused(service: Service, scan: bytes) -> None:
    unpacked = gzip.decompress(scan)
    assert_refused(service.post(unpacked[:20_000], name="a.nii"), 422, "shorter")
    assert_refused(service.post(scan[:-40]), 422, "")


def test_a_packed_flood_is_refused(service: Service, scan: bytes) -> None:
    flood = gzip.compress(gzip.decompress(scan) + bytes(90 << 20), mtime=0)
    assert len(flood) < MAX_MEGABYTES * 10**6
    assert_refused(service.post(flood), 422, "much longer than its header")


def test_a_header_that_declares_too_much_is_refused(service: Service, scan: bytes) -> None:
    content = bytearray(gzip.decompress(scan))
    content[42:48] = b"".join(edge.to_bytes(2, "little") for edge in (500, 500, 500))
    fault = assert_refused(service.post(gzip.compress(content)), 422, "too much data")
    assert fault["expected"] == f"at most {MAX_UNPACKED_MEGABYTES} MB"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"age": "old"}, "age"),
        ({"age": "nan"}, "age"),
        ({"age": "-1"}, "age"),
        ({"age": "1e3"}, "age"),
        ({"force": "maybe"}, "force"),
        ({"label": "AD"}, "label"),
    ],
)
def test_a_wrong_field_is_named(
    service: Service, scan: bytes, fields: dict[str, str], where: str
) -> None:
    assert assert_refused(service.post(scan, **fields), 422, "")["where"] == where


def test_forms_without_a_scan_are_refused(service: Service) -> None:
    url = f"{service.url}/predict"
    assert_refused(httpx.post(url), 415, "not a form")
    assert_refused(httpx.post(url, json={"file": "x"}), 415, "not a form")
    assert_refused(httpx.post(url, files={"age": (None, "7")}), 422, "scan is missing")
    assert_refused(httpx.post(url, files={"file": (None, "text")}), 422, "scan is missing")
    headers = {"content-type": "multipart/form-data"}
    assert_refused(httpx.post(url, content=b"x", headers=headers), 400, "boundary")
    two = [("file", ("a.nii", b"x")), ("file", ("b.nii", b"y"))]
    assert_refused(httpx.post(url, files=two), 400, "")


def test_size_is_limited_whatever_length_is_told(service: Service) -> None:
    assert_refused(service.post(bytes(MAX_MEGABYTES * 10**6 + 1)), 413, "too large")

    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n'
        for _ in range(2 * MAX_MEGABYTES + 1):
            yield bytes(500_000)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    url = f"{service.url}/predict"
    assert_refused(httpx.post(url, content=pieces(), headers=headers), 413, "too large")
    assert service.leftovers() == []


def test_a_name_is_data(service: Service, scan: bytes) -> None:
    name = '"><script>alert(1)</script>' + "x" * 300 + ".nii.gz"
    said = service.post(scan, name=name).json()
    assert "<script>" in said["scan_id"]
    assert len(said["scan_id"]) <= 100


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "[::1", "", "127.0.0.1@x"])
def test_other_names_are_not_answered(service: Service, host: str) -> None:
    answer = httpx.get(f"{service.url}/health", headers={"host": host})
    assert_refused(answer, 400, "unknown host name")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[x"])
def test_pages_of_other_origins_are_refused(service: Service, origin: str, scan: bytes) -> None:
    answer = httpx.post(
        f"{service.url}/predict", files={"file": ("a.nii", scan)}, headers={"origin": origin}
    )
    assert_refused(answer, 403, "origin")
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_forbids_what_a_page_does_not_need(service: Service) -> None:
    for path in ("/", "/page.js", "/health", "/nowhere"):
        headers = httpx.get(service.url + path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_what_is_not_there_is_told_as_json(service: Service) -> None:
    assert_refused(httpx.get(f"{service.url}/nowhere"), 404, "")
    assert_refused(httpx.get(f"{service.url}/docs"), 404, "")
    answer = httpx.get(f"{service.url}/predict")
    assert_refused(answer, 405, "")
    assert answer.headers["allow"] == "POST"


def test_health_and_version_say_what_runs(service: Service, place: BundlePlace) -> None:
    assert httpx.get(f"{service.url}/health").json()["status"] == "ok"
    facts = httpx.get(f"{service.url}/version").json()
    assert facts["bundle_digest"] == place.load().digest
    assert facts["max_megabytes"] == MAX_MEGABYTES
    assert facts["warnings"] == [one.as_dict() for one in model_notices(place.load())] != []
