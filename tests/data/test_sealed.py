"""A sealed folder is whole or not there, whatever happens while it is written and whatever is done to it after."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.data.sealed import MANIFEST, read_sealed, write_sealed
from procmodel.errors import DatasetError

OLD = {"a.json": b'{"old": 1}', "b.bin": bytes(range(256))}
NEW = {"a.json": b'{"new": 2}', "b.bin": b"\x00" * 9}


def write(folder: Path, files: dict[str, bytes], kind: str = "thing") -> Path:
    return write_sealed(folder, kind, files, error=DatasetError)


def read(folder: Path, kind: str = "thing") -> dict[str, bytes]:
    return read_sealed(folder, kind, again="Make it again.", error=DatasetError)


@given(files=st.dictionaries(st.sampled_from(["a", "b.json", "ä.bin"]), st.binary(max_size=200)))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("sealed") / "deep" / "folder"
    assert write(folder, files) == folder
    assert read(folder) == files


def test_the_manifest_is_json_with_the_hash_of_each_file(tmp_path: Path) -> None:
    facts = json.loads((write(tmp_path / "x", OLD) / MANIFEST).read_bytes())
    assert facts["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in OLD.items()}
    assert facts["kind"] == "thing"


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", OLD)
    for path in folder.iterdir():
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
            with pytest.raises(DatasetError, match=rf"{path.name} is damaged.*Make it again\."):
                read(folder)
        path.write_bytes(whole)
    assert read(folder) == OLD


def test_a_truncated_or_lengthened_file_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", OLD)
    for path in folder.iterdir():
        whole = path.read_bytes()
        for other in (b"", whole[:-1], whole + b"\n"):
            path.write_bytes(other)
            with pytest.raises(DatasetError, match="is damaged"):
                read(folder)
        path.write_bytes(whole)


@pytest.mark.parametrize("name", [*OLD, MANIFEST])
def test_a_link_is_refused_even_to_the_very_same_bytes(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "x", OLD)
    shutil.move(folder / name, tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=rf"{name} is a link or no plain file\. Make it again\."):
        read(folder)


def test_missing_and_extra_files_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", OLD)
    (folder / "extra.pkl").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"'extra.pkl' is not part of it"):
        read(folder)
    (folder / "extra.pkl").unlink()
    (folder / "b.bin").unlink()
    with pytest.raises(DatasetError, match=r"'b.bin' is missing"):
        read(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(DatasetError, match=r"No thing in"):
        read(folder)


def test_a_manifest_that_was_made_to_fit_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", OLD)
    (folder / "a.json").write_bytes(b"other")
    facts = json.loads((folder / MANIFEST).read_bytes())
    facts["files"]["a.json"] = hashlib.sha256(b"other").hexdigest()
    (folder / MANIFEST).write_bytes(json.dumps(facts, indent=1).encode())
    with pytest.raises(DatasetError, match=r"manifest.json is damaged"):
        read(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "3", '{"kind": "thing"}', '{"kind": 1, "files": 2}', "\udcff", "[" * 9999]
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "x", OLD)
    (folder / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DatasetError, match=r"manifest.json is damaged"):
        read(folder)


def test_another_kind_is_named_and_never_overwritten(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", OLD, kind="dataset")
    with pytest.raises(DatasetError, match=r"holds a dataset, not a model"):
        read(folder, kind="model")
    with pytest.raises(DatasetError, match=r"holds no model; nothing was changed"):
        write(folder, NEW, kind="model")
    assert read(folder, kind="dataset") == OLD


def test_a_manifest_of_some_other_program_protects_its_folder(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"name": "web page"}')
    (tmp_path / "index.html").write_text("work")
    with pytest.raises(DatasetError, match="nothing was changed"):
        write(tmp_path, NEW)
    assert (tmp_path / "index.html").read_text() == "work"


def test_a_damaged_folder_can_be_made_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", OLD)
    (folder / MANIFEST).write_bytes(b"{")
    assert read(write(folder, NEW)) == NEW


def test_an_empty_folder_is_taken_and_a_plain_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert read(write(tmp_path / "empty", NEW)) == NEW
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match="nothing was changed"):
        write(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("call", ["rename", "fsync"])
@pytest.mark.parametrize("when", range(4))
def test_a_write_that_fails_at_any_call_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, when: int
) -> None:
    folder, calls = write(tmp_path / "x", OLD), 0
    real = getattr(os, call)

    def fails(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls == when + 1:
            raise OSError(28, "No space left on device")
        real(*args)

    monkeypatch.setattr(os, call, fails)
    failed = False
    try:
        write(folder, NEW)
    except OSError:
        failed = True
    monkeypatch.undo()
    assert failed == (calls > when)  # a rename is called but twice
    assert read(folder) == (OLD if failed else NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_process_that_dies_between_the_renames_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "x", OLD)
    rename, calls = os.rename, 0

    def dies(*args: str) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:  # nothing that would tidy up runs any more
            raise KeyboardInterrupt
        rename(*args)

    monkeypatch.setattr(os, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        write(folder, NEW)
    monkeypatch.undo()
    assert not folder.exists()
    assert read(folder) == OLD
    assert not folder.exists(), "reading changes nothing: another process may be at work there"
    assert read(write(folder, NEW)) == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_leftover_of_an_earlier_write_is_never_read_before_the_new_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", NEW)
    write(tmp_path / ".x.previous", OLD)  # killed after the second rename, before tidying up
    assert read(folder) == NEW
    assert read(write(folder, OLD)) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "x", OLD)

    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(DatasetError, match=r"cannot be read: Permission denied\. Make it again\."):
        read(folder)
