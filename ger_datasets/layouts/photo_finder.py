"""PhotoFinder: a path in an annotation file -> the photo, whatever the letter case."""

from __future__ import annotations

from pathlib import Path


class PhotoFinder:
    """Finds photos below a folder by the paths that an annotation file gives.

    Folders are listed once, and a name must be among those listed: a `..` in an annotation file leads nowhere.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, tuple[dict[str, Path], dict[str, Path]]] = {}

    def find(self, place: str) -> Path | None:
        """The file `place` (`mscoco/images/NAME.jpg`), in any letter case if none has the exact name; or None."""
        path = self.root
        for name in place.split("/"):
            exact, lower = self._list(path)
            found = exact.get(name) or lower.get(name.lower())
            if found is None:
                return None
            path = found
        return path if path.is_file() else None

    def names(self) -> list[str]:
        """What lies in the root."""
        return sorted(self._list(self.root)[0])

    def _list(self, folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
        if folder not in self._listed:
            exact = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
            self._listed[folder] = exact, {name.lower(): path for name, path in sorted(exact.items())}
        return self._listed[folder]
