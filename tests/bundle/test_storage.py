"""A bundle comes back as it was written, or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.bundle import ModelBundle, load_bundle, write_bundle
from mri_transfer.bundle.archive import pack
from mri_transfer.bundle.sealing import seal_folder
from mri_transfer.errors import ConfigurationError, StoreError
from tests.bundle.bundles import (
    HARMONISED,
    made_up_bundle,
    made_up_cohort,
    some_bundle,
    some_features,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed bundle with features; tests must not change it."""
    folder = tmp_path_factory.mktemp("bundle")
    key = folder / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True)
    bundle = made_up_bundle(with_features=True)
    write_bundle(bundle, folder / "b", sign=key, zipped=True)
    return folder / "b"


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "b"))


def test_a_bundle_scores_after_reading_as_before_writing(written: Path) -> None:
    before = made_up_bundle()
    for path in (written, written.with_name("b.zip")):
        after = load_bundle(path)
        assert np.array_equal(before.score(some_features()), after.score(some_features()))
        assert after.config == before.config
        assert after.procedure == before.procedure
        assert after.contract.facts == before.contract.facts


def test_a_bundle_with_harmonised_heads_comes_back_and_wants_the_site(tmp_path: Path) -> None:
    bundle = made_up_bundle(made_up_cohort(sites=True), HARMONISED)
    write_bundle(bundle, tmp_path / "b")
    again = load_bundle(tmp_path / "b")
    told = pd.DataFrame({"site": ["site0"] * 5})
    assert np.array_equal(bundle.score(some_features(), told), again.score(some_features(), told))
    assert not np.array_equal(again.score(some_features(), told), again.score(some_features()))


def test_the_same_training_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = {
        write_bundle(made_up_bundle(), tmp_path / name, zipped=True).digest for name in ("a", "b")
    }
    assert len(digests) == 1
    packed = []
    for name in ("a", "b"):
        (tmp_path / "same").mkdir(exist_ok=True)
        shutil.copytree(tmp_path / name, tmp_path / "same", dirs_exist_ok=True)
        pack(tmp_path / "same", tmp_path / f"{name}-same.zip")
        packed.append((tmp_path / f"{name}-same.zip").read_bytes())
    assert packed[0] == packed[1]


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_any_byte_of_any_file_that_changes_is_found(copy: Path) -> None:
    names = _files(copy)
    assert len(names) > 15
    assert {"seal.json", "signature.json", "features.safetensors"} <= set(names)
    for name in names:
        content = (copy / name).read_bytes()
        for at in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[at] ^= 0x20
            (copy / name).write_bytes(bytes(changed))
            with pytest.raises(StoreError):
                load_bundle(copy)
        (copy / name).write_bytes(content)
    load_bundle(copy)


def test_any_file_that_is_missing_is_found_except_that_an_unsigned_bundle_is_one(
    copy: Path,
) -> None:
    for name in _files(copy):
        content = (copy / name).read_bytes()
        (copy / name).unlink()
        if name == "signature.json":
            assert load_bundle(copy).seal.signed_by is None
        else:
            with pytest.raises(StoreError):
                load_bundle(copy)
        (copy / name).write_bytes(content)


