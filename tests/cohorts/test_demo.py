"""The demo cohort: same bytes, a readable layout, planted anatomy, and no other trace of labels."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.synthetic import cohort as demo
from mri_transfer.cohorts.synthetic.anatomy import (
    Contrast,
    Grid,
    Loads,
    Tissues,
    draw_deformation,
    draw_picture,
    grow_tissues,
    make_grid,
    smooth_noise,
)
from mri_transfer.cohorts.synthetic.cohort import (
    SPEC_FILE,
    DemoPatient,
    DemoSpec,
    draw_patients,
    grow_demo_cohort,
    planted_atrophy,
    planted_loads,
)
from mri_transfer.cohorts.synthetic.template import Template, load_template
from mri_transfer.errors import ConfigurationError

SPEC = DemoSpec(n_patients=6, spacing_mm=4.0, two_session_fraction=0.34)
FloatArray = npt.NDArray[np.float64]


@pytest.fixture(scope="module", autouse=True)
def templates_read_once() -> Iterator[None]:
    """Preparing the template takes a second; nothing here changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "load_template", prepared_template)
        yield


@functools.cache
def prepared_template(*, spacing_mm: float) -> Template:
    return load_template(spacing_mm=spacing_mm)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, templates_read_once: None) -> Path:
    return grow_demo_cohort(tmp_path_factory.mktemp("demo") / "bids", spec=SPEC)


@pytest.fixture(scope="module")
def template() -> Template:
    return prepared_template(spacing_mm=4.0)


@pytest.fixture(scope="module")
def grid() -> Grid:
    return make_grid(4.0)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def scans(folder: Path) -> Iterator[tuple[DemoPatient, Any]]:
    for patient in draw_patients(SPEC):
        for path in patient.scan_paths:
            yield patient, nib.Nifti1Image.from_filename(folder / path)


def on_grid(image: Any) -> FloatArray:
    """The scan read by its own affine at the voxels of the growing grid (RAS+)."""
    grid = make_grid(SPEC.spacing_mm)
    points = grid.points_mm().reshape(3, -1)
    to_index = np.linalg.inv(image.affine)
    index = points.T @ to_index[:3, :3].T + to_index[:3, 3]
    nearest = np.rint(index).astype(int)
    assert np.abs(nearest - index).max() < 1e-3
    values: FloatArray = image.get_fdata()[tuple(nearest.T)].reshape(grid.shape)
    return values


def average_brain(
    template: Template, grid: Grid, loads: Loads, *, variation: float = 0.0
) -> Tissues:
    points = draw_deformation(np.random.default_rng(3), grid, variation=variation)
    return grow_tissues(template, points, loads)


def in_box(grid: Grid, low: tuple[int, ...], high: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    points = grid.points_mm()
    points[0] = np.abs(points[0])
    sides = [(axis >= a) & (axis <= b) for axis, a, b in zip(points, low, high, strict=True)]
    inside: npt.NDArray[np.bool_] = sides[0] & sides[1] & sides[2]
    return inside


NONE = Loads(ventricle=0, medial_temporal=0, cortex=0)


# --- bytes -------------------------------------------------------------------------------------


def test_same_spec_grows_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    assert tree(grow_demo_cohort(tmp_path / "again", spec=SPEC)) == tree(cohort)


def test_gzip_headers_carry_neither_time_nor_name(cohort: Path) -> None:
    for path in cohort.rglob("*.nii.gz"):
        header = path.read_bytes()[:10]
        assert header[3] == 0, "no optional field, so no file name"
        assert header[4:8] == b"\0\0\0\0", "no time"


def test_another_seed_grows_other_people() -> None:
    def facts(seed: int) -> list[tuple[float, str]]:
        return [(p.age, p.label) for p in draw_patients(DemoSpec(seed=seed))]

    assert facts(0) != facts(1)
    assert facts(0) == facts(0)


def test_a_complete_cohort_is_not_touched(cohort: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}
    grow_demo_cohort(cohort, spec=SPEC)
    assert {path: path.stat().st_mtime_ns for path in cohort.rglob("*")} == before


def test_an_interrupted_cohort_is_finished_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = DemoSpec(n_patients=4, spacing_mm=4.0, two_session_fraction=0.5)
    whole = grow_demo_cohort(tmp_path / "whole", spec=spec)

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grow_demo_cohort(tmp_path / "part", spec=spec, progress=kill)
    assert not (tmp_path / "part" / "participants.tsv").exists()
    assert tree(grow_demo_cohort(tmp_path / "part", spec=spec)) == tree(whole)


def test_a_deleted_scan_is_grown_again(tmp_path: Path) -> None:
    spec = DemoSpec(n_patients=4, spacing_mm=4.0)
    folder = grow_demo_cohort(tmp_path / "bids", spec=spec)
    before = tree(folder)
    next(folder.rglob("*.nii.gz")).unlink()
    assert tree(grow_demo_cohort(folder, spec=spec)) == before


def test_a_cohort_of_another_spec_is_refused_and_kept(cohort: Path) -> None:
    before = tree(cohort)
    with pytest.raises(ConfigurationError, match="different settings"):
        grow_demo_cohort(cohort, spec=DemoSpec(n_patients=6, spacing_mm=4.0, seed=99))
    assert tree(cohort) == before


def test_a_folder_with_other_things_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="its own folder"):
        grow_demo_cohort(tmp_path, spec=SPEC)
    assert tree(tmp_path) == {"thesis.txt": b"precious"}


