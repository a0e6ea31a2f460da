"""Files: written whole or not at all, with a sentence where that cannot be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pellucid.core.errors import BadInput, PellucidError
from pellucid.render.write import write


def test_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "why.html"
    write(path, b"old")
    path.chmod(0o640)
    assert write(path, b"new" * 10**6) == path
    assert path.read_bytes() == b"new" * 10**6
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "may not be written"), (errno.EIO, "could not be")],
)
def test_a_failed_write_leaves_the_old_file_and_one_sentence(tmp_path, monkeypatch, code, words):
    path = tmp_path / "why.html"
    path.write_bytes(b"old")

    def fails(_handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(PellucidError, match=words):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["no/such/folder.html", "", "a" * 300, "nul\0byte"])
def test_impossible_places_are_named_before_anything_is_written(tmp_path, name):
    with pytest.raises(BadInput):
        write(Path(f"{tmp_path}/{name}"), b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PellucidError, match="may not be written"):
        write(tmp_path / "why.html", b"new")
