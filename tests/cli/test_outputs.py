"""What commands do with an output that is there: missing, unfinished, finished, somebody else's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import celebattr
from celebattr.cli.app import app
from celebattr.data import synthetic
from celebattr.errors import DataError, UsageError
from celebattr.io import files

FORMATS = ("jsonl", "csv", "parquet")
HOWS = ((), ("--resume",), ("--append",), ("--retry", "unreadable"), ("--overwrite",))


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(a) for a in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Aligned faces b, c and d; c is no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "bcd":
        synthetic.draw_face({"Smiling"}, rng).save(folder / f"{name}.png")
    (folder / "c.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def predict(photos: Path, tiny_onnx: Path, tmp_path: Path) -> Callable[..., Result]:
    """`celebattr predict photos --output rows.FORMAT`."""

    def predict(*more: str | Path, format: str = "jsonl", place: Path = photos) -> Result:
        output = tmp_path / f"rows.{format}"
        words = ("--weights", tiny_onnx, "--workers", "1", "--output", output)
        return run("predict", place, *words, *more)

    return predict


def names(file: Path) -> list[str]:
    """The photos of a file, in order."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        paths = pq.read_table(file)["path"].to_pylist()
    elif file.suffix == ".csv":
        paths = [line.split(",")[1] for line in file.read_text().splitlines()[1:]]
    else:
        paths = [json.loads(line)["path"] for line in file.read_text().splitlines()]
    return [Path(path).stem for path in paths]


@pytest.mark.parametrize("format", FORMATS)
def test_a_new_photo_is_refused_by_resume_and_added_by_append(
    format: str, predict: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / f"rows.{format}"
    assert predict(format=format).exit_code == 6
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    before = file.read_bytes()
    result = predict("--resume", format=format)
    assert result.exit_code == 3
    assert "input 1 there is" in result.stderr
    assert "now it is" in result.stderr and "a.png; give --append to add" in result.stderr
    assert file.read_bytes() == before
    (photos / "d.png").unlink()
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes())
    result = predict("--append", format=format)
    assert "new inputs: 1; changed since they were scored, not scored again: 1" in result.stderr
    assert "b.png); no longer there, rows kept: 1" in result.stderr
    assert names(file) == ["b", "c", "d", "a"]
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    result = predict("--append", format=format)
    assert result.exit_code == 6
    assert "new inputs: 0;" in result.stderr and "is complete already" in result.stderr
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "photos",
        file.name,
        f"{file.name}.run.json",
    }
    result = predict("--resume", format=format)
    assert result.exit_code == 3 and "was extended with --append: give --append" in result.stderr
    result = run("merge", file, "--output", tmp_path / f"all.{format}")
    assert result.exit_code == 3 and "was extended with --append" in result.stderr


