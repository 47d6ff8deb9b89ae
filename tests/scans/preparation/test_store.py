"""Prepared scans in the cache and as BIDS derivatives."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from mri_transfer.errors import StoreError
from mri_transfer.scans.preparation import (
    PreparedScan,
    PreparedStore,
    bids_stem,
    write_derivative,
    write_description,
)
from mri_transfer.scans.preparation.registration import Alignment
from mri_transfer.scans.volumes import Volume
from tests.heads_phantom import pose_matrix
from tests.phantoms import asymmetric_phantom, ras_affine

KEY = "ab" + "0" * 62
MATRIX = pose_matrix(angles_deg=(12, -7, 4), scales=(1.1, 0.9, 0.95), shift_mm=(4, -30, 17))


def _raw() -> Volume:
    return Volume(voxels=asymmetric_phantom(seed=5), affine=ras_affine(), scan_id="s1")


def _prepared() -> PreparedScan:
    voxels = asymmetric_phantom()
    mask = voxels > 0
    covered = np.ones(voxels.shape, dtype=bool)
    covered[:, :, 25:] = False
    return PreparedScan(
        volume=Volume(voxels=voxels, affine=ras_affine(), scan_id="s1"),
        mask=mask,
        covered=covered,
        alignment=Alignment(
            matrix=MATRIX, turn=3, tilt_deg=14.25, information=1.0 / 3, margin=0.1 + 0.2
        ),
        steps=("affine registration", "resampling to 1 mm", "brain mask: own"),
        turn=3,
        margin=0.1 + 0.2,
    )


@pytest.fixture
def store(tmp_path: Path) -> PreparedStore:
    return PreparedStore(tmp_path / "cache")


def test_what_was_put_in_comes_out_again(store: PreparedStore) -> None:
    before = _prepared()
    assert KEY not in store
    store.put(KEY, before)
    assert KEY in store
    after = store.get(KEY, _raw())
    for name in ("mask", "covered"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert getattr(after, name).dtype == np.bool_
    np.testing.assert_array_equal(after.volume.voxels, before.volume.voxels)
    np.testing.assert_array_equal(after.volume.affine, before.volume.affine)
    assert (after.steps, after.turn, after.margin) == (before.steps, before.turn, before.margin)
    assert after.alignment is not None
    np.testing.assert_array_equal(after.alignment.matrix, MATRIX)
    assert (after.alignment.tilt_deg, after.alignment.information) == (14.25, 1.0 / 3)
    assert not after.passed_through


def test_the_same_scan_is_the_same_bytes(store: PreparedStore, tmp_path: Path) -> None:
    other = PreparedStore(tmp_path / "other")
    for each in (store, other):
        each.put(KEY, _prepared())
    files = [sorted(path for path in s.folder.rglob("*") if path.is_file()) for s in (store, other)]
    assert [path.name for path in files[0]] == [
        f"{KEY}.json",
        f"{KEY}.nii.gz",
        f"{KEY}_mask.nii.gz",
    ]
    for one, same in zip(*files, strict=True):
        assert one.read_bytes() == same.read_bytes()


def test_a_scan_that_passed_through_is_its_facts_alone(store: PreparedStore) -> None:
    raw = _raw()
    store.put(KEY, PreparedScan.unchanged(raw, turn=2, margin=0.25))
    assert KEY in store
    assert [path.name for path in store.folder.rglob("*.*")] == [f"{KEY}.json"]
    after = store.get(KEY, raw)
    assert after.volume is raw
    assert after.passed_through
    assert (after.turn, after.margin) == (2, 0.25)


@pytest.mark.parametrize("missing", ["volume_path", "mask_path", "path"])
def test_a_key_without_all_its_files_is_not_there(store: PreparedStore, missing: str) -> None:
    store.put(KEY, _prepared())
    getattr(store, missing)(KEY).unlink()
    assert KEY not in store


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": "mri-transfer/prepared/0"}', '{"steps": []}', "null"]
)
def test_damaged_facts_are_told_and_count_as_not_there(store: PreparedStore, content: str) -> None:
    store.put(KEY, _prepared())
    store.path(KEY).write_text(content)
    assert KEY not in store
    for ask in (store.facts, lambda key: store.get(key, _raw())):
        with pytest.raises(StoreError, match=KEY):
            ask(KEY)


def _derivative(store: PreparedStore, folder: Path) -> list[Path]:
    store.put(KEY, _prepared())
    return write_derivative(
        folder, store, KEY, stem="sub-1/anat/sub-1", source="raw/s1.nii.gz", scan_sha256="f" * 64
    )


def test_a_derivative_is_named_as_bids_asks(store: PreparedStore, tmp_path: Path) -> None:
    written = _derivative(store, tmp_path / "d")
    assert [path.relative_to(tmp_path / "d").as_posix() for path in written] == [
        "sub-1/anat/sub-1_space-MNI152NLin2009aSym_desc-preproc_T1w.nii.gz",
        "sub-1/anat/sub-1_space-MNI152NLin2009aSym_desc-brain_mask.nii.gz",
        "sub-1/anat/sub-1_space-MNI152NLin2009aSym_desc-preproc_T1w.json",
        "sub-1/anat/sub-1_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.txt",
    ]
    assert all(path.is_file() for path in written)
    assert len(list((tmp_path / "d").rglob("*.*"))) == 4


def test_a_derivative_holds_the_volume_its_mask_and_what_was_done(
    store: PreparedStore, tmp_path: Path
) -> None:
    volume, mask, sidecar, transform = _derivative(store, tmp_path / "d")
    for path, expected in ((volume, _prepared().volume.voxels), (mask, _prepared().mask)):
        image = nib.load(path)
        np.testing.assert_array_equal(image.get_fdata(), expected)
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 4
    assert nib.load(mask).get_data_dtype() == np.uint8
    facts = json.loads(sidecar.read_text())
    assert facts["Sources"] == ["raw/s1.nii.gz"]
    assert facts["SourceSha256"] == "f" * 64
    assert facts["SkullStripped"] is True
    assert facts["SpatialReference"] == "MNI152NLin2009aSym"
    assert facts["Steps"] == list(_prepared().steps)
    assert facts["Transform"] == transform.name
    np.testing.assert_array_equal(facts["Alignment"]["matrix"], MATRIX)


def test_itk_reads_the_transform_as_template_to_scan(store: PreparedStore, tmp_path: Path) -> None:
    *_, path = _derivative(store, tmp_path / "d")
    transform = sitk.ReadTransform(str(path))
    lps = np.array([-1.0, -1.0, 1.0])  # ITK's positions run to the left and to the back
    for point in np.random.default_rng(0).uniform(-80, 80, (6, 3)):
        moved = np.array(transform.TransformPoint((point * lps).tolist())) * lps
        np.testing.assert_allclose(moved, (MATRIX @ np.append(point, 1))[:3], atol=1e-6)


def test_a_derivative_stays_when_the_cache_is_emptied_and_is_replaced_when_made_again(
    store: PreparedStore, tmp_path: Path
) -> None:
    volume, *_ = _derivative(store, tmp_path / "d")
    before = volume.read_bytes()
    store.volume_path(KEY).unlink()
    assert volume.read_bytes() == before
    _derivative(store, tmp_path / "d")
    assert volume.read_bytes() == before


def test_a_scan_that_was_not_registered_has_no_transform(
    store: PreparedStore, tmp_path: Path
) -> None:
    plain = dataclasses.replace(_prepared(), alignment=None, steps=("resampling to 1 mm",))
    store.put(KEY, plain)
    written = write_derivative(
        tmp_path, store, KEY, stem="sub-1/anat/sub-1", source="s", scan_sha256="f" * 64
    )
    assert len(written) == 3
    facts = json.loads(written[2].read_text())
    assert facts["SkullStripped"] is False
    assert facts["Alignment"] is None
    # A sidecar must not name a file that is not there.
    assert facts.get("Transform") is None


def test_the_folder_says_that_it_is_a_derivative_and_who_made_it(tmp_path: Path) -> None:
    write_description(tmp_path, version="1.2.3")
    described = json.loads((tmp_path / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert {"Name", "BIDSVersion"} <= set(described)
    (maker,) = described["GeneratedBy"]
    assert maker["Name"] == "mri-transfer"
    assert maker["Version"] == "1.2.3"


@pytest.mark.parametrize(
    ("scan_id", "patient_id", "session_id", "stem"),
    [
        ("sub-1", "sub-1", None, "sub-1/anat/sub-1"),
        ("sub-1_ses-2", "sub-1", "ses-2", "sub-1/ses-2/anat/sub-1_ses-2"),
        ("sub-1_ses-2_run-1", "sub-1", "2", "sub-1/ses-2/anat/sub-1_ses-2_run-1"),
    ],
)
def test_a_scan_that_has_a_bids_name_keeps_it(
    scan_id: str, patient_id: str, session_id: str | None, stem: str
) -> None:
    assert bids_stem(scan_id=scan_id, patient_id=patient_id, session_id=session_id) == stem


@pytest.mark.parametrize(
    ("scan_id", "patient_id", "session_id", "start"),
    [
        ("OAS1_0001_MR1", "OAS1_0001", None, "sub-OAS10001"),
        ("7", "12", "m06", "sub-12/ses-m06/anat/sub-12_ses-m06_acq-7"),
        ("Zoë 1", "Zoë", None, "sub-Zo"),
    ],
)
def test_other_names_keep_their_letters_and_digits(
    scan_id: str, patient_id: str, session_id: str | None, start: str
) -> None:
    stem = bids_stem(scan_id=scan_id, patient_id=patient_id, session_id=session_id)
    assert stem.startswith(start)
    for part in stem.split("/"):
        assert part == "anat" or all(
            value.isascii() and value.isalnum()
            for value in (entity.partition("-")[2] for entity in part.split("_"))
        )


def test_entities_that_a_derivative_adds_itself_are_not_there_twice() -> None:
    names = [f"sub-1_space-MNI_desc-{version}" for version in ("a", "b")]
    stems = [bids_stem(scan_id=name, patient_id="sub-1", session_id=None) for name in names]
    assert len(set(stems)) == 2
    assert not [stem for stem in stems if "_space-" in stem or "_desc-" in stem]


def test_a_scan_named_like_anothers_bids_name_has_a_name_of_its_own() -> None:
    names = [
        bids_stem(scan_id=scan_id, patient_id="1", session_id=None)
        for scan_id in ("x", "sub-1_acq-x")
    ]
    assert names[0] != names[1]


IDS = st.one_of(
    st.text(min_size=1, max_size=6),
    st.text("aA1-_ .é", min_size=1, max_size=5),
    st.sampled_from(["sub-1", "sub-1_acq-a", "sub-1_ses-2", "sub-1_ses-2_acq-a", "1", "a", "A"]),
)
SCANS = st.lists(
    st.tuples(
        IDS,
        st.sampled_from(["1", "sub-1", "a-1", "a1"]),
        st.sampled_from([None, "2", "ses-2"]),
    ),
    unique_by=lambda scan: scan[0],
    min_size=2,
    max_size=8,
)


@given(SCANS)
def test_two_scans_never_share_a_name(scans: list[tuple[str, str, str | None]]) -> None:
    stems = [bids_stem(scan_id=s, patient_id=p, session_id=v) for s, p, v in scans]
    assert len(set(stems)) == len(scans)


@pytest.mark.parametrize("file", ["volume_path", "mask_path", "path"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "another scan's"])
def test_a_damaged_file_counts_as_not_there_and_is_named(
    store: PreparedStore, file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = "d" * 64
    prepared = _prepared()
    store.put(KEY, prepared)
    louder = dataclasses.replace(prepared.volume, voxels=prepared.volume.voxels + 1)
    store.put(other, dataclasses.replace(prepared, volume=louder, mask=~prepared.mask))
    path = getattr(store, file)(KEY)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(
        {
            "flipped": bytes(content),
            "cut": path.read_bytes()[:-9],
            "empty": b"",
            "another scan's": getattr(store, file)(other).read_bytes(),
        }[damage]
    )
    assert KEY not in store
    assert str(store.path(KEY)) in caplog.text
    store.put(KEY, prepared)
    assert KEY in store
