from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from celebattr.errors import DataError
from celebattr.io import files
from celebattr.io.folder import folder_at
from celebattr.options import parse_location


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


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    for target, said in (
        (tmp_path / "missing" / "a.html", "folder does not exist: create it"),
        (tmp_path / "notes" / "a.html", "is a file, not a folder"),
        (tmp_path, "give the name of a file in it"),
    ):
        with pytest.raises(DataError, match=said):
            files.check_target(None, target)
    files.check_target(tmp_path / "new.html", tmp_path / "notes", os.devnull, None)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout here")
def test_a_pipe_behind_dev_stdout_is_written_straight() -> None:
    program = (
        "from celebattr.io import files; files.check_target('/dev/stdout'); "
        "files.write_text('/dev/stdout', 'rows')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"rows"


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


def test_without_a_folder_for_temporary_files_that_of_the_output_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.temporary_beside(tmp_path / "run")
    usual = tempfile.gettempdir()
    assert Path(usual) != tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    files.temporary_beside(tmp_path / "runs" / "first")
    with tempfile.TemporaryDirectory() as folder:
        assert Path(folder).parent == tmp_path


def test_a_remote_file_without_a_place_for_temporary_ones_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = folder_at(parse_location("memory://bucket"))
    with pytest.raises(DataError, match="temporary"), folder.create("rows"):
        pass