@pytest.mark.parametrize("format", FORMATS)
def test_retry_asks_the_failed_inputs_again_in_their_places(
    format: str, predict: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / f"rows.{format}"
    result = predict("--retry", "unreadable", format=format)
    assert result.exit_code == 3 and "is not there" in result.stderr
    predict(format=format)
    (photos / "c.png").write_bytes((photos / "b.png").read_bytes())
    result = predict("--retry", "timeout", format=format)
    assert (result.exit_code, names(file)) == (6, ["b", "c", "d"])
    assert "failed inputs scored again: 0" in result.stderr
    result = predict("--retry", "timeout,unreadable", format=format)
    assert (result.exit_code, names(file)) == (0, ["b", "c", "d"])
    # What one run writes, to the last byte; and it is proved as one.
    again = file.read_bytes()
    assert predict("--resume", format=format).exit_code == 0
    assert predict("--overwrite", format=format).exit_code == 0
    assert file.read_bytes() == again
    result = predict("--append", format=format)
    assert "changed" not in result.stderr


def test_append_knows_inputs_that_are_mentioned_twice(
    photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    file, b = tmp_path / "rows.jsonl", photos / "b.png"
    words = ("--weights", tiny_onnx, "--output", file, "--append")
    for inputs, found in (((b, b), "bb"), ((b,), "bb"), ((b, b, b, photos), "bbbbcd")):
        assert run("predict", *inputs, *words).exit_code in (0, 6)
        assert "".join(names(file)) == found


def test_every_state_and_option(predict: Callable[..., Result], tmp_path: Path) -> None:
    """The table of docs/scoring.md."""
    file, part = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.part"

    def unfinished(*how: str) -> None:
        for path in tmp_path.glob("rows.*"):
            path.unlink()
        assert "stopped after 1 failure" in predict("--fail-fast", *how).stderr
        assert part.exists()

    for how, code in zip(HOWS, (6, 6, 6, 3, 6), strict=True):
        assert predict(*how).exit_code == code, how
        assert file.exists() == (code == 6)
        for path in tmp_path.glob("rows.*"):
            path.unlink()
    for how, said in zip(HOWS, ("give --resume", "", "", "give --resume", ""), strict=True):
        unfinished()
        result = predict(*how)
        assert result.exit_code == (3 if said else 6), how
        assert said in result.stderr
        assert file.exists() == (not said)
    unfinished("--append")
    result = predict("--resume")
    assert result.exit_code == 3 and "give --append to continue it, or --overwrite" in result.stderr
    assert predict("--append").exit_code == 6
    finished = file.read_bytes()
    result = predict()
    assert result.exit_code == 3
    assert (
        "rows.jsonl exists: give --overwrite to replace it, or choose another name" in result.stderr
    )
    assert file.read_bytes() == finished
    result = predict("--resume", "--append")
    assert result.exit_code == 2 and "--resume and --append exclude each other" in result.stderr
    assert predict("--append", "--shard", "1/2").exit_code == 2
    assert predict("--retry", "nonsense").exit_code == 2
    result = predict("--append", "--engine", "ray", "--format", "parquet")
    assert (
        result.exit_code == 2 and "--engine ray cannot be combined with --append" in result.stderr
    )
    assert not part.exists()


@pytest.mark.parametrize("how", HOWS[1:4])
def test_a_finished_output_that_was_changed_is_refused(
    how: tuple[str, ...], predict: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    predict()
    whole = file.read_bytes()
    before = whole[: whole.index(b"\n") + 100]
    file.write_bytes(before)
    result = predict(*how)
    assert result.exit_code == 3
    assert (
        "rows.jsonl was changed since it was finished: it holds whole rows of 1 in" in result.stderr
    )
    assert file.read_bytes() == before
    assert predict("--overwrite").exit_code == 6


def test_other_weights_or_options_are_refused_by_every_way_on(
    predict: Callable[..., Result],
) -> None:
    predict()
    for how in HOWS[1:4]:
        result = predict(*how, "--threshold", "0.2")
        assert result.exit_code == 2 and "threshold None and 0.2" in result.stderr


def test_an_empty_inbox_leaves_nothing(predict: Callable[..., Result], tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for how in HOWS:
        assert predict(*how, place=inbox).exit_code == 3
        assert [path.name for path in tmp_path.glob("rows*")] == []
    part = tmp_path / "rows.jsonl.part"
    part.write_bytes(b"")  # a kill at the very start
    assert predict().exit_code == 6
    assert not part.exists()


def test_the_output_keeps_its_permissions_and_a_link_is_followed(
    predict: Callable[..., Result], tmp_path: Path
) -> None:
    file, real = tmp_path / "rows.jsonl", tmp_path / "real.jsonl"
    real.write_bytes(b"")  # as mktemp makes it
    real.chmod(0o600)
    file.symlink_to(real)
    for how in ((), ("--overwrite",), ("--append",)):
        assert predict(*how).exit_code == 6
        assert file.is_symlink()
        assert real.stat().st_mode & 0o777 == 0o600
    assert names(real) == ["b", "c", "d"]
    assert run("merge", file, "--output", tmp_path / "all.jsonl").exit_code == 0


@pytest.mark.parametrize("name", ["rows.jsonl.part", "rows.jsonl.part.run.json"])
def test_a_planted_link_is_not_followed(
    name: str, predict: Callable[..., Result], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / name).symlink_to(victim)
    result = predict()
    assert result.exit_code == (3 if name.endswith(".part") else 6), result.stderr
    assert "It is a link: remove it" in result.stderr or result.exit_code == 6
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("length", [240, 244, 254, 300])
def test_a_name_that_is_too_long_is_a_clear_error(
    length: int, photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    file = tmp_path / ("n" * (length - 6) + ".jsonl")
    result = run("predict", photos, "--weights", tiny_onnx, "--output", file)
    assert result.exit_code == (6 if length == 240 else 3)
    assert "Choose a shorter name" in result.stderr or length == 240
    assert len(list(tmp_path.iterdir())) == (3 if length == 240 else 1)


needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="no locks, no mkfifo")


@pytest.fixture
def begun(photos: Path, tiny_onnx: Path, tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Starts a run that has written a row, and waits for more names until its stdin is closed."""
    command = [sys.executable, "-m", "celebattr", "predict", "-", "--weights", str(tiny_onnx)]

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command, "--output", str(tmp_path / "rows.jsonl")],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        part = tmp_path / "rows.jsonl.part.run.json"
        while not part.exists():
            assert process.poll() is None
            time.sleep(0.01)
        return process

    return start


@needs_locks
def test_what_another_run_writes_is_not_said_to_be_unfinished(
    begun: Callable[[], subprocess.Popen[str]], predict: Callable[..., Result], photos: Path
) -> None:
    process = begun()
    for how in HOWS:
        result = predict(*how)
        assert result.exit_code == 3
        assert "rows.jsonl.part is being written by another run: wait for it" in result.stderr
    process.communicate(f"{photos / 'b.png'}\n")
    assert process.returncode == 0


@needs_locks
def test_a_run_whose_part_was_deleted_does_not_take_that_of_another(
    begun: Callable[[], subprocess.Popen[str]], photos: Path, tmp_path: Path
) -> None:
    first = begun()
    (tmp_path / "rows.jsonl.part").unlink()
    (tmp_path / "rows.jsonl.part.run.json").unlink()
    second = begun()
    said = first.communicate(f"{photos / 'b.png'}\n")[1]
    assert first.returncode == 3
    assert "rows.jsonl.part was removed or replaced while this run wrote it" in said
    assert not (tmp_path / "rows.jsonl").exists()
    second.communicate(f"{photos / 'd.png'}\n")
    assert second.returncode == 0
    assert names(tmp_path / "rows.jsonl") == ["d"]


def test_pictures_are_drawn_before_their_rows_and_end_no_run(
    predict: Callable[..., Result],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from celebattr.inference.output.journal import Growing

    drawn = tmp_path / "drawn"
    monkeypatch.chdir(tmp_path)

    def killed(self: object, results: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Growing, "write", killed)
        predict("--annotate", "drawn", place=Path("photos"))
    assert [path.name for path in drawn.rglob("*.png")] == ["b.annotated.png"]
    (drawn / "photos" / "d.annotated.png").mkdir()
    result = predict("--annotate", "drawn", place=Path("photos"))
    assert result.exit_code == 6
    assert "d.annotated.png: is a directory" in result.stderr
    assert len([path for path in drawn.rglob("*.png") if path.is_file()]) == 2


@pytest.mark.long
def test_kills_lose_no_picture(photos: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    for number in range(40):
        (photos / f"{number:02}.png").write_bytes((photos / "b.png").read_bytes())
    command = [sys.executable, "-m", "celebattr", "predict", "photos", "--annotate", "drawn"]
    command += ["--resume", "--weights", str(tiny_onnx), "--output", "rows.jsonl"]
    for moment in range(14):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        part = tmp_path / "rows.jsonl.part"
        while process.poll() is None:
            if part.exists() and part.read_bytes().count(b"\n") > 3 * moment:
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.002)
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 6
    pictures = {path.name.partition(".")[0] for path in (tmp_path / "drawn").rglob("*.png")}
    assert pictures == set(names(tmp_path / "rows.jsonl")) - {"c"}


def test_every_command_refuses_what_exists(
    drawn_celeba: Path, tiny_bundle: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "crops").mkdir()
    made = {
        "rows.json": ("predict", photos, "--weights", tiny_onnx, "--output"),
        "report.json": ("evaluate", "--data", drawn_celeba, "--output"),
        "report.html": ("evaluate", "--data", drawn_celeba, "--report"),
        "suspects.csv": ("doctor", "--data", drawn_celeba, "--labels", "--output"),
        "suspects.html": ("doctor", "--data", drawn_celeba, "--labels", "--report"),
        "tiny.onnx": ("export", tiny_bundle, "--output"),
        "all.jsonl": ("merge", tmp_path / "part.jsonl", "--output"),
        "crops/crops.csv": ("align", photos, "--output"),
        "manifest.json": ("pack", "--data", drawn_celeba, "--output"),
    }
    folder = {"crops/crops.csv": tmp_path / "crops", "manifest.json": tmp_path}
    for name, command in made.items():
        (tmp_path / name).write_text("an earlier one")
        result = run(*command, folder.get(name, tmp_path / name))
        assert result.exit_code == 3, (name, result.output)
        assert "exists: give --overwrite to replace it, or choose another name" in result.stderr
        assert (tmp_path / name).read_text() == "an earlier one"
    assert (
        run("export", tiny_bundle, "--output", tmp_path / "tiny.onnx", "--overwrite").exit_code == 0
    )
    crops = tmp_path / "crops"
    assert run("align", photos, "--output", crops, "--overwrite").exit_code == 6  # one is none
    assert run("predict", photos, "-w", tiny_onnx, "-o", tmp_path / "rows.json", "--overwrite")


def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    code = (
        "import os, sys; from celebattr.io import files\n"
        "with files.temporary_folder(sys.argv[1]) as folder, files.replacing(sys.argv[1]) as new:\n"
        "    (folder / 'float.onnx').write_bytes(b'x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with files.temporary_folder(target) as ours:  # of a run that is at work
        files.check_target(target)
        assert list(tmp_path.iterdir()) == [ours]


def test_python_takes_the_same_options(photos: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"

    def score(**options: object) -> celebattr.inference.run.Summary:
        return celebattr.score(photos, file, weights=tiny_onnx, **options)

    assert score().counts["inputs"] == 3
    with pytest.raises(DataError, match="exists: give --overwrite"):
        score()
    assert score(resume=True).complete
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    done = score(append=True)
    assert (done.scored, done.counts["inputs"]) == (1, 4)
    (photos / "c.png").write_bytes((photos / "b.png").read_bytes())
    done = score(retry=["unreadable", "timeout"])
    assert (done.scored, done.failed) == (1, 0)
    done = score(overwrite=True)
    assert (done.scored, names(file)) == (4, ["a", "b", "c", "d"])
    with pytest.raises(UsageError, match="exclude each other"):
        score(append=True, overwrite=True)
