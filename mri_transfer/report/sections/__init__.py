"""The sections of a report, one module each: `ReportInputs` in, a `Section` out."""
