"""Exactly once, through the command line: killed, resumed, sharded, merged."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.data import synthetic

PHOTOS, FAILED = 96, 9
FORMATS = ("jsonl", "csv", "parquet")
long = pytest.mark.long


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligned faces with all sorts of names, and what is no image."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    faces = [synthetic.draw_face({"Smiling"}, rng) for _ in range(8)]
    for number in range(PHOTOS):
        odd = ["", " a b", "\n", '"', ",;", "=1+1", os.fsdecode(b"\xff"), "é"][number % 8]
        path = folder / f"{number:03}{odd}.png"
        if number % 11 == 5:
            path.write_bytes(b"no image")
        else:
            faces[number % 8].save(path, compress_level=1)
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def manifest_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.run.json")


def predict(photos: Path, weights: Path, output: Path, *more: str) -> Result:
    return run("predict", photos, "--weights", weights, "--output", output, *more)


@pytest.fixture(scope="module")
def whole(photos: Path, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of uninterrupted runs, one a format."""
    folder = tmp_path_factory.mktemp("whole")
    for format in FORMATS:
        result = predict(photos, tiny_onnx, folder / f"all.{format}")
        assert result.exit_code == 6, result.output
        assert f"{PHOTOS} inputs" in result.stderr
        assert f"{FAILED} failed ({FAILED} unreadable)" in result.stderr
    return folder


def half(photos: Path) -> list[str]:
    """Every other photo: what was there when a run began that is extended later."""
    return [str(path) for path in sorted(photos.iterdir())[1::2]]


HOWS = {"start": "--resume", "nightly": "--append", "extend": "--append", "retry": "--retry"}
"""Runs that are killed: two that start from nothing, and two that begin from a finished output."""


