"""Requests and files that nobody wrote by hand: each gets an answer, or a 4xx with a reason."""

from __future__ import annotations

import gzip

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.pipelines.serve.serving import FAULT_FIELDS, Service

pytestmark = pytest.mark.slow

CHECKS = [
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
HEADER_BYTES = 352
QUICK = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
    database=None,
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_requests_drawn_from_the_description_are_answered_as_it_says(
    service: Service, mode: GenerationMode
) -> None:
    description = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [
        one.ok()  # type: ignore[union-attr]
        for one in description.get_all_operations()
    ]
    assert {one.path for one in operations} == {"/predict", "/health", "/version"}
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # takes nothing that could be wrong

        @QUICK
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
            case.call_and_validate(checks=CHECKS)

        check()


def test_the_description_refers_to_nothing_outside(service: Service) -> None:
    text = httpx.get(f"{service.url}/openapi.json").text
    assert "http://" not in text.replace(service.url, "")
    assert "https://" not in text


@st.composite
def spoiled(draw: st.DrawFn, content: bytes) -> tuple[str, bytes]:
    """Draw a scan with changed bytes in its header, cut, or made of anything."""
    kind = draw(st.sampled_from(["changed", "changed", "cut", "anything", "packed wrong"]))
    body = bytearray(content)
    if kind == "changed":
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, HEADER_BYTES - 4))
            body[at : at + 4] = draw(st.binary(min_size=4, max_size=4))
    elif kind == "cut":
        del body[draw(st.integers(0, len(body) - 1)) :]
    elif kind == "anything":
        body = bytearray(draw(st.binary(max_size=1000)))
    packed = bytearray(gzip.compress(bytes(body), mtime=0))
    if kind == "packed wrong":
        at = draw(st.integers(0, len(packed) - 1))
        packed[at] ^= draw(st.integers(1, 255))
        return "a.nii.gz", bytes(packed)
    return draw(st.sampled_from([("a.nii", bytes(body)), ("a.nii.gz", bytes(packed))]))


@QUICK
@given(data=st.data())
def test_spoiled_scans_get_an_answer_or_a_reason(
    service: Service, scan: bytes, data: st.DataObject
) -> None:
    name, content = data.draw(spoiled(gzip.decompress(scan)))
    answer = service.post(content, name=name)
    if answer.status_code != 200:
        assert answer.status_code == 422
        fault = answer.json()
        assert set(fault) == FAULT_FIELDS
        assert fault["what"]
        assert str(service.scratch) not in answer.text
    else:
        said = answer.json()
        assert said["status"] in ("predicted", "abstained")
        assert (said["score"] is None) == (said["status"] == "abstained")
    assert service.leftovers() == []
