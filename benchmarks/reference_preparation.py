"""Clinica's recipe for one scan in ANTs: a process that the preparation's benchmark drives.

It runs in an environment of its own and imports nothing of the project. N4 and
`antsRegistrationSyNQuick.sh -t a` are what Clinica's `t1-linear` pipeline runs (Wen et al. 2020).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

__all__ = ["main"]

_SPLINE_MM = 600  # as Clinica sets it


def main() -> None:
    """Read scan, template and output from the command line; write times, transform and volume."""
    import ants

    scan, template, out = sys.argv[1:]
    fixed, moving = ants.image_read(template), ants.image_read(scan)
    seconds: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        seconds[name] = time.process_time() - processor
        seconds[f"{name} (wall)"] = time.perf_counter() - wall
        return result

    corrected = timed(
        "bias field", lambda: ants.n4_bias_field_correction(moving, spline_param=_SPLINE_MM)
    )
    registered = timed(
        "registration",
        lambda: ants.registration(
            fixed, corrected, type_of_transform="antsRegistrationSyNQuick[a]", random_seed=1
        ),
    )
    ants.image_write(corrected, f"{out}_n4.nii.gz")
    transform = ants.read_transform(registered["fwdtransforms"][0])
    points = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    moved = [list(transform.apply_to_point(point)) for point in points]
    with open(f"{out}.json", "w", encoding="utf-8") as stream:
        json.dump({"seconds": seconds, "moved_lps": moved}, stream)


if __name__ == "__main__":
    main()