def test_what_a_kill_left_behind_does_not_take_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "bids"
    folder.mkdir()
    (folder / ".tmp-0123-demo_spec.json").write_text("{")
    spec = DemoSpec(n_patients=4, spacing_mm=4.0)
    assert (grow_demo_cohort(folder, spec=spec) / "participants.tsv").is_file()


@pytest.mark.parametrize("wrong", [{"n_patients": 5}, {"noise": -1}, {"patients": 4}])
def test_a_spec_that_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DemoSpec(**wrong)  # type: ignore[arg-type]


# --- layout ------------------------------------------------------------------------------------


def test_the_bids_reader_finds_every_scan_and_covariate(cohort: Path) -> None:
    table = read_bids_cohort(cohort).manifest.scans
    patients = draw_patients(SPEC)
    assert sorted(table["scan_id"]) == sorted(
        Path(path).name.removesuffix("_T1w.nii.gz") for p in patients for path in p.scan_paths
    )
    labels = dict(zip(table["patient_id"], table["label"], strict=True))
    assert labels == {patient.patient_id: patient.label for patient in patients}
    assert table["nwbv"].astype(float).between(0.6, 1).all()
    assert table[["age", "sex", "site"]].notna().all(axis=None)


def test_the_folder_says_that_it_is_synthetic(cohort: Path) -> None:
    description = json.loads((cohort / "dataset_description.json").read_text())
    assert "SYNTHETIC" in description["Name"]
    assert description["GeneratedBy"][0]["Name"] == "mri-transfer"
    assert (cohort / "README").read_text().startswith("SYNTHETIC")
    assert json.loads((cohort / SPEC_FILE).read_text())["spec"]["n_patients"] == 6
    columns = (cohort / "participants.tsv").read_text().splitlines()[0].split("\t")
    assert set(columns[1:]) == set(json.loads((cohort / "participants.json").read_text()))


def test_both_sessions_of_a_patient_have_their_own_age(cohort: Path) -> None:
    tables = list(cohort.glob("sub-*/*_sessions.tsv"))
    assert len(tables) == sum(patient.n_sessions == 2 for patient in draw_patients(SPEC)) == 2
    for table in tables:
        (_, first, _), (_, second, _) = [
            line.split("\t") for line in table.read_text().splitlines()[1:]
        ]
        assert int(second) - int(first) == pytest.approx(SPEC.years_between_sessions, abs=1)


def test_affines_undo_the_storage_orientation(cohort: Path, template: Template) -> None:
    grid = make_grid(SPEC.spacing_mm)
    average = average_brain(template, grid, NONE)
    reference = (0.74 * average.grey + average.white + 0.28 * average.fluid).ravel()
    orientations = set()
    pictures = []
    for _, image in scans(cohort):
        orientations.add(nib.aff2axcodes(image.affine))  # type: ignore[no-untyped-call]
        pictures.append(on_grid(image))
        assert image.header["sform_code"] == image.header["qform_code"] == 1
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
        assert image.get_data_dtype() == np.int16
        assert np.corrcoef(pictures[-1].ravel(), reference)[0, 1] > 0.7
    assert len(orientations) >= 5
    assert np.corrcoef(np.mean(pictures, axis=0).ravel(), reference)[0, 1] > 0.9


