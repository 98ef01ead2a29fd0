"""Which files a path of the plant file means, and what identifies them."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connectors.layouts import Layout
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History


@dataclass(frozen=True, kw_only=True)
class FileTable:
    """A table that is one file: what every such table is called and known by."""

    file: Path

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def place(self) -> str:
        return str(self.file)

    @property
    def version(self) -> str:
        return version_of(self.file)

    def described(self, layout: Layout) -> Mapping[str, TagInfo]:
        """What the file tells of its tags, by source name: nothing but their names, unless its kind does."""
        return {}


def matching_files(history: History, base: Path | None, suffix: str) -> list[Path]:
    """Files that `history.path` matches, sorted by name.

    Args:
        base: Folder of relative paths; None: the working directory.
        suffix: Of such files, for messages.

    Raises:
        PlantFileError: there is no path.
        HistorianError: nothing matches, or what matches is a folder.
    """
    if not history.path:
        raise PlantFileError(
            f"history.path is missing: kind {history.kind!r} reads files. Write one such as exports/*{suffix}."
        )
    found: dict[Path, None] = {}
    for pattern in [history.path] if isinstance(history.path, str) else history.path:
        full = str((base or Path()) / pattern)
        # A plain name may hold brackets; only what does not exist as such is a pattern.
        matched = (
            [Path(full)] if Path(full).exists() else sorted(Path(each) for each in glob.glob(full, recursive=True))
        )
        if not matched:
            raise HistorianError(
                f"No file matches {full}. Correct history.path in the plant file, or put the export there."
            )
        for file in matched:
            if file.is_dir():
                raise HistorianError(
                    f"{file} is a folder. Write history.path: {file / f'*{suffix}'} to read the files in it."
                )
        found.update(dict.fromkeys(matched))
    return sorted(found, key=lambda file: (file.name, str(file)))


def version_of(file: Path) -> str:
    """Size and time of the last change: what tells a changed file without reading it."""
    try:
        state = file.stat()
    except OSError as error:
        raise HistorianError(f"{file} cannot be read: {error.strerror}.") from error
    return f"{state.st_size} {state.st_mtime_ns}"


def read_bytes(file: Path, most: int | None = None) -> bytes:
    """The file's content, or its first `most` bytes.

    Raises:
        HistorianError: it cannot be read, or there is nothing in it.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(-1 if most is None else most)
    except OSError as error:
        raise HistorianError(f"{file} cannot be read: {error.strerror}.") from error
    if not data or data.isspace():
        raise HistorianError(f"{file} is empty. Export it again, or remove it.")
    return data


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
