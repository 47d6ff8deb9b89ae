"""The model's section has the shapes and counts of the real network and of real fitted heads."""

from __future__ import annotations

import copy
import tomllib
from importlib import resources
from typing import Any

import pytest
import torch

from mri_transfer.models.heads import (
    HEADS,
    AnyHeadSpec,
    AttentionHeadSpec,
    LinearHeadSpec,
    MlpHeadSpec,
    fit_head,
)
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from mri_transfer.models.trunks.layers import layer_table
from mri_transfer.report.blocks.document import Figure, Section, Table
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.model import model_section
from tests.report.documents import make_inputs, replaced
from tests.synthetic import feature_table


@pytest.fixture(scope="module")
def network() -> torch.nn.Sequential:
    spec = TrunkSpec(weights="random", layer="block5_pool")
    return load_trunk(spec, precision="fp32", device="cpu").network.prefix


def inputs_of(**config: Any) -> ReportInputs:
    return replaced(make_inputs(), config=config)


def table_of(section: Section) -> dict[str, tuple[str, ...]]:
    """Return the rows of the figure's table, by their heads."""
    (drawn,) = [block for block in section.blocks if isinstance(block, Figure)]
    return {row.head: row.cells for row in drawn.numbers[0].rows}


def text_of(value: Any) -> str:
    return repr(value)


@pytest.mark.parametrize("size_px", [45, 64])
def test_layers_are_those_of_the_network(size_px: int, network: torch.nn.Sequential) -> None:
    maps, real = torch.zeros(1, 3, size_px, size_px), []
    with torch.inference_mode():
        for module in (layer for stage in network for layer in stage):
            maps = module(maps)
            if not isinstance(module, torch.nn.ReLU):
                pools = isinstance(module, torch.nn.MaxPool2d)
                n_parameters = sum(p.numel() for p in module.parameters())
                real.append((*maps.shape[1:], n_parameters, pools))
    computed = [
        (one.channels, one.rows, one.columns, one.parameters, one.kind == "pooling")
        for one in layer_table(TrunkSpec(layer="block5_pool"), size_px)
    ]
    assert computed == real


@pytest.mark.parametrize(("layer", "n_layers"), [("block3_pool", 10), ("block4_pool", 14)])
def test_a_trunk_read_out_earlier_is_the_beginning_of_the_whole(layer: str, n_layers: int) -> None:
    whole = layer_table(TrunkSpec(layer="block5_pool"), 224)
    assert layer_table(TrunkSpec(layer=layer), 224) == whole[:n_layers]
    assert whole[n_layers - 1].name == layer


def test_whole_trunk_has_as_many_parameters_as_published() -> None:
    """14 714 688 without the classifier: the count that Keras prints of its VGG16."""
    layers = layer_table(TrunkSpec(layer="block5_pool"), 224)
    assert sum(layer.parameters for layer in layers) == 14_714_688
    assert (layers[-1].channels, layers[-1].rows) == (512, 7)


@pytest.mark.parametrize(
    ("spec", "scaling"),
    [
        # The intercept is spread over the slices when the head is written.
        (LinearHeadSpec(zones=1), {"bias": 1}),
        (LinearHeadSpec(zones=3, inverse_l2=(1.0, 2.0)), {"bias": 1}),
        (MlpHeadSpec(hidden=5, epochs=1), {}),
        (AttentionHeadSpec(hidden=7, epochs=1), {"mean": 0, "deviation": 0}),
    ],
)
def test_heads_have_as_many_parameters_as_fitted_ones(
    spec: AnyHeadSpec, scaling: dict[str, int]
) -> None:
    table, labels = feature_table(n_patients=8, n_slices=6, n_features=11)
    head = fit_head(spec, table, labels)
    real = sum(scaling.get(name, values.size) for name, values in head.tensors.items())
    assert sum(part.parameters for part in HEADS[spec.kind].parts(spec, 11)) == real


def test_published_model_is_drawn_with_its_known_sizes() -> None:
    """Hon and Khan's: 150 pixels, 4 x 4 x 512 maps, 8192 features, a dense layer of 256."""
    file = resources.files("pipelines") / "configs" / "hon_khan_2017.toml"
    section = model_section(inputs_of(**tomllib.loads(file.read_text(encoding="utf-8"))))
    rows = table_of(section)
    assert rows["block5, pool"][0] == "512 \u00d7 4 \u00d7 4"
    assert rows["Features"][0] == "8,192"
    assert rows["All of the trunk"][1] == "14,714,688"
    assert rows["All of the head"][1] == f"{8192 * 256 + 256 + 256 + 1:,}"
    assert rows["Join"][2] == "fixed: mean probability of the slices"
    assert "Recalibration" not in rows
    assert "divided by 255" in text_of(section)


def test_defaults_are_drawn_with_hand_values() -> None:
    rows = table_of(model_section(inputs_of()))
    assert rows["block1, conv1"] == ("64 \u00d7 224 \u00d7 224", "1,792", "frozen")
    assert rows["block4, pool"][0] == "512 \u00d7 14 \u00d7 14"
    assert rows["Head: linear, 2 zones with own weights"] == ("1", "1,025", "trained")
    assert rows["All of the trunk"] == ("", "7,635,264", "frozen")
    assert "ComBat" not in rows


def test_every_frozen_and_trained_row_of_the_table_adds_up() -> None:
    rows = table_of(model_section(inputs_of(heads={"kind": "attention"})))
    counts = {state: 0 for state in ("frozen", "trained")}
    for head, (_, number, state) in rows.items():
        if state in counts and not head.startswith("All of"):
            counts[state] += int(number.replace(",", ""))
    totals = [rows[f"All of the {part}"][1].replace(",", "") for part in ("trunk", "head")]
    assert [str(counts["frozen"]), str(counts["trained"])] == totals


def test_harmonisation_random_weights_and_classes_are_said() -> None:
    text = text_of(
        model_section(
            inputs_of(
                harmonisation={"kind": "combat"},
                trunk={"weights": "random", "seed": 3},
                labels={"classes": ["AD", "CN", "MCI"]},
            )
        )
    )
    assert "ComBat" in text
    assert "random weights" in text
    assert "seed 3" in text
    assert "CC BY" not in text
    assert "AD, CN, MCI" in text


def test_pretrained_weights_are_named_with_licence_source_and_digest() -> None:
    text = text_of(model_section(inputs_of()))
    assert "0f" * 32 in text
    assert "CC BY 4.0" in text
    assert "123.68" in text


def _procedures(section: Section) -> list[Table]:
    """Return the tables beside that of what is transferred."""
    tables = [block for block in section.blocks if isinstance(block, Table)]
    return [table for table in tables if table.name != "transfer"]


def test_procedures_that_folds_used_are_listed_with_their_size() -> None:
    section = model_section(inputs_of(heads={"inverse_l2": [10.0, 30.0]}))
    (table,) = _procedures(section)
    assert [(row.cells[1], row.cells[2], row.cells[3]) for row in table.rows] == [
        ("1", "512", "1,025"), ("1", "512", "1,025"),
    ]  # fmt: skip
    assert {row.head.split(",")[0] for row in table.rows} == {"pooling max", "pooling average"}


def test_one_procedure_needs_no_table() -> None:
    inputs = inputs_of()
    evaluation = copy.deepcopy(dict(inputs.evaluation.plain()))
    evaluation["choices"] = evaluation["choices"][:1]
    section = model_section(replaced(inputs, evaluation=evaluation))
    assert not _procedures(section)
