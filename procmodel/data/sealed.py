"""Folders that are whole or not there: written beside, sealed by hashes, put in place by renaming.

A folder holds its files and `manifest.json`, which has the SHA-256 of each and of itself. A flipped byte, a missing or
an extra file, a link: all are refused before anything is parsed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from procmodel.errors import InputError

MANIFEST = "manifest.json"


def write_sealed(folder: Path | str, kind: str, files: Mapping[str, bytes | Path], *, error: type[InputError]) -> Path:
    """Write `files`; a folder of the same kind that is there already stays until the new one is complete.

    Args:
        files: Content by name; or a file that is moved there, on the same disk.

    Raises:
        error: Something else stands in that place; it is left as it is.
    """
    folder = Path(folder).absolute()
    if os.path.lexists(folder) and not _replaceable(folder, kind, files):
        raise error(f"{folder} is there already and holds no {kind}; nothing was changed. Name another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
    except OSError as reason:
        raise error(
            f"{folder} cannot be written ({reason.strerror or reason}). Name another folder, or make it writable."
        ) from reason
    try:
        sealed = _manifest(kind, {name: _hash(content) for name, content in files.items()})
        for name, content in {**files, MANIFEST: sealed}.items():
            if isinstance(content, Path):
                os.replace(content, fresh / name)
            else:
                _write(fresh / name, content)
        fresh.chmod(0o755)  # a temporary folder is made for its owner alone
        _sync(fresh)
        _put_in_place(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder


def read_sealed(folder: Path | str, kind: str, *, again: str, error: type[InputError]) -> dict[str, bytes]:
    """Contents of all files, checked.

    Args:
        again: How to make the folder anew; ends every message.

    Raises:
        error: It is missing, damaged, or of another kind.
    """
    folder = Path(folder).absolute()
    if not folder.exists() and _previous(folder).exists():
        folder = _previous(folder)  # a write was cut off between its two renames; the next one tidies up
    if not (folder / MANIFEST).is_file():
        raise error(f"No {kind} in {folder}. {again}")
    try:
        return _checked(folder, kind, again, error)
    except OSError as reason:
        raise error(f"The {kind} in {folder} cannot be read: {reason.strerror or reason}. {again}") from reason


def _checked(folder: Path, kind: str, again: str, error: type[InputError]) -> dict[str, bytes]:
    sealed = _unsealed(_read(folder / MANIFEST, again, error))
    if sealed is None:
        raise error(f"{folder / MANIFEST} is damaged: it is not what was written. {again}")
    found, hashes = sealed
    if found != kind:
        raise error(f"{folder} holds a {found}, not a {kind}. Name the right folder.")
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted(present ^ set(hashes)):
        raise error(f"{folder}: file {name!r} is {'missing' if name in hashes else 'not part of it'}. {again}")
    contents = {}
    for name, expected in hashes.items():
        contents[name] = _read(folder / name, again, error)
        if _hash(contents[name]) != expected:
            raise error(f"{folder / name} is damaged: its SHA-256 is not the one in {MANIFEST}. {again}")
    return contents


def _read(path: Path, again: str, error: type[InputError]) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise error(f"{path} is a link or no plain file. {again}")
    return path.read_bytes()


def _manifest(kind: str, hashes: dict[str, str]) -> bytes:
    facts: dict[str, Any] = {"format": 1, "kind": kind, "files": dict(sorted(hashes.items()))}
    facts["sha256"] = _hash(json.dumps(facts).encode())
    return json.dumps(facts, indent=1).encode()


def _unsealed(raw: bytes) -> tuple[str, dict[str, str]] | None:
    """Kind and hashes of a manifest, None where it is not what was written."""
    try:
        facts = json.loads(raw)
        kind, hashes = facts["kind"], dict(facts["files"])
        return (kind, hashes) if raw == _manifest(kind, hashes) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _replaceable(folder: Path, kind: str, files: Mapping[str, object]) -> bool:
    """Empty, or one that `write_sealed` made for this kind; where its manifest is damaged, its files have to say so."""
    if not folder.is_dir():
        return False
    present = {path.name for path in folder.iterdir()}
    if MANIFEST not in present:
        return not present
    manifest = folder / MANIFEST
    sealed = _unsealed(manifest.read_bytes()) if manifest.is_file() else None
    return sealed[0] == kind if sealed else present <= {*files, MANIFEST}


def _previous(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def _put_in_place(fresh: Path, folder: Path) -> None:
    """Two renames, since no portable call swaps two folders; `read_sealed` sees through a stop between them."""
    previous = _previous(folder)
    if folder.exists():
        if previous.exists():
            shutil.rmtree(previous)
        os.rename(folder, previous)
    try:
        os.rename(fresh, folder)
    except BaseException:
        if previous.exists():
            os.rename(previous, folder)
        raise
    _sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    """Write it, and make sure that it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make sure that the names in it are on the disk."""
    if os.name == "nt":  # no handle on a folder there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hash(content: bytes | Path) -> str:
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content).hexdigest()
