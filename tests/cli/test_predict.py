"""`celebattr predict` as a user meets it: what it prints, writes and ends with."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.data import synthetic
from celebattr.images.open import open_image
from celebattr.predictions import path_of


def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=stdin)


def parsed(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two aligned faces, a photograph, and what is no photograph."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("a.png", "sub/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        synthetic.draw_face({"Smiling"}, rng).save(folder / name)
    Image.fromarray(astronaut()).save(folder / "photo.jpg", quality=92)
    return folder


@pytest.fixture
def weights(tiny_onnx: Path) -> tuple[str, str]:
    return ("--weights", str(tiny_onnx))


def test_a_photograph_gives_one_row_with_a_box_and_every_attribute(
    photos: Path, weights: tuple[str, str]
) -> None:
    result = run(photos / "photo.jpg", *weights)
    assert result.exit_code == 0, result.output
    (row,) = parsed(result)
    assert (row["schema"], row["status"], row["face"], row["faces"]) == (2, "ok", 1, 1)
    assert row["path"] == str(photos / "photo.jpg")
    left, top, right, bottom = row["box"]
    assert 150 < left < right < 300  # where the astronaut's face is
    assert 40 < top < bottom < 230
    assert row["score"] > 0.8
    assert len(row["probabilities"]) == 40
    assert all(0 <= p <= 1 for p in row["probabilities"].values())
    assert set(row["present"]) <= set(row["probabilities"])


def test_a_folder_a_pattern_and_a_missing_name_give_their_rows_and_exit_6(
    photos: Path, weights: tuple[str, str]
) -> None:
    result = run(photos / "sub", f"{photos}/*.png", "missing.jpg", *weights)
    assert result.exit_code == 6
    rows = parsed(result)
    assert [Path(row["path"]).name for row in rows] == ["b.jpg", "a.png", "missing.jpg"]
    assert [row["status"] for row in rows] == ["ok", "ok", "not_found"]
    assert list(rows[2]) == list(rows[0])
    assert "3 inputs, 2 faces" in result.stderr
    assert "1 failed (1 not_found)" in result.stderr


BAD = {
    "empty.jpg": (b"", "unreadable"),
    "text.jpg": (b"no image at all", "unreadable"),
    "bomb.png": (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x27\x10\x00\x00\x27\x10\x08\x02\x00\x00\x00"
        b"\x3b\xe9\x4c\x5d",
        "too_large",
    ),
}


@pytest.mark.parametrize("name", [*BAD, "truncated.jpg"])
def test_a_bad_file_is_a_row_that_names_it_and_the_rest_goes_on(
    photos: Path, weights: tuple[str, str], tmp_path: Path, name: str
) -> None:
    whole = (photos / "photo.jpg").read_bytes()
    data, status = BAD.get(name, (whole[: len(whole) // 2], "unreadable"))
    if name == "bomb.png":
        import struct
        import zlib

        header = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n\x00\x00\x00\r" + header + struct.pack(">I", zlib.crc32(header))
        data += b"\x00\x00\x00\x00IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / name).write_bytes(data)
    result = run(tmp_path / name, photos / "a.png", *weights)
    assert result.exit_code == 6
    bad, good = parsed(result)
    assert (bad["status"], good["status"]) == (status, "ok")
    assert name in bad["error"]
    assert "Traceback" not in result.output


def test_paths_come_from_standard_input(photos: Path, weights: tuple[str, str]) -> None:
    listed = f"{photos}/a.png\n{photos}/sub/b.jpg\n".encode()
    assert len(parsed(run("-", *weights, stdin=listed))) == 2
    result = run("-", "-0", *weights, stdin=listed.replace(b"\n", b"\0"))
    assert [row["status"] for row in parsed(result)] == ["ok", "ok"]


def test_an_image_comes_from_standard_input(photos: Path, weights: tuple[str, str]) -> None:
    (row,) = parsed(run("-", *weights, stdin=(photos / "photo.jpg").read_bytes()))
    assert row["path"] == "-"
    assert row["box"] is not None


def test_json_is_an_array_and_csv_a_table(photos: Path, weights: tuple[str, str]) -> None:
    two = (photos / "a.png", "missing.jpg")
    array = json.loads(run(*two, *weights, "--format", "json").stdout)
    assert [row["status"] for row in array] == ["ok", "not_found"]
    table = list(csv.DictReader(io.StringIO(run(*two, *weights, "--format", "csv").stdout)))
    assert [row["status"] for row in table] == ["ok", "not_found"]
    assert float(table[0]["Smiling"]) == array[0]["probabilities"]["Smiling"]
    assert table[1]["Smiling"] == ""


def test_the_table_shows_present_attributes(photos: Path, weights: tuple[str, str]) -> None:
    row = parsed(run(photos / "a.png", *weights))[0]
    shown = run(photos / "a.png", *weights, "--format", "table").stdout
    assert row["present"]
    for name in row["present"]:
        assert name.replace("_", " ") in shown


def test_attributes_are_named_as_the_table_shows_them(
    photos: Path, weights: tuple[str, str]
) -> None:
    row = parsed(run(photos / "a.png", *weights, "--attributes", "Wearing Hat, no-beard,SMILING"))[
        0
    ]
    assert list(row["probabilities"]) == ["Wearing_Hat", "No_Beard", "Smiling"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_an_output_file_gets_its_format_from_its_suffix(
    photos: Path, weights: tuple[str, str], tmp_path: Path, suffix: str
) -> None:
    result = run(photos, *weights, "--output", tmp_path / f"rows.{suffix}")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    text = (tmp_path / f"rows.{suffix}").read_text()
    if suffix == "jsonl":
        assert len([json.loads(line) for line in text.splitlines()]) == 3
    elif suffix == "json":
        assert len(json.loads(text)) == 3
    else:
        assert len(list(csv.DictReader(io.StringIO(text)))) == 3
    beside = {f"rows.{suffix}.run.json"} if suffix != "json" else set()
    assert {p.name for p in tmp_path.iterdir()} == {f"rows.{suffix}"} | beside


def test_annotated_pictures_are_written_beside_each_other(
    photos: Path, weights: tuple[str, str], tmp_path: Path
) -> None:
    result = run(photos / "photo.jpg", "missing.jpg", *weights, "--annotate", tmp_path / "out")
    assert result.exit_code == 6
    (picture,) = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    with Image.open(picture) as drawn_on:
        assert drawn_on.size == (512, 512)
        changed = np.abs(np.asarray(drawn_on, float) - astronaut().astype(float)).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.6


def test_annotated_pictures_in_the_scored_folder_are_left_out_and_counted(
    photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    shutil.copy(photos / "a.png", tmp_path)
    words = (tmp_path, "--weights", tiny_bundle, "--device", "cpu", "--annotate", tmp_path)
    for told in (False, True):
        result = run(*words, "--faces", "none", "--explain", "Bald")
        assert [row["path"] for row in parsed(result)] == [str(tmp_path / "a.png")]
        assert ("left out, written by --annotate: 2 pictures" in result.stderr) == told


def test_faces_none_takes_any_image_as_a_face(photos: Path, weights: tuple[str, str]) -> None:
    (row,) = parsed(run(photos / "photo.jpg", *weights, "--faces", "none"))
    assert row["box"] is None


def test_quiet_says_nothing_on_standard_error(photos: Path, weights: tuple[str, str]) -> None:
    assert run(photos / "sub", "missing.jpg", *weights, "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--attributes", "Smilling"), 2, "Did you mean Smiling"),
        (("--threshold", "1.5"), 2, "--threshold '1.5' is neither P nor NAME=P"),
        (("--format", "xml"), 2, "'xml' is not one of"),
        (("--output", "rows.xyz"), 2, "no format has the suffix .xyz"),
        (("--output", "nowhere/rows.csv"), 3, "Its folder does not exist"),
        (("--speed", "fast"), 2, "--weights and --speed exclude each other"),
        (("--weights", "nothing"), 4, "no bundle nothing"),
        (("--device", "cuda"), 5, "has no CUDAExecutionProvider"),
        (("--faces", "some"), 2, "some"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(
    photos: Path, weights: tuple[str, str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    given = () if "--weights" in arguments else weights
    result = run(photos / "a.png", *given, *arguments)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_speed_chooses_between_the_shipped_bundles(photos: Path) -> None:
    plain, fast, named = (
        parsed(run(photos / "a.png", "--faces", "none", *options))[0]["probabilities"]
        for options in ((), ("--speed", "fast"), ("--weights", "celebattr-resnet50slim-int8"))
    )
    assert fast == named
    assert fast != plain


def test_a_pickle_as_weights_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(pickle.dumps({"a": 1}))
    result = run(photos / "a.png", "--weights", tmp_path / "model.pth")
    assert result.exit_code == 4
    assert "a pickle, which is never loaded" in result.stderr


def test_an_empty_folder_is_an_error(weights: tuple[str, str], tmp_path: Path) -> None:
    result = run(tmp_path, *weights)
    assert result.exit_code == 3
    assert "no images in" in result.stderr


def celebattr(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "celebattr", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=600, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_a_clear_error(photos: Path, weights: tuple[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "celebattr", "predict", str(photos / "a.png"), *weights]
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, timeout=600, check=False
        )
    assert result.returncode == 3, result.stderr
    assert b"no space left" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_closed_pipe_ends_quietly(photos: Path, weights: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "celebattr", "predict", "-q", *weights, str(photos)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=600) == 0
    assert error == b""


@pytest.mark.parametrize(
    ("options", "end", "start"),
    [((), b"\n", b""), (("--null",), b"\0", b""), (("--column", "path"), b"\n", b"path,n\n")],
)
@pytest.mark.parametrize("bundle", ["tiny_onnx", "tiny_bundle"])
def test_rows_come_as_names_do(
    request: pytest.FixtureRequest,
    photos: Path,
    bundle: str,
    options: tuple[str, ...],
    end: bytes,
    start: bytes,
) -> None:
    """Each row is waited for before the next name is given: in any buffer, both would be stuck."""
    weights = str(request.getfixturevalue(bundle))
    command = [sys.executable, "-m", "celebattr", "predict", "-", "-q", "-w", weights, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(start)
        for name in ("a.png", "missing.png", "sub/b.jpg", "a.png"):
            process.stdin.write(os.fsencode(photos / name) + end)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["path"] == str(photos / name)
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 6


@pytest.mark.parametrize("given", ["names", "photo"])
def test_a_pipe_that_the_shell_names_is_read_like_standard_input(
    photos: Path, weights: tuple[str, str], given: str
) -> None:
    read, write = os.pipe()
    data = (photos / "a.png").read_bytes()
    with open(write, "wb") as pipe:  # noqa: PTH123
        pipe.write(data if given == "photo" else os.fsencode(photos / "a.png"))
    result = celebattr("predict", "-q", f"/dev/fd/{read}", *weights, pass_fds=[read])
    os.close(read)
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    name = f"/dev/fd/{read}" if given == "photo" else str(photos / "a.png")
    assert (row["path"], row["status"]) == (name, "ok")


def test_names_that_are_not_utf8_come_back_whole(
    photos: Path, weights: tuple[str, str], tmp_path: Path
) -> None:
    name = tmp_path / os.fsdecode(b"caf\xe9 \n-x.png")
    name.write_bytes((photos / "a.png").read_bytes())
    result = celebattr("predict", "-q", tmp_path, *weights)
    assert result.returncode == 0, result.stderr
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert row["path"].endswith("/caf\\xe9 \n-x.png")
    assert base64.b64decode(row["path_bytes"]) == os.fsencode(name)


@pytest.mark.parametrize("format", ["jsonl", "json", "csv", "table", "parquet"])
def test_names_that_read_the_same_are_two_inputs_in_every_format(
    photos: Path, weights: tuple[str, str], tmp_path: Path, format: str
) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    names = [os.fsencode(folder) + b"/" + name for name in (rb"caf\xe9.png", b"caf\xe9.png")]
    for name in names:
        Path(os.fsdecode(name)).write_bytes((photos / "a.png").read_bytes())
    options: tuple[str | Path, ...] = ("--format", format)
    if format == "parquet":
        options = ("--output", tmp_path / "rows.parquet")
    done = celebattr("predict", "-q", folder, *weights, *options)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("utf-8")
    if format == "table":
        # Long paths are broken into lines.
        assert "".join(text.split()).count(r"caf\xe9.png") == 2
        return
    if format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    elif format == "csv":
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    else:
        rows = json.loads(text) if format == "json" else [*map(json.loads, text.splitlines())]
    assert {row["path"] for row in rows} == {os.fsdecode(names[0])}
    found = {os.fsencode(path_of(row["path"], row["path_bytes"])) for row in rows}
    assert found == set(names)


def test_a_photo_without_a_face_is_an_answer_unless_strict(
    weights: tuple[str, str], tmp_path: Path
) -> None:
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "grey.png")
    result = run(tmp_path / "grey.png", *weights)
    assert result.exit_code == 0, result.output
    (row,) = parsed(result)
    assert (row["status"], row["face"], row["faces"]) == ("no_face", None, 0)
    assert "1 input, 0 faces" in result.stderr
    assert "1 without a face" in result.stderr
    assert "failed" not in result.stderr
    strict = run(tmp_path / "grey.png", *weights, "--strict")
    assert strict.exit_code == 6
    assert "1 failed (1 no_face)" in strict.stderr
    mixed = run(tmp_path / "grey.png", "gone.jpg", *weights, "--fail-fast")
    assert mixed.exit_code == 6
    assert "stopped after 1 failure" in mixed.stderr
    assert len(parsed(mixed)) == 2


def test_prediction_with_onnx_loads_neither_torch_nor_for_aligned_images_cv2(
    photos: Path, weights: tuple[str, str]
) -> None:
    code = (
        "import sys; from celebattr.cli.app import app\n"
        f"try: app(['predict', {str(photos / 'a.png')!r}, *{weights!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'torch', 'cv2', 'torchvision'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip().endswith("[]")


def test_archives_and_lists_are_scored_like_the_photos_in_them(
    photos: Path, weights: tuple[str, str], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("a.png", "sub/b.jpg", "photo.jpg"):
            archive.write(photos / name, name)
    listed = photos / "list.csv"
    listed.write_text("id,photo\n1,a.png\n2,photo.jpg\n3,\n")
    try:
        found = parsed(run(tmp_path / "photos.zip", *weights))
        assert [Path(row["path"]).name for row in found] == ["a.png", "photo.jpg", "b.jpg"]
        assert found[0]["path"] == f"{tmp_path / 'photos.zip'}/a.png"
        rows = parsed(run(listed, "--column", "photo", *weights))
    finally:
        listed.unlink()
    assert [(row["path"], row["status"]) for row in rows] == [
        ("a.png", "ok"),  # relative to the list, reported as it stands there
        ("photo.jpg", "ok"),
        (str(listed), "not_found"),
    ]
    assert rows[1]["probabilities"] == found[1]["probabilities"]


def test_explain_draws_a_heat_map_an_attribute_beside_the_annotated_photo(
    photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    options = ("--weights", tiny_bundle, "--device", "cpu", "--annotate", tmp_path)
    result = run(photos / "a.png", *options, "--explain", "smiling,Bald", "--quiet")
    assert result.exit_code == 0, result.stderr
    files = sorted(path.name.split(".", 2)[2] for path in tmp_path.rglob("*.png"))
    assert files == ["Bald.png", "Smiling.png", "annotated.png"]
    for path in tmp_path.rglob("*.Smiling.png"):
        assert open_image(path).size == (178, 218)


def test_explain_without_a_place_for_its_pictures_is_refused(photos: Path) -> None:
    result = run(photos / "a.png", "--explain", "Smiling")
    assert result.exit_code == 2
    assert "--explain needs --annotate DIR" in result.stderr
