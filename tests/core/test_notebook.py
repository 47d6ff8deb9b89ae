"""Objects in a notebook."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from mri_transfer.core.notebook import html_table


def test_what_is_shown_is_text_whatever_signs_it_holds() -> None:
    page = html_table({"a<b": "<script>alert(1)</script>"}, caption="x & y")
    assert "<script>" not in page
    table = ET.fromstring(page)
    assert ["".join(cell.itertext()) for cell in table.iter() if cell.tag in ("th", "td")] == [
        "a<b",
        "<script>alert(1)</script>",
    ]
    assert table.findtext("caption") == "x & y"
