"""Reporting checklists: their items as data, and the rules that say where a report answers them."""

from mri_transfer.report.checklists.answers import Answer, State, answer_item, has_content, matching
from mri_transfer.report.checklists.conditions import CONDITIONS
from mri_transfer.report.checklists.reader import Checklist, Item, read_checklist, read_checklists

__all__ = [
    "Answer",
    "CONDITIONS",
    "Checklist",
    "Item",
    "State",
    "answer_item",
    "has_content",
    "matching",
    "read_checklist",
    "read_checklists",
]
