"""What Specs share: a strict configuration, and faults said in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, canonical_json, digest, validation_message


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OneSpec:
    kind: Literal["one"] = "one"
    low: int = Field(default=0, ge=0)
    high: int = 9

    @model_validator(mode="after")
    def _check(self) -> OneSpec:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OtherSpec:
    kind: Literal["other"] = "other"
    size: int


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WholeSpec:
    name: str = ""
    part: Annotated[OneSpec | OtherSpec, Field(discriminator="kind")] = Field(
        default_factory=OneSpec
    )


def _message(settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(WholeSpec).validate_python(settings)
    return validation_message(caught.value, of="recipe", model=WholeSpec, unnamed=("one", "other"))


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"nmae": 1}, ["nmae: no such setting. Did you mean name?"]),
        ({"part": {"kind": "one", "hihg": 1}}, ["part.hihg: no such setting. Did you mean high?"]),
        ({"quite_another": 1}, ["quite_another: no such setting"]),
        ({"part": {"kind": "other", "size": 1, "hihg": 1}}, ["part.hihg: no such setting"]),
        (
            {"part": {"kind": "othr"}},
            [
                "part: Input tag 'othr' found using 'kind' does not match any of the expected "
                "tags: 'one', 'other'. Did you mean other?"
            ],
        ),
        ({"part": {"kind": "other"}}, ["part.size: Field required"]),
        ({"name": 3}, ["name: Input should be a valid string (found 3)"]),
        ({"part": {"kind": "one", "low": 10}}, ["part: low must not be above high"]),
        (
            {"name": [], "part": {"kind": "one", "low": -1}},
            [
                "name: Input should be a valid string (found [])",
                "part.low: Input should be greater than or equal to 0 (found -1)",
            ],
        ),
    ],
)
def test_each_fault_has_its_place_and_what_was_found(settings: Any, lines: list[str]) -> None:
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    first, *rest = _message(settings).splitlines()
    assert first == f"{count} in the recipe"
    assert sorted(rest) == [f"  - {line}" for line in lines]


def test_a_fault_of_the_whole_says_so() -> None:
    assert "\n  - the recipe: " in _message(7)


def test_the_same_value_has_the_same_text_and_digest() -> None:
    one, other = {"b": [1, 2.5], "a": {"é": None}}, {"a": {"é": None}, "b": [1, 2.5]}
    assert canonical_json(one) == canonical_json(other) == '{"a":{"é":null},"b":[1,2.5]}'
    assert digest(one) == digest(other) != digest({"a": {}})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))
