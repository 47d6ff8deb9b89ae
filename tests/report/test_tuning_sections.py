"""What the report says of thawed stages, of feature maps, and of the kind of transfer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from mri_transfer.explain import FeatureMaps
from mri_transfer.explain.feature_maps import FeatureMapsDocument
from mri_transfer.report import figures
from mri_transfer.report.blocks.document import Figure, Picture, Section, Table
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.model import model_section
from mri_transfer.report.sections.training import training_section
from mri_transfer.training.instances import InstancesRecord
from tests.report.documents import make_inputs, replaced
from tests.report.tunings import tuning_record
from tests.report.whole_inputs import feature_maps


def _inputs(tunings: dict[Any, Any] | None = None, **tuning: Any) -> ReportInputs:
    bare = make_inputs()
    return replaced(bare, config={**bare.settings.every, "tuning": tuning}, tunings=tunings or {})


def _text(section: Section) -> str:
    return repr(section)


def _figures(section: Section) -> dict[str, Figure]:
    return {block.name: block for block in section.blocks if isinstance(block, Figure)}


def _pictures(section: Section) -> dict[str, Picture]:
    return {block.name: block for block in section.blocks if isinstance(block, Picture)}


def test_a_frozen_trunk_has_no_course_of_tuning() -> None:
    section = training_section(make_inputs())
    assert not _figures(section)
    assert "thawed stages" not in _text(section)


def test_the_course_of_tuning_is_told_with_its_numbers() -> None:
    records = {(0, fold): tuning_record(epochs=fold) for fold in range(3)}
    section = training_section(_inputs(records, strategy="some"))
    text = _text(section)
    assert "trained their stages for 0 to 2 epochs; 1 of 3 left them untuned" in text
    assert "block4, pool moved most, by 1.00 percent" in text
    drawn = _figures(section)
    assert set(drawn) == {"tuning", "stages-moved"}
    rows = {row.head: row.cells for row in drawn["tuning"].numbers[0].rows}
    assert rows["0, 2"] == ("2", "0.600 to 0.500", "0.650 to 0.550", "0.650 to not defined")
    assert rows["0, 0"][:2] == ("0", "not trained")


def test_where_no_fold_tuned_nothing_is_said_to_have_moved() -> None:
    records = {(0, fold): tuning_record(epochs=0) for fold in range(2)}
    section = training_section(_inputs(records, strategy="some"))
    assert "No fold tuned its stages" in _text(section)
    assert set(_figures(section)) == {"tuning"}


def test_missing_records_are_said_to_be_missing() -> None:
    assert "no head records them" in _text(training_section(_inputs(strategy="some")))


def test_stages_are_drawn_with_their_rate_and_when_they_are_thawed() -> None:
    """0.0001 for the last stage and times 0.7 for each before; 9 epochs over 3 thawed stages."""
    section = model_section(_inputs(strategy="most", epochs=6, unfreeze="by_stage"))
    (drawn,) = _figures(section).values()
    rows = {row.head: row.cells for row in drawn.numbers[0].rows}
    assert rows["block1, conv1"][2] == "frozen"
    assert rows["block4, conv1"][2] == "trained, rate 0.0001"
    assert rows["block3, conv1"][2] == "trained, rate 0.00007, from epoch 4 on"
    assert "rate 0.00007" in drawn.svg


def test_kinds_of_transfer_are_named_in_the_words_of_the_field() -> None:
    frozen, tuned, random = (
        _text(model_section(_inputs(**tuning)))
        for tuning in (
            {},
            {"strategy": "some"},
            {"strategy": "all", "start": "random"},
        )
    )
    assert "Feature extraction" in frozen
    assert "inductive" in frozen
    assert "transductive" in frozen
    assert "Fine-tuning" in tuned
    assert "Architecture only" in random
    assert "inductive" not in random


def _transferred(trunk: dict[str, Any], instances: InstancesRecord | None = None) -> dict[str, str]:
    bare = make_inputs()
    config = {**bare.settings.every, "trunk": trunk}
    section = model_section(replaced(bare, config=config, instances=instances))
    (table,) = [b for b in section.blocks if isinstance(b, Table) and b.name == "transfer"]
    return {row.head: row.cells[0] for row in table.rows}


def test_what_is_transferred_stands_in_one_table() -> None:
    plain = _transferred({"name": "vgg16"})
    assert plain["Parameters"] == "those of the frozen stages, as they are"
    assert plain["Features"] == "maps of block4_pool"
    assert plain["Instances"] == "none"
    assert plain["Kind"].startswith("inductive")
    assert plain["Source"] == "photographs (ImageNet); 1000 kinds of objects"
    source = InstancesRecord(weight=0.5, n_patients=16)
    both = _transferred({"name": "autoencoder", "weights": "scans"}, source)
    assert both["Instances"].startswith("16 labelled patients")
    assert "weight 0.5" in both["Instances"]
    assert both["Source"] == (
        "unlabelled T1 MRI of other cohorts; restoring masked squares of slices / "
        "T1 MRI of another cohort; the same diagnosis"
    )
    nothing = _transferred({"name": "vgg16", "weights": "random"})
    assert nothing["Kind"] == "none: everything is learned from this cohort"
    assert nothing["Source"] == "none"


def test_feature_maps_stand_a_row_a_stage_and_say_whose_they_are() -> None:
    inputs = replaced(make_inputs(), feature_maps=feature_maps("s7", "p7"))
    section = model_section(inputs)
    picture = _pictures(section)["feature-maps"]
    assert set(_pictures(section)) == {"feature-maps"}
    assert "p7 (AD) in the network of repeat 0, fold 1, which had not seen" in picture.caption
    assert "frozen" in picture.caption
    # The slice and two stages; rows of 96 pixels with a gap.
    assert Image.open(io.BytesIO(picture.content)).size[1] == 3 * 100
    assert picture.numbers[0].rows[1].cells == ("5, 2",)


def _tuned(**changes: Any) -> FeatureMaps:
    found = feature_maps("s7", "p7")
    document = found.document.model_copy(update={"tuned": True, **changes.pop("document", {})})
    return replaced(found, document=FeatureMapsDocument(**dict(document)), **changes)


def test_tuned_maps_and_filters_stand_before_and_after() -> None:
    found = _tuned(
        untuned=np.zeros((2, 3, 3), np.uint8),
        filters=np.ones((2, 2, 3, 3), np.float32)
        * np.array([1, 1.1], np.float32).reshape(2, 1, 1, 1),
        document={"filters": (4, 1)},
    )
    section = model_section(replaced(make_inputs(), feature_maps=found))
    pictures = _pictures(section)
    assert "before and after tuning" in pictures["feature-maps"].caption
    assert Image.open(io.BytesIO(pictures["feature-maps"].content)).size[1] == 4 * 100
    assert "by 10 percent" in pictures["first-filters"].caption


def test_a_tail_that_was_left_as_it_was_is_said_to_be_so() -> None:
    found = feature_maps("s7", "p7")
    section = model_section(
        replaced(make_inputs(), feature_maps=_tuned(untuned=found.stages[-1].copy()))
    )
    assert "left it as it was" in _pictures(section)["feature-maps"].caption


def test_without_feature_maps_the_report_says_how_to_get_them() -> None:
    assert "made by the stage explain" in _text(model_section(make_inputs()))


def test_tiles_stand_in_their_place_and_follow_the_orientation() -> None:
    half = np.zeros((1, 8, 8), np.uint8)
    half[0, :, :4] = 255
    for orientation, bright in (("neurological", 0), ("radiological", 1)):
        content = figures.feature_sheet(
            [(("first",), half), (("second",), np.full((2, 8, 8), 128, np.uint8))],
            orientation=orientation,
            tile_px=32,
        )
        sheet = np.asarray(Image.open(io.BytesIO(content))).astype(int)
        left = sheet.shape[1] - 2 * 36
        halves = sheet[4:28, left + 4], sheet[4:28, left + 27]
        assert halves[bright].min() == 255
        assert halves[1 - bright].max() == 0
        assert abs(sheet[52, left + 40] - 128) < 8
        assert set(Image.open(io.BytesIO(content)).info) == set()