@pytest.mark.parametrize(
    ("how", "format", "most"),
    [
        ("start", "jsonl", 3),
        ("extend", "csv", 2),
        ("extend", "parquet", 2),
        ("retry", "jsonl", 2),
        *(pytest.param(how, f, 18, marks=long) for how in HOWS for f in FORMATS),
    ],
)
def test_killed_at_random_moments_it_loses_no_row_and_doubles_none(
    how: str, format: str, most: int, photos: Path, tiny_onnx: Path, whole: Path, tmp_path: Path
) -> None:
    chance = random.Random(how + format)
    output = tmp_path / f"all.{format}"
    part = output.with_name(f"{output.name}.part")
    size = (whole / ("all.csv" if format == "csv" else "all.jsonl")).stat().st_size
    command = [sys.executable, "-m", "celebattr", "predict", str(photos), HOWS[how]]
    command += ["unreadable"] if how == "retry" else []
    command += ["--weights", str(tiny_onnx), "--output", str(output)]
    before, expected = tmp_path / "before", whole
    if how == "extend":
        before.mkdir()
        expected = tmp_path / "expected"
        first = before / output.name
        assert run("predict", *half(photos), "-w", tiny_onnx, "-o", first).exit_code == 6
        shutil.copytree(before, expected)
        assert predict(photos, tiny_onnx, expected / output.name, "--append").exit_code == 6
    elif how == "retry":
        before.mkdir()
        for name in (output.name, f"{output.name}.run.json"):
            shutil.copy(whole / name, before)

    def reset() -> None:
        for path in (output, part, manifest_of(output), manifest_of(part)):
            path.unlink(missing_ok=True)
        for path in before.iterdir() if before.exists() else ():
            shutil.copy(path, tmp_path)

    reset()
    kills = 0
    while kills < most:
        # From where the last one was killed, a little further: or at the very start or end.
        until = (part.stat().st_size if part.exists() else 0) + chance.randrange(size // 6)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        delay = chance.uniform(0.0, 0.02)
        while process.poll() is None:
            if part.exists() and part.stat().st_size >= min(until, size):
                time.sleep(delay)
                process.kill()
                break
            time.sleep(0.001)
        if process.wait() == -9:
            kills += 1
        else:
            assert process.returncode == 6
        contents = [
            (folder / output.name).read_bytes() for folder in (expected, before) if folder.exists()
        ]
        if before.exists():
            assert output.read_bytes() in contents  # the finished file is always there, and whole
        if process.returncode != -9 or (not before.exists() and output.exists()):
            assert output.read_bytes() == contents[0]
            reset()
    result = run(*command[3:])
    assert result.exit_code == 6, result.output
    assert output.read_bytes() == (expected / output.name).read_bytes()
    left = {p.name for p in tmp_path.iterdir()} - {"before", "expected"}
    assert left == {output.name, f"{output.name}.run.json"}
    result = run("merge", output, "--output", tmp_path / f"proof.{format}")  # it is what it says
    assert result.exit_code == (0 if how in ("start", "retry") else 3), result.output


def test_a_complete_output_is_not_made_again(
    photos: Path, tiny_onnx: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "all.csv"
    predict(photos, tiny_onnx, output)
    before = output.stat().st_mtime_ns
    result = predict(photos, tiny_onnx, output, "--resume")
    assert result.exit_code == 6
    assert "is complete already" in result.stderr
    assert output.stat().st_mtime_ns == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("count", [2, pytest.param(7, marks=long)])
def test_shards_merge_into_what_one_run_writes(
    format: str, count: int, photos: Path, tiny_onnx: Path, whole: Path, tmp_path: Path
) -> None:
    parts = [tmp_path / f"part{i}.{format}" for i in range(1, count + 1)]
    for i, part in enumerate(parts, 1):
        result = predict(photos, tiny_onnx, part, "--shard", f"{i}/{count}", "--quiet")
        assert result.exit_code == 6, result.output
    result = run("merge", *reversed(parts), "--output", tmp_path / f"all.{format}")
    assert result.exit_code == 0, result.output
    assert f"{PHOTOS} inputs of {count} shards, complete" in result.stderr
    expected = whole / f"all.{format}"
    assert (tmp_path / f"all.{format}").read_bytes() == expected.read_bytes()
    about = json.loads((tmp_path / f"all.{format}.run.json").read_text())
    said = json.loads((whole / f"all.{format}.run.json").read_text())
    assert about == said | {"began": []}
    assert set(about["versions"]) == {"celebattr", "opencv", "pillow", "onnxruntime"}


def test_merge_says_what_is_wrong_with_the_parts(
    photos: Path, tiny_onnx: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for photo in sorted(photos.iterdir())[:7]:
        (few / photo.name).write_bytes(photo.read_bytes())

    def part(name: str, shard: str, *more: str, weights: Path = tiny_onnx) -> Path:
        path = tmp_path / name
        assert predict(few, weights, path, "--shard", shard, "--quiet", *more).exit_code in (0, 6)
        return path

    one, two, three = (part(f"p{i}.csv", f"{i}/3") for i in (1, 2, 3))
    cases = {
        "2 of 3 shards are missing: 1/3, 3/3": [two],
        "p1.csv are both shard 1/3": [one, one, two, three],
        "weights {": [one, two, part("w.csv", "3/3", weights=tiny_bundle)],
        "threshold None and 0.3": [one, two, part("t.csv", "3/3", "--threshold", "0.3")],
        "of 3 and 4 shards": [one, two, part("n.csv", "3/4")],
        "format csv and jsonl": [one, two, part("f.jsonl", "3/3")],
        "nothing.csv does not exist": [one, two, tmp_path / "nothing.csv"],
    }
    for text, parts in cases.items():
        result = run("merge", *parts, "--output", tmp_path / "all.csv")
        assert result.exit_code == 3, result.output
        assert text in result.stderr
    (few / "another.png").write_bytes(b"")
    other = part("o.csv", "3/3")
    result = run("merge", one, two, other, "--output", tmp_path / "all.csv")
    assert "their lists of inputs, 7 and 8, are not the same" in result.stderr
    three.write_bytes(three.read_bytes()[:-20])
    result = run("merge", one, two, three, "--output", tmp_path / "all.csv")
    assert "p3.csv was changed since it was finished: it holds whole rows of 1" in result.stderr
    assert not (tmp_path / "all.csv").exists()
    three.with_name("p3.csv.run.json").unlink()
    result = run("merge", one, two, three, "--output", tmp_path / "all.csv")
    assert "p3.csv.run.json is missing" in result.stderr
    result = run("merge", one, two, three, "--output", one)
    assert result.exit_code == 2


def test_resuming_with_other_options_is_refused(
    photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    output = tmp_path / "x.jsonl"
    result = predict(photos, tiny_onnx, output, "--fail-fast")
    assert result.exit_code == 6
    assert "stopped after 1 failure" in result.stderr
    assert "x.jsonl.part keeps 6 finished inputs: continue with --resume" in result.stderr
    result = predict(photos, tiny_onnx, output)
    assert result.exit_code == 3
    assert "unfinished run: give --resume" in result.stderr
    result = predict(photos, tiny_onnx, output, "--resume", "--threshold", "0.2")
    assert result.exit_code == 2
    assert "threshold None and 0.2" in result.stderr
    result = predict(photos, tiny_onnx, output, "--resume", "--threshold", "smiling=0.2")
    assert result.exit_code == 2
    assert "threshold None and {'smiling': 0.2}" in result.stderr
    result = predict(photos, tiny_onnx, output, "--resume", "--max-failures", "3")
    assert "stopped after 4 failures" in result.stderr
    assert len((tmp_path / "x.jsonl.part").read_text().splitlines()) == 39
    result = run("predict", photos, "--resume", "--weights", tiny_onnx)
    assert result.exit_code == 2
    assert "--resume continues an --output" in result.stderr


def test_a_full_disk_keeps_what_is_done_and_says_so(
    photos: Path, tiny_onnx: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "x.jsonl"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
    code = f"{limit} import runpy, sys; runpy.run_module('celebattr', run_name='__main__')"
    command = [sys.executable, "-c", code, "predict", str(photos), "--weights", str(tiny_onnx)]
    result = subprocess.run(
        [*command, "--output", str(output)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    assert "grows past a size limit" in result.stderr
    assert "continue with --resume" in result.stderr
    assert not output.exists()
    predict(photos, tiny_onnx, output, "--resume")
    assert output.read_bytes() == (whole / "all.jsonl").read_bytes()


def test_inputs_mentioned_twice_are_scored_twice(
    photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    name = sorted(photos.iterdir())[0]
    result = run("predict", name, name, "--weights", tiny_onnx, "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == [str(name)] * 2
    assert rows[0] == rows[1]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_shard_that_is_none_is_refused(shard: str, photos: Path) -> None:
    result = run("predict", photos, "--shard", shard)
    assert result.exit_code == 2
    assert "is not i/N" in result.stderr


@long
@pytest.mark.skipif(shutil.which("xargs") is None, reason="no xargs here")
def test_xargs_runs_the_shards(photos: Path, tiny_onnx: Path, whole: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m celebattr predict {photos} --weights {tiny_onnx} --resume -q"
    script = f"seq 3 | xargs -P 2 -I{{}} {command} --shard {{}}/3 --output part{{}}.csv"
    result = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 123, result.stderr  # some inputs failed: their parts ended with 6
    joined = run("merge", *tmp_path.glob("part?.csv"), "--output", tmp_path / "all.csv")
    assert joined.exit_code == 0, joined.output
    assert (tmp_path / "all.csv").read_bytes() == (whole / "all.csv").read_bytes()


@long
def test_the_slurm_script_of_the_docs_runs_as_it_stands(
    photos: Path, tiny_onnx: Path, whole: Path, tmp_path: Path
) -> None:
    docs = Path(__file__).parents[2] / "docs/scoring.md"
    script = docs.read_text(encoding="utf-8").partition("As a Slurm array:\n\n")[2]
    script = "".join(takewhile(lambda line: line.startswith("    "), script.splitlines(True)))
    assert "#SBATCH --array=1-200" in script
    for said, here in (
        ("celebattr predict", f"{sys.executable} -m celebattr predict --weights {tiny_onnx}"),
        ("/data/photos", str(photos)),
        ("/scratch", str(tmp_path)),
        ("/200", "/3"),
    ):
        assert said in script
        script = script.replace(said, here)
    for task in "123":
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": task}
        result = subprocess.run(["sh", "-c", script], capture_output=True, env=environment)
        assert result.returncode in (0, 6), result.stderr
    joined = run("merge", *tmp_path.glob("part?.jsonl"), "--output", tmp_path / "all.jsonl")
    assert joined.exit_code == 0, joined.output
    assert (tmp_path / "all.jsonl").read_bytes() == (whole / "all.jsonl").read_bytes()
