from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from celebattr import files
from celebattr.errors import DataError


def test_a_missing_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing/rows\.json.*folder does not exist: create it"):
        files.write_text(tmp_path / "missing" / "rows.json", "[]")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    with pytest.raises(DataError, match="is a file, not a folder"):
        files.write_text(tmp_path / "notes" / "rows.json", "[]")


def test_a_folder_as_output_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the name of a file in it"):
        files.write_text(tmp_path, "[]")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Check the permissions"):
        files.write_text(tmp_path / "rows.json", "[]")


def test_every_remedy_ends_a_message_that_names_the_file() -> None:
    for code in (errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO):
        error = files.output_error("out/rows.csv", OSError(code, os.strerror(code)))
        assert str(error).startswith("cannot write out/rows.csv: ")
        assert str(error).endswith(".")


def test_a_link_is_followed_and_permissions_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("older")
    real.chmod(0o640)
    link.symlink_to(real)
    files.write_text(link, "newer")
    assert link.is_symlink()
    assert real.read_text() == "newer"
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_name_of_full_length_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / ("é" * 120 + ".json")
    files.write_text(out, "[]")
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_failed_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataError, match="free some space"):
        files.write_text(tmp_path / "rows.json", "[]")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_program_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a[1].csv"
    torn, kept = tmp_path / ".a[1].csv.0123abcd.tmp", tmp_path / ".a1.csv.0123abcd.tmp"
    for file in (path, torn, kept):
        file.write_bytes(b"x")
    files.remove_torn(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, kept])