def test_sessions_of_one_patient_share_anatomy(cohort: Path) -> None:
    pictures: dict[str, list[FloatArray]] = {}
    for patient, image in scans(cohort):
        pictures.setdefault(patient.patient_id, []).append(on_grid(image).ravel())
    pairs = [both for both in pictures.values() if len(both) == 2]
    firsts = [both[0] for both in pictures.values()]
    within = [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    between = [np.corrcoef(a, b)[0, 1] for a, b in itertools.combinations(firsts, 2)]
    assert min(within) > max(between) + 0.02
    assert all((a != b).any() for a, b in pairs)


# --- what the label may and may not show in ----------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_balanced_in_everything_but_anatomy(seed: int) -> None:
    patients = draw_patients(DemoSpec(n_patients=24, seed=seed))
    groups = [[p for p in patients if p.label == label] for label in ("AD", "CN")]
    assert [len(group) for group in groups] == [12, 12]
    for name in ("sex", "site", "n_sessions"):
        counts = [sorted(str(getattr(p, name)) for p in group) for group in groups]
        assert counts[0] == counts[1]
    assert [p.patient_id for p in patients] == sorted(p.patient_id for p in patients)
    ill, well = ([p.age for p in group] for group in groups)
    auc = np.mean([[a > b for b in well] for a in ill])
    assert 0.58 < auc < 0.74
    assert all((p.severity > 0) == (p.label == "AD") for p in patients)


def test_order_of_patients_does_not_tell_the_label() -> None:
    ranks = []
    for seed in range(60):
        labels = np.array([p.label == "AD" for p in draw_patients(DemoSpec(seed=seed))])
        ranks.append(np.flatnonzero(labels).mean())
    assert abs(np.mean(ranks) - 11.5) < 0.6


def test_headers_and_names_do_not_tell_the_label(cohort: Path) -> None:
    for patient, image in scans(cohort):
        header = image.header
        for field in ("descrip", "intent_name", "aux_file", "db_name"):
            assert not bytes(header[field]).strip(b"\0"), field
        assert not header.extensions
        assert all(patient.label not in path for path in patient.scan_paths)
    raw = [gzip.decompress(path.read_bytes()) for path in cohort.rglob("*.nii.gz")]
    assert len({len(data) for data in raw}) == 1
    # Where the header differs between scans it tells the axes' order and direction only.
    assert {data[:40] for data in raw} == {raw[0][:40]}


def test_no_draw_of_a_picture_depends_on_the_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without disease and age gap, swapping every label changes no byte of any scan."""
    spec = DemoSpec(n_patients=4, spacing_mm=4.0, disease_effect=0)
    patients = draw_patients(spec)
    swapped = tuple(
        dataclasses.replace(p, label="CN" if p.label == "AD" else "AD", severity=0.5)
        for p in draw_patients(spec)
    )
    trees = []
    for name, people in (("as_drawn", patients), ("swapped", swapped)):
        monkeypatch.setattr(demo, "draw_patients", lambda spec, people=people: people)
        grown = tree(grow_demo_cohort(tmp_path / name, spec=spec))
        trees.append({path: data for path, data in grown.items() if path.endswith(".nii.gz")})
    assert trees[0] == trees[1]


# --- anatomy -----------------------------------------------------------------------------------


def test_disease_enlarges_ventricles_and_shrinks_medial_temporal_lobes_and_cortex(
    template: Template, grid: Grid
) -> None:
    well, mild, ill = (
        average_brain(template, grid, planted_loads(DemoSpec(), age=74, severity=severity))
        for severity in (0.0, 0.5, 1.0)
    )
    ventricles = in_box(grid, (0, -50, 4), (34, 34, 30))
    medial_temporal = in_box(grid, (18, -36, -26), (34, -6, -6))
    for region, growth in ((ventricles, 1.15), (medial_temporal, 1.5), (well.mask, 1.08)):
        fluid = [float(brain.fluid[region].mean()) for brain in (well, mild, ill)]
        assert fluid[0] < fluid[1] < fluid[2]
        assert fluid[2] > growth * fluid[0]
    assert well.brain_fraction > ill.brain_fraction
    assert (well.mask == ill.mask).all(), "the intracranial room does not shrink"


def test_age_alone_costs_tissue(template: Template, grid: Grid) -> None:
    young, old = (
        average_brain(template, grid, planted_loads(DemoSpec(), age=age, severity=0))
        for age in (60, 90)
    )
    assert old.brain_fraction < young.brain_fraction - 0.01


def test_ventricles_of_the_grown_patients_labelled_ad_are_larger(
    template: Template, grid: Grid
) -> None:
    ventricles = in_box(grid, (0, -50, 4), (34, 34, 30))
    fluid: dict[str, list[float]] = {"AD": [], "CN": []}
    for patient in draw_patients(DemoSpec(n_patients=12)):
        points = draw_deformation(np.random.default_rng(patient.seed), grid, variation=1.0)
        loads = planted_loads(DemoSpec(), age=patient.age, severity=patient.severity)
        brain = grow_tissues(template, points, loads)
        fluid[patient.label].append(float(brain.fluid[ventricles].mean()))
    assert np.mean(fluid["AD"]) > 1.1 * np.mean(fluid["CN"])
    assert min(fluid["AD"]) < max(fluid["CN"]), "the groups overlap"


def test_tissue_fractions_stay_fractions(template: Template, grid: Grid) -> None:
    loads = Loads(ventricle=1.6, medial_temporal=-0.4, cortex=-0.4)
    brain = average_brain(template, grid, loads, variation=1.0)
    assert brain.grey.min() >= 0
    assert brain.white.min() >= 0
    assert (brain.grey + brain.white).max() <= 1 + 1e-5


def test_no_variation_gives_the_template_itself(template: Template, grid: Grid) -> None:
    points = draw_deformation(np.random.default_rng(0), grid, variation=0)
    np.testing.assert_allclose(points, grid.points_mm(), atol=1e-4)
    assert 1.7e6 < average_brain(template, grid, NONE).mask.sum() * 4**3 < 2.0e6  # mm3


def test_a_drawn_deformation_does_not_fold(grid: Grid) -> None:
    for seed in range(3):
        points = draw_deformation(np.random.default_rng(seed), grid, variation=1.0)
        jacobian = np.stack(
            [np.stack(np.gradient(axis, grid.spacing_mm), axis=-1) for axis in points], axis=-2
        )
        assert (np.linalg.det(jacobian) > 0).mean() > 0.999


def test_planted_atrophy_lies_where_the_documentation_says() -> None:
    spec = DemoSpec(spacing_mm=4.0)
    loss, affine = planted_atrophy(spec)
    grid = make_grid(4.0)
    np.testing.assert_array_equal(affine, grid.affine)
    hippocampus = in_box(grid, (20, -32, -24), (34, -8, -10))
    cerebellum = in_box(grid, (8, -80, -50), (36, -52, -32))
    assert loss[hippocampus].mean() > 0.15
    assert abs(loss[cerebellum].mean()) < 0.01
    healthy, _ = planted_atrophy(DemoSpec(spacing_mm=4.0, disease_effect=0))
    assert not healthy.any()


# --- pictures ----------------------------------------------------------------------------------


def test_smooth_noise_has_mean_0_and_sd_1(grid: Grid) -> None:
    fields = smooth_noise(np.random.default_rng(0), grid, reach_mm=8.0, n_fields=16)
    assert abs(fields.mean()) < 0.05
    # Linear interpolation between coarse points takes a few percent of the spread.
    assert 0.85 < fields.std() < 1.05
    neighbours = np.corrcoef(fields[:, 1:].ravel(), fields[:, :-1].ravel())[0, 1]
    # Noise blurred by a Gaussian of sd s correlates at distance d with exp(-d^2 / 4 s^2).
    assert neighbours == pytest.approx(np.exp(-(4.0**2) / (4 * 8.0**2)), abs=0.02)


def test_noise_is_rician(grid: Grid) -> None:
    empty = np.zeros(grid.shape, dtype=np.float32)
    ones = np.ones(grid.shape, dtype=bool)
    tissues = Tissues(grey=empty, white=empty + 1, mask=ones, texture=empty)
    for white, mean_square in ((0.0, 2 * 0.1**2), (1.0, 1 + 2 * 0.1**2)):
        picture = draw_picture(
            np.random.default_rng(0),
            tissues,
            grid,
            contrast=Contrast(white=white),
            noise=0.1,
            bias=0.0,
        )
        # The second moment of a Rice distribution is signal^2 + 2 sd^2.
        assert (picture.astype(float) ** 2).mean() == pytest.approx(mean_square, rel=0.02)
        assert picture.min() >= 0
