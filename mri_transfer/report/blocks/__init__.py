"""The blocks that a report is built of, and their wording."""
