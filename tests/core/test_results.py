"""Results are kept whole or not at all."""

from __future__ import annotations

import pytest

from mri_transfer.core.results import ResultStore

KEY = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path)


def test_a_result_comes_back_to_the_last_bit(store) -> None:
    result = {"value": 0.1 + 0.2, "rows": [[1e-300, 5e-324], [-0.0, 1.7976931348623157e308]]}
    store.put(KEY, result)
    found = store.get(KEY)
    assert found == result
    assert str(found["rows"][1][0]) == "-0.0"


def test_what_was_never_stored_is_none(store) -> None:
    assert store.get(KEY) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("0.5", "0.6"),
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: '{"value": 0.5}',
        lambda text: text.replace("0.5", "NaN"),
        lambda text: text.replace('"value":0.5', '"value":"\\ud800"'),
    ],
)
def test_a_damaged_result_counts_as_missing_and_can_be_stored_again(store, damage) -> None:
    store.put(KEY, {"value": 0.5})
    path = store.path(KEY)
    path.write_text(damage(path.read_text()))
    assert store.get(KEY) is None
    store.put(KEY, {"value": 0.5})
    assert store.get(KEY) == {"value": 0.5}


def test_a_result_under_another_key_is_not_taken(store) -> None:
    other = "ac" * 32
    store.put(KEY, {"value": 0.5})
    store.path(other).parent.mkdir(parents=True, exist_ok=True)
    store.path(KEY).rename(store.path(other))
    assert store.get(other) is None


def test_what_json_has_no_words_for_is_refused_and_leaves_nothing(store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.put(KEY, {"value": float("nan")})
    assert KEY not in store
