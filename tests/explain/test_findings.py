"""Neighbours, choice, groups, checks, truth and the files: what is made of maps."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import RunFolderError
from mri_transfer.explain import Explanation, read_explanation, write_explanation
from mri_transfer.explain.checks import likeness, repeat_agreement, sanity_rows
from mri_transfer.explain.choice import choose_patients
from mri_transfer.explain.cohort_maps import CohortMaps
from mri_transfer.explain.document import ExplanationDocument, Neighbours
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.groups import UNIT_ML, GroupGrid, group_maps, write_group
from mri_transfer.explain.neighbours import nearest_patients, neighbour_agreement
from mri_transfer.explain.patches import cell_means, cell_sums, join_cells
from mri_transfer.explain.regions import OUTSIDE, box_regions, region_rows, volume_at
from mri_transfer.explain.truth import auc_of, planted_cells, score_truth
from mri_transfer.scans.slices import SliceSpec
from tests.explain.phantom import make_folds, make_table, make_trained
from tests.phantoms import ras_affine

FEW = {"n_samples": 100, "seed": 0, "confidence": 0.95}
SHAPE = (6, 8, 8)


def test_neighbours_are_those_of_a_slow_oracle_and_never_held_out() -> None:
    table, folds, trained = make_table(), make_folds(), make_trained()
    found = nearest_patients(trained, {"max": table}, folds, n=2)
    assert len(found) == 2 * 8 * 2
    owners = np.array(table.patient_ids)
    mean_of = {p: table.features[owners == p].mean((0, 1)) for p in folds.patient_ids}
    for (repeat, name), rows in found.groupby(["repeat", "patient_id"]):
        fold_of = dict(zip(folds.patient_ids, folds.assignment[repeat], strict=True))
        train = [p for p in folds.patient_ids if fold_of[p] != fold_of[name]]
        spread = np.std([mean_of[p] for p in train], axis=0)
        distance = {
            p: float(np.sqrt((((mean_of[p] - mean_of[name]) / spread) ** 2).mean())) for p in train
        }
        nearest = sorted(train, key=distance.__getitem__)[:2]
        assert rows["neighbour_id"].tolist() == nearest
        assert rows["rank"].tolist() == [1, 2]
        assert np.allclose(rows["distance"], [distance[p] for p in nearest], rtol=1e-4)
        labels = dict(zip(folds.patient_ids, folds.labels, strict=True))
        assert rows["label"].tolist() == [labels[p] for p in nearest]


def test_agreement_counts_neighbours_of_the_own_label() -> None:
    folds = make_folds(4)
    table = pd.DataFrame(
        [(0, "p0", 1, "p2", "AD", 1.0), (0, "p0", 2, "p1", "CN", 1.0),
         (0, "p2", 1, "p0", "AD", 1.0), (0, "p2", 2, "p0", "AD", 1.0),
         (0, "p1", 1, "p0", "AD", 1.0), (0, "p3", 1, "p0", "AD", 1.0)],
        columns=["repeat", "patient_id", "rank", "neighbour_id", "label", "distance"],
    )  # fmt: skip
    found = {one["label"]: one for one in neighbour_agreement(table, folds, **FEW)}
    assert found["AD"]["share"]["value"] == pytest.approx(0.75)
    assert found["CN"]["share"]["value"] == 0
    assert found["CN"]["by_chance"] == 0.5


def test_the_surest_right_and_wrong_of_each_label_come_first() -> None:
    rows = [
        ("a1", "AD", 0.9, "AD"), ("a2", "AD", 0.8, "AD"), ("a3", "AD", 0.3, "CN"),
        ("c1", "CN", 0.2, "CN"), ("c2", "CN", 0.05, "CN"), ("c3", "CN", 0.7, "AD"),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["patient_id", "label", "score", "predicted"])
    chosen = choose_patients(scores, n=5, positive="AD")
    assert [one.patient_id for one in chosen] == ["a1", "c2", "a3", "c3", "a2"]
    assert [one.outcome for one in chosen] == [
        "correct",
        "correct",
        "incorrect",
        "incorrect",
        "correct",
    ]
    assert len(choose_patients(scores, n=50, positive="AD")) == 6


def test_cells_and_patches_by_hand() -> None:
    picture = np.arange(16.0).reshape(1, 4, 4)
    assert np.array_equal(cell_sums(picture, (2, 2)), [[[10, 18], [42, 50]]])
    assert np.array_equal(cell_means(picture, (2, 2)), [[[2.5, 4.5], [10.5, 12.5]]])
    assert np.array_equal(join_cells(np.ones((1, 3, 3)), 2), [[[4, 2], [2, 1]]])


def _geometry() -> SliceGeometry:
    spec = SliceSpec(n_slices=6, size_px=32)
    z_mm = np.linspace(-10, 40, 6)
    return SliceGeometry.of((80, 80, 60), ras_affine((1.0, 1.0, 1.0), (-40, -40, -15)), z_mm, spec)


def _cohort(by_repeat: np.ndarray, **settings) -> CohortMaps:
    n, repeats = by_repeat.shape[:2]
    rng = np.random.default_rng(1)
    values = {
        "scan_ids": tuple(f"s{i}" for i in range(n)),
        "patient_ids": tuple(f"p{i}" for i in range(n)),
        "by_repeat": by_repeat,
        "gradcam": rng.normal(size=(n, *SHAPE)),
        "randomised": rng.normal(size=(n, *SHAPE)),
        "slice_weights": np.ones((n, SHAPE[0])),
        "log_odds": rng.normal(size=(n, repeats)),
        "inside": np.ones((n, *SHAPE), dtype=np.float32),
        "residual": np.zeros((n, repeats)),
        "mismatch": 0.0,
    }
    return CohortMaps(**(values | settings))


def test_a_blob_lies_where_it_was_put_and_means_keep_its_size() -> None:
    geometry, inside = _geometry(), np.ones((2, *SHAPE), dtype=np.float32)
    maps = np.zeros((2, *SHAPE), dtype=np.float32)
    maps[0, 3, 2, 6] = 4.0
    found = group_maps(
        maps, [geometry] * 2, inside, lambda _i: np.full((6, 32, 32), 7, dtype=np.uint8),
        {"first": np.array([1.0, 0.0]), "both": np.array([0.5, 0.5])}, spacing_mm=2.0,
    )  # fmt: skip
    at = np.unravel_index(np.argmax(found.maps["first"]), found.grid.shape)
    place = found.grid.points_mm()[(slice(None), *at)]
    wanted = geometry.cell_points_mm((8, 8))[:, 3, 2, 6, 0]
    assert np.abs(place - wanted).max() <= 1.0 + 1e-9
    # 10 x 10 mm wide and 10 mm high: one millilitre.
    assert found.maps["first"].max() == pytest.approx(4.0 * UNIT_ML, rel=0.25)
    assert np.allclose(found.maps["both"], found.maps["first"] / 2)
    assert np.allclose(found.background[found.background > 0], 7)


def test_files_of_groups_are_the_same_twice_and_ask_nothing_of_a_network(tmp_path) -> None:
    grid = GroupGrid(shape=(8, 9, 10), affine=ras_affine((4.0, 4.0, 4.0)))
    values = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    fine = grid.at_mm(2.0)
    found = group_maps(
        np.ones((1, *SHAPE), dtype=np.float32), [_geometry()], np.ones((1, *SHAPE)),
        lambda _i: np.full((6, 32, 32), 7, dtype=np.uint8), {"x": np.ones(1)}, spacing_mm=8.0,
    )  # fmt: skip
    found = dataclasses.replace(
        found, grid=grid, maps={"x": values}, background_grid=fine,
        background=np.random.default_rng(1).uniform(0, 255, fine.shape).astype(np.float32),
    )  # fmt: skip
    title = "<script>alert(1)</script>"
    kept = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        files = write_group(folder, "group_0", title, found, "x", on_template=False, viewer=True)
        kept.append([file.read_bytes() for file in files])
    assert kept[0] == kept[1]
    page = kept[0][1].decode()
    assert title not in page
    assert "<script src" not in page
    assert "<link rel" not in page
    assert "githubusercontent" not in page


def test_likeness_is_spearmans_over_the_head() -> None:
    first, second = np.array([1.0, 2, 3, 4, 99]), np.array([1.0, 3, 2, 50, -7])
    assert likeness(first, second, np.array([1, 1, 1, 1, 0])) == pytest.approx(0.8)
    assert np.isnan(likeness(np.ones(5), second, np.ones(5)))


def test_checks_tell_a_sound_map_from_a_randomised_one() -> None:
    rng = np.random.default_rng(0)
    own = rng.normal(size=(10, 1, *SHAPE)) + 0.1 * rng.normal(size=(10, 2, *SHAPE))
    settings = {"exact": True, "same_again": True, **FEW}

    def verdicts(cohort: CohortMaps) -> dict:
        rows = sanity_rows(cohort, {}, **settings)
        return {row["check"]: row["passed"] for row in rows}

    sound = _cohort(own)
    assert verdicts(sound) == {
        "same_features": True, "same_again": True, "is_complete": True, "randomised_head": True,
        "random_trunk": None, "repeats": True,
    }  # fmt: skip
    assert repeat_agreement(sound).min() > 0.9
    blind = _cohort(own, randomised=own[:, 0], mismatch=0.1, residual=np.ones((10, 2)))
    failed = verdicts(blind)
    assert (failed["randomised_head"], failed["same_features"], failed["is_complete"]) == (
        False,
    ) * 3
    assert verdicts(_cohort(rng.normal(size=(10, 2, *SHAPE))))["repeats"] is False
    assert verdicts(_cohort(own[:, :1], log_odds=np.ones((10, 1))))["repeats"] is None


def test_auc_by_hand() -> None:
    assert auc_of([1, 2, 3, 4], [False, False, True, True]) == 1
    assert auc_of([1, 2, 3, 4], [True, False, False, True]) == pytest.approx(0.5)
    assert auc_of([1, 1, 1, 1], [True, False, False, True]) == 0.5
    assert np.isnan(auc_of([1, 2], [True, True]))


def test_planted_cells_are_where_the_loss_is() -> None:
    loss = np.zeros((80, 80, 60), dtype=np.float32)
    loss[60:, 60:, 40:] = 1
    found = planted_cells(
        loss, ras_affine((1.0, 1.0, 1.0), (-40, -40, -15)), _geometry(), np.ones(SHAPE)
    )
    # Right (last columns), front (first rows), high (last slices).
    assert found[5, 0, 7]
    assert not found[:3].any()
    assert not found[:, 4:].any()


def test_a_map_of_the_truth_finds_it_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    planted = np.zeros(SHAPE, dtype=bool)
    planted[0, :3, :4] = True
    labels = {f"p{i}": ("AD", "CN")[i % 2] for i in range(12)}
    truth = planted * np.where(np.arange(12) % 2, 0.0, 5.0)[:, None, None, None]
    maps = truth[:, None] + rng.normal(size=(12, 1, *SHAPE)) / 10
    cohort = _cohort(maps)
    found = score_truth(cohort, [planted] * 12, labels, positive="AD", **FEW)["methods"]
    own, noise = found["maps"], found["Grad-CAM"]
    assert own["auc"]["value"]["value"] == pytest.approx(1)
    assert own["pointing"]["value"]["value"] == 1
    assert own["pointing"]["difference"]["value"] == 1
    assert own["mass"]["difference"]["ci_low"] > 0.5
    assert own["group_auc"]["value"] == pytest.approx(1)
    assert abs(noise["auc"]["value"]["value"] - 0.5) < 0.1


def test_depths_and_heights_each_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    inside = np.zeros(SHAPE, dtype=np.float32)
    inside[:, 1:7, 1:7] = 1
    shares = box_regions(_geometry(), inside)
    maps = rng.normal(size=(1, *SHAPE))
    rows = region_rows(maps, [shares], inside[None], ["p"], {"p": "AD"}, **FEW)
    by_region = {row["region"]: row for row in rows}
    for names in (
        [name for name in shares if "left" in name or "right" in name],
        [name for name in shares if "lowest" in name or "height" in name or "highest" in name],
    ):
        values = [by_region[name]["by_label"]["AD"]["value"] for name in names]
        assert sum(values) == pytest.approx(maps.sum())
        assert sum(by_region[name]["share"] for name in names) == pytest.approx(1)
    outside = maps[0][inside == 0].sum()
    assert by_region[OUTSIDE]["by_label"]["AD"]["value"] == pytest.approx(outside)
    front = shares["front third, right"]
    assert front[:, 1, 6].all()
    assert not front[:, 6].any()


def test_a_volume_is_read_at_world_positions() -> None:
    values = np.zeros((5, 5, 5), dtype=np.float32)
    values[3, 1, 2] = 1
    affine = ras_affine((2.0, 3.0, 4.0))
    point = (affine @ [3, 1, 2, 1])[:3].reshape(3, 1)
    assert volume_at(values, affine, point) == pytest.approx(1)
    assert volume_at(values, affine, point + 100) == 0


def _explanation() -> Explanation:
    table, folds, trained = make_table(), make_folds(), make_trained()
    return Explanation(
        document=ExplanationDocument(
            positive_label="AD",
            labels={"AD": 1, "CN": 1},
            n_patients=2,
            n_repeats=1,
            confidence=0.95,
            settings={},
            neighbours=Neighbours(n=1, agreement=()),
            n_scans=2,
        ),
        scan_ids=("s/../1", "<b>"),
        maps=np.ones((2, 3, 4, 4), dtype=np.float32),
        slice_weights=np.ones((2, 3), dtype=np.float32),
        neighbours=nearest_patients(trained, {"max": table}, folds, n=1),
        groups={"group_0": np.ones((2, 2, 2), dtype=np.float32)},
        pixel_attribution={"gradients 0": np.ones((1, 4, 4), dtype=np.float32)},
    )


def test_what_was_written_is_read_again(tmp_path) -> None:
    found = _explanation()
    files = write_explanation(found, tmp_path)
    assert files[-1].name == "explanation.json"
    again = read_explanation(tmp_path)
    assert again.scan_ids == found.scan_ids
    assert np.array_equal(again.maps, found.maps)
    assert list(again.groups) == ["group_0"]
    assert list(again.pixel_attribution) == ["gradients 0"]
    pd.testing.assert_frame_equal(again.neighbours, found.neighbours)


def test_files_that_do_not_fit_together_are_refused(tmp_path) -> None:
    with pytest.raises(RunFolderError, match="explain"):
        read_explanation(tmp_path)
    found = _explanation()
    write_explanation(found, tmp_path)
    path = tmp_path / "explanation.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"schema": "other/9"}))
    with pytest.raises(RunFolderError, match="version"):
        read_explanation(tmp_path)
    path.write_text(json.dumps(document | {"scan_ids": ["one"]}))
    with pytest.raises(RunFolderError, match="do not fit"):
        read_explanation(tmp_path)


def test_neighbours_of_a_large_cohort_are_those_of_all_distances(monkeypatch) -> None:
    table, folds, trained = make_table(), make_folds(), make_trained()
    found = nearest_patients(trained, {"max": table}, folds, n=2)
    for name, value in (("_FEW", 0), ("_MORE", 0), ("_BLOCK", 2)):
        monkeypatch.setattr(f"mri_transfer.explain.neighbours.{name}", value)
    pd.testing.assert_frame_equal(nearest_patients(trained, {"max": table}, folds, n=2), found)
