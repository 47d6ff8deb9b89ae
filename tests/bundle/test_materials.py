"""What lies beside the numbers: valid, the same every time, and without markup from a manifest."""

from __future__ import annotations

import importlib.metadata
import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from mri_transfer.bundle.materials import model_card, sbom
from tests.bundle.bundles import some_bundle


def test_the_list_of_software_is_valid_cyclonedx_and_the_same_every_time() -> None:
    text = sbom()
    assert text == sbom()
    try:
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    except ImportError:
        assert json.loads(text)["specVersion"] == "1.6"


def test_the_list_names_what_is_installed() -> None:
    parts = {one["name"]: one for one in json.loads(sbom())["components"]}
    assert parts["torch"]["version"] == importlib.metadata.version("torch")
    assert parts["torch"]["purl"] == f"pkg:pypi/torch@{parts['torch']['version']}"
    assert "pytest" not in parts


def test_labels_of_a_manifest_are_no_markup_in_the_model_card() -> None:
    facts = {**some_bundle().facts, "labels": {"positive": "<script>", "others": "a|b*c"}}
    text = model_card(facts)
    assert "<script>" not in text
    assert "a|b" not in text
