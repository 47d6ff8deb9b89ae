"""Whatever stands in a bundle that was sealed anew, it is refused in words or works."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mri_transfer.bundle import ModelBundle, Runtime, load_bundle, write_bundle
from mri_transfer.bundle.checks import InputFacts
from mri_transfer.bundle.conformal import ConformalSets
from mri_transfer.bundle.sealing import seal_folder
from mri_transfer.errors import MriTransferError, StoreError
from tests.bundle.bundles import (
    HARMONISED,
    N_FEATURES,
    made_up_bundle,
    made_up_cohort,
    made_up_norm,
    some_bundle,
    some_features,
)

#: What every value is replaced by in turn.
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    0.5,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    ["x"],
    [[1]],
    {},
    {"x": {"y": 1}},
)
_GONE = object()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with all its parts but harmonisation; tests must not change it."""
    folder = tmp_path_factory.mktemp("good") / "b"
    bundle = made_up_bundle(conformal=_sets(), with_features=True, ventricular_norm=made_up_norm())
    write_bundle(bundle, folder)
    return folder


def _sets() -> ConformalSets:
    n = 24
    return ConformalSets(
        heads=some_bundle().bootstrap[:2],
        scores=np.linspace(0.1, 0.9, n),
        fold=np.arange(n, dtype=np.int64) % 2,
        positive=np.arange(n, dtype=np.int64) % 2,
        facts={"coverage": 0.9, "n_calibration": n, "measured": None},
    )


@pytest.fixture
def changed(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "b"))


def _places(content: Any) -> Iterator[tuple[Any, ...]]:
    """Where values stand in a document; of a list, its first entry alone."""
    entries: Any = ()
    if isinstance(content, dict):
        entries = content.items()
    elif isinstance(content, list):
        entries = list(enumerate(content))[:1]
    for name, value in entries:
        yield (name,)
        yield from ((name, *rest) for rest in _places(value))


def _with(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    other = copy.deepcopy(content)
    at = other
    for name in place[:-1]:
        at = at[name]
    if value is _GONE:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return other


def _use(bundle: ModelBundle) -> None:
    """Do with a bundle what a prediction does, but for the trunk."""
    bundle.score(some_features())
    facts = InputFacts(
        passed_through=True,
        turn="",
        measures={},
        histogram=(),
        mean=np.zeros(N_FEATURES),
        age_years=70.0,
    )
    assert bundle.contract.judge(facts)
    for marks in bundle.marks:
        marks.find(patient_id="p001", scan_digests=["x"])
    if bundle.conformal is not None:
        heads = np.full((len(bundle.conformal.heads), 2), 0.5)
        assert bundle.conformal.p_values(heads).shape == (2, 2)
    assert 0 < bundle.facts["bootstrap"]["confidence"] < 1
    assert bundle.facts["cohort"]["n_patients"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "bundle.json",
        "contract.json",
        "conformal.json",
        "overlap.json",
        "heads/final.json",
        "heads/bootstrap_001.json",
        "heads/conformal_000.json",
    ],
)
def test_any_value_of_any_document_is_refused_in_words_or_works(changed: Path, name: str) -> None:
    path = changed / name
    content = json.loads(path.read_text(encoding="utf-8"))
    refused = 0
    for place in _places(content):
        for value in (_GONE, *_VALUES):
            path.write_text(json.dumps(_with(content, place, value)), encoding="utf-8")
            seal_folder(changed)
            try:
                bundle = load_bundle(changed)
            except MriTransferError:
                refused += 1
            else:
                _use(bundle)
    assert refused > len(content)


def test_a_harmonisation_is_read_by_the_same_rules(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    write_bundle(made_up_bundle(made_up_cohort(sites=True), HARMONISED), folder)
    path = folder / "heads" / "final_combat.json"
    content = json.loads(path.read_text())
    for place in _places(content):
        for value in (_GONE, *_VALUES):
            path.write_text(json.dumps(_with(content, place, value)))
            seal_folder(folder)
            with contextlib.suppress(MriTransferError):
                load_bundle(folder).score(some_features())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff\xfe{", b"{", b"[" * 100_000, b'{"schema": NaN}', b"9" * 10_000]
)
@pytest.mark.parametrize("name", ["bundle.json", "contract.json", "heads/final.json"])
def test_what_is_no_document_is_refused(changed: Path, name: str, content: bytes) -> None:
    (changed / name).write_bytes(content)
    seal_folder(changed)
    with pytest.raises(StoreError):
        load_bundle(changed)


@pytest.mark.parametrize("name", ["LICENSE.txt", "model_card.md", "sbom.json"])
def test_a_text_that_is_not_utf8_is_refused(changed: Path, name: str) -> None:
    (changed / name).write_bytes(b"\xff\xfe\xfd")
    seal_folder(changed)
    with pytest.raises(StoreError, match=name):
        load_bundle(changed)


def test_arrays_of_another_shape_kind_or_name_are_refused(changed: Path) -> None:
    for path in sorted(changed.rglob("*.safetensors")):
        whole, arrays = path.read_bytes(), load_file(path)
        schema = {
            "schema": json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])[
                "__metadata__"
            ]["schema"]
        }
        for name, values in arrays.items():
            others = [
                {**arrays, name: values[..., :0]},
                {**arrays, name: np.zeros((2, 3, 4, 5), dtype=values.dtype)},
                {**arrays, name: values.astype(np.complex64)},
                {other: arrays[other] for other in arrays if other != name},
                {**arrays, f"{name}x": values},
            ]
            for other in others:
                save_file(other, path, metadata=schema)
                seal_folder(changed)
                with contextlib.suppress(MriTransferError):
                    _use(load_bundle(changed))
            path.write_bytes(whole)


def _edit(folder: Path, place: tuple[str, ...], value: Any) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(_with(json.loads(path.read_text()), place, value)))
    seal_folder(folder)


def test_an_unknown_trunk_is_refused_and_those_known_are_named(changed: Path) -> None:
    _edit(changed, ("recipe", "trunk", "name"), "resnet999")
    with pytest.raises(StoreError, match=r"no such trunk; there is vgg16.*resnet999"):
        load_bundle(changed)


@pytest.mark.parametrize("program", ["hd-bet", "synthstrip"])
def test_no_program_is_started_because_an_unsigned_bundle_names_it(
    changed: Path, program: str
) -> None:
    _edit(changed, ("recipe", "preparation", "brain_extraction"), program)
    with pytest.raises(StoreError, match=rf"{program}.*--trusted-key.*--allow-programs"):
        load_bundle(changed)
    allowed = load_bundle(changed, runtime=Runtime(allow_programs=True))
    assert allowed.config.preparation.brain_extraction == program


def test_no_other_program_is_ever_named(changed: Path) -> None:
    _edit(changed, ("recipe", "preparation", "brain_extraction"), "/bin/sh")
    with pytest.raises(StoreError, match="brain_extraction"):
        load_bundle(changed, runtime=Runtime(allow_programs=True))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_that_is_packed_in_another_way_or_damaged_is_refused(
    good: Path, tmp_path: Path, method: int
) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(good.rglob("*.json")):
            archive.write(file, file.relative_to(good.parent))
    whole = path.read_bytes()
    for at in range(30, 400, 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(StoreError):
            load_bundle(path)
    path.write_bytes(whole)
    with pytest.raises(StoreError, match="unknown way"):
        load_bundle(path)