@pytest.mark.parametrize("name", ["more.json", "heads/bootstrap_999.json", "evil.pkl", "a/b.txt"])
def test_an_added_file_is_found(copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("{}")
    with pytest.raises(StoreError):
        load_bundle(copy)


def test_a_link_is_refused(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(copy / "overlap.json", outside)
    (copy / "overlap.json").symlink_to(outside)
    with pytest.raises(StoreError, match="plain file"):
        load_bundle(copy)


def test_a_bundle_sealed_anew_has_another_digest_and_no_trusted_signer(copy: Path) -> None:
    honest = load_bundle(copy)
    assert honest.seal is not None
    key, digest = honest.seal.signed_by, honest.digest
    assert key is not None
    assert load_bundle(copy, trusted_key=key, digest=digest).seal.trusted
    text = (copy / "model_card.md").read_text()
    (copy / "model_card.md").write_text(text + "Approved for clinical use.\n")
    (copy / "signature.json").unlink()
    seal_folder(copy)
    assert load_bundle(copy).digest != digest
    with pytest.raises(StoreError, match="another signer"):
        load_bundle(copy, trusted_key=key)
    with pytest.raises(StoreError, match="another digest"):
        load_bundle(copy, digest=digest)


def test_a_seal_that_is_written_otherwise_is_refused(copy: Path) -> None:
    content = json.loads((copy / "seal.json").read_text())
    (copy / "seal.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="seal"):
        load_bundle(copy)


def test_a_key_that_cannot_sign_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(ConfigurationError, match="cannot sign"):
        write_bundle(some_bundle(), tmp_path / "b", sign=tmp_path / "key.pem")
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_what_exists_is_never_written_over(tmp_path: Path) -> None:
    write_bundle(some_bundle(), tmp_path / "b")
    with pytest.raises(ConfigurationError, match="never written over"):
        write_bundle(some_bundle(), tmp_path / "b")


def _zip_with(path: Path, written: Path, name: str, content: bytes, mode: int = 0o644) -> Path:
    shutil.copy(written.with_name("b.zip"), path)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = entry.orig_filename = name
        entry.external_attr = mode << 16
        archive.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../evil.json", b"{}", "leads elsewhere"),
        ("b/../../evil.json", b"{}", "leads elsewhere"),
        ("/evil.json", b"{}", "leads elsewhere"),
        ("b\\..\\evil.json", b"{}", "leads elsewhere"),
        ("C:/evil.json", b"{}", "leads elsewhere"),
        ("b/./evil.json", b"{}", "leads elsewhere"),
        ("b/model.pkl", b"{}", "of a kind"),
        ("b/model.pt", b"{}", "of a kind"),
        ("b/model.json", b"\x80\x04\x95", "of a kind"),
        ("b/model.txt", b"PK\x03\x04", "of a kind"),
        ("b/zeros.txt", b"\0" * (120 << 20), "too large"),
    ],
)
def test_a_zip_that_would_do_harm_is_refused(
    written: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / "evil.zip"
    if len(content) > 1 << 20:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
    else:
        _zip_with(path, written, name, content)
    with pytest.raises(StoreError, match=message):
        load_bundle(path)


def test_a_zip_with_a_link_or_a_name_twice_is_refused(written: Path, tmp_path: Path) -> None:
    linked = _zip_with(tmp_path / "a.zip", written, "b/x.json", b"/etc", stat.S_IFLNK | 0o777)
    with pytest.raises(StoreError, match="plain file"):
        load_bundle(linked)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = _zip_with(tmp_path / "b.zip", written, "b/bundle.json", b"{}")
    with pytest.raises(StoreError, match="twice"):
        load_bundle(twice)


def test_a_path_without_a_bundle_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no bundle"):
        load_bundle(tmp_path / "nowhere.zip")


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(StoreError, match="cannot read"):
        load_bundle(tmp_path / "b.zip")


def test_nobody_is_named_in_a_bundle(tmp_path: Path) -> None:
    cohort = made_up_cohort(prefix="SECRET")
    write_bundle(made_up_bundle(cohort, with_features=True), tmp_path / "b")
    digests = cohort.tables["max"].scan_sha256
    for name in _files(tmp_path / "b"):
        content = (tmp_path / "b" / name).read_bytes()
        assert b"SECRET" not in content, name
        assert not any(digest.encode() in content for digest in digests), name


def test_only_a_bundle_that_was_asked_for_them_carries_features(tmp_path: Path) -> None:
    write_bundle(some_bundle(), tmp_path / "b")
    assert load_bundle(tmp_path / "b").features is None
    assert "features.safetensors" not in _files(tmp_path / "b")


def test_features_in_a_bundle_are_those_it_was_made_of(written: Path) -> None:
    cohort, kept = made_up_cohort(), load_bundle(written).features
    assert kept is not None
    assert np.array_equal(kept.tables["max"].features, cohort.tables["max"].features)
    assert np.array_equal(kept.is_positive, cohort.is_positive)


def test_a_head_that_scores_otherwise_fails_the_self_test() -> None:
    bundle: ModelBundle = some_bundle()
    tensors = {**bundle.trained.head.tensors}
    tensors["bias"] = tensors["bias"] + np.float32(0.1)
    head = dataclasses.replace(bundle.trained.head, tensors=tensors)
    other = dataclasses.replace(bundle, trained=dataclasses.replace(bundle.trained, head=head))
    with pytest.raises(StoreError, match="self-test"):
        other.self_test()
    bundle.self_test()
