"""Content-addressed folders: an artefact lies under the digest of everything that shaped it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ContentStore"]


class ContentStore:
    """Files named by key, in folders named by the key's first two letters.

    Parameters
    ----------
    cache : Path
        Folder that runs share; the store takes one folder in it, named by its `kind`.
    """

    kind = ""
    suffix = ".safetensors"

    def __init__(self, cache: Path) -> None:
        self.folder = cache / self.kind

    def path(self, key: str) -> Path:
        """Return where the artefact of a key lies, whether it exists or not."""
        return self.folder / key[:2] / f"{key}{self.suffix}"

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()
