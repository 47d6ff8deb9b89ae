"""Where the head lies: all turns, the search against slow sums, every turn of a whole head."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mri_transfer.scans.preparation.pose import (
    SEARCH_SPACING_MM,
    TURN_WORDS,
    TURNS,
    Probe,
    find_poses,
    slide,
)
from mri_transfer.scans.preparation.template import image_of_volume, to_spacing
from mri_transfer.scans.volumes import Volume
from tests.heads_phantom import placement_error_mm, some_head, turned_content, turned_header

Array = npt.NDArray[np.float32]


def test_the_turns_are_the_24_proper_rotations_of_a_cube_the_identity_first() -> None:
    assert len({turn.tobytes() for turn in TURNS}) == 24
    np.testing.assert_array_equal(TURNS[0], np.eye(3))
    for turn in TURNS:
        assert np.linalg.det(turn) == pytest.approx(1)
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
        np.testing.assert_array_equal(np.abs(turn), np.abs(turn).astype(bool))


def _words(turn: list[list[float]]) -> str:
    return TURN_WORDS[[other.tolist() for other in TURNS].index(turn)]


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], ""),
        (  # lying on the back of the head, by the header
            [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
            "the head's front where the header says back, top where the header says bottom",
        ),
        (  # turned about the vertical
            [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
            "the head's right where the header says left, front where the header says back",
        ),
        (  # rolled forward: what is up in the head lies where the header has the front
            [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
            "the head's front where the header says bottom, top where the header says front",
        ),
        (
            [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
            "the head's right where the header says front, front where the header says left",
        ),
    ],
)
def test_a_turn_is_told_in_words(turn: list[list[float]], words: str) -> None:
    assert _words(turn) == words


def test_every_turn_has_words_of_its_own_and_only_the_first_has_none() -> None:
    assert len(set(TURN_WORDS)) == 24
    assert [turn for turn, words in enumerate(TURN_WORDS) if not words] == [0]


def _turn_by_hand(array: Array, turn: npt.NDArray[np.float64]) -> Array:
    """Turn an array voxel by voxel about its middle."""
    last = np.array(array.shape) - 1
    turned_last = np.abs(turn @ last).astype(int)
    turned = np.zeros(turned_last + 1, dtype=np.float32)
    for old in np.ndindex(array.shape):
        new = turn @ (np.array(old) - last / 2) + turned_last / 2
        turned[tuple(np.rint(new).astype(int))] = array[old]
    return turned


def _slid_by_hand(field: Array, probe: Probe, turn: npt.NDArray[np.float64]) -> dict[tuple, float]:
    """Normalised correlation at every shift, by sums over the voxels; outside is 0."""
    field = field / field.std()
    weight, deviation = (_turn_by_hand(part, turn) for part in (probe.weight, probe.deviation))
    size = weight.shape
    padded = np.pad(field, [(n - 1, n - 1) for n in size])
    found = {}
    for at in np.ndindex(*(f + n - 1 for f, n in zip(field.shape, size, strict=True))):
        seen = padded[tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))]
        mean = float((weight * seen).sum())
        variance = max(float((weight * seen**2).sum()) - mean**2, 1e-2)
        shift = tuple(a - n + 1 for a, n in zip(at, size, strict=True))
        found[shift] = float((deviation * seen).sum()) / np.sqrt(variance * probe.spread)
    return found


def test_sliding_agrees_with_slow_sums_over_all_shifts_and_turns() -> None:
    rng = np.random.default_rng(3)
    field = rng.random((7, 6, 5)).astype(np.float32)
    outline = rng.random((4, 3, 2)) > 0.2
    probe = Probe.of(rng.random((4, 3, 2)).astype(np.float32), outline)
    for turn, (correlation, placed) in zip(TURNS, slide(field, probe), strict=True):
        slow = _slid_by_hand(field, probe, turn)
        best = max(slow, key=lambda shift: slow[shift])
        assert correlation == pytest.approx(slow[best], abs=1e-4)
        # The probe's middle lands where the slow search has it.
        turned = np.abs(turn @ (np.array(outline.shape) - 1))
        middle = placed @ np.append((np.array(outline.shape) - 1) / 2, 1.0)
        np.testing.assert_allclose(middle[:3], np.array(best) + turned / 2, atol=1e-9)
        np.testing.assert_array_equal(placed[:3, :3], turn)


@pytest.mark.parametrize("turn", range(24))
def test_a_piece_of_a_picture_is_found_where_it_was_cut_out(turn: int) -> None:
    rng = np.random.default_rng(turn)
    piece = rng.random((5, 4, 6)).astype(np.float32)
    field = 0.2 * rng.random((14, 13, 12)).astype(np.float32)
    turned = _turn_by_hand(piece, TURNS[turn])
    corner = (3, 5, 2)
    where = tuple(slice(c, c + n) for c, n in zip(corner, turned.shape, strict=True))
    field[where] = 7 * turned + 2  # another scale and offset do not matter
    found = slide(field, Probe.of(piece, np.ones(piece.shape, dtype=bool)))
    best = max(range(24), key=lambda t: found[t][0])
    assert best == turn
    assert found[turn][0] == pytest.approx(1, abs=1e-3)
    voxels = np.array(list(np.ndindex(piece.shape)))
    places = np.c_[voxels, np.ones(len(voxels))] @ found[turn][1].T
    at = tuple(np.rint(places[:, :3]).astype(int).T)
    np.testing.assert_allclose(field[at], 7 * piece.ravel() + 2, rtol=1e-6)


def test_a_field_without_signal_gives_numbers_and_no_warning() -> None:
    piece = np.random.default_rng(0).random((3, 3, 3)).astype(np.float32)
    empty = np.zeros((6, 6, 6), dtype=np.float32)
    found = slide(empty, Probe.of(piece, np.ones(piece.shape, dtype=bool)))
    assert all(abs(correlation) < 1e-3 for correlation, _ in found)


@pytest.mark.parametrize("turn", range(24))
def test_every_turn_of_a_head_is_found_from_its_content(turn: int) -> None:
    volume = some_head().volume
    by_header, by_content = (f(volume, TURNS[turn]) for f in (turned_header, turned_content))
    # Cubic voxels: a wrong header and turned content are the same picture, elsewhere in the world.
    np.testing.assert_array_equal(by_header.voxels, by_content.voxels)
    scan = by_header if turn % 2 else by_content
    best = find_poses(to_spacing(image_of_volume(scan), SEARCH_SPACING_MM))[0]
    assert best.turn == turn


def test_poses_are_placed_in_the_scans_world_the_best_first() -> None:
    head = some_head()
    poses = find_poses(to_spacing(image_of_volume(head.volume), SEARCH_SPACING_MM))
    assert len(poses) == 5 * 24
    assert [p.correlation for p in poses] == sorted((p.correlation for p in poses), reverse=True)
    assert poses[0].turn == 0
    assert placement_error_mm(poses[0].matrix, head) < 12  # one and a half voxels of the search


def test_a_mirrored_head_looks_upright() -> None:
    """The documented limit: content does not tell left from right."""
    volume = some_head().volume
    mirrored = Volume(
        voxels=np.ascontiguousarray(volume.voxels[::-1]), affine=volume.affine, scan_id="mirrored"
    )
    best, before = (
        find_poses(to_spacing(image_of_volume(scan), SEARCH_SPACING_MM))[0]
        for scan in (mirrored, volume)
    )
    assert best.turn == 0
    assert best.correlation == pytest.approx(before.correlation, abs=0.02)
