"""`import celebattr` as a Python program meets it."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut
from typer.testing import CliRunner

import celebattr
from celebattr.errors import (
    DeviceError,
    ImageNotFoundError,
    NoFaceError,
    TooManyFailuresError,
    UsageError,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> celebattr.Model:
    return celebattr.load(tiny_onnx, workers=1)


@pytest.fixture(scope="module")
def faceless(photo: Path) -> Path:
    path = photo.with_name("grey.png")
    Image.new("RGB", (300, 200), "grey").save(path)
    return path


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, celebattr; dir(celebattr); "
        "heavy = {'numpy', 'PIL', 'torch', 'onnxruntime', 'typer'} & set(sys.modules); "
        "assert not heavy, heavy; assert len(celebattr.ATTRIBUTES) == 40; "
        "celebattr.load; celebattr.doctor; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_every_public_name_is_there_and_no_module_hides_one() -> None:
    rooms = {path.stem for path in (ROOT / "celebattr").iterdir()}
    assert not rooms & set(celebattr.__all__)
    for name in celebattr.__all__:
        assert getattr(celebattr, name) is not None
    with pytest.raises(AttributeError, match="lode"):
        _ = celebattr.lode
    assert (ROOT / "celebattr/py.typed").exists()


def test_however_a_photo_comes_it_is_scored_as_the_command_does(
    model: celebattr.Model, photo: Path, tiny_onnx: Path
) -> None:
    from celebattr.cli.app import app

    argv = ["predict", str(photo), "--weights", str(tiny_onnx), "--format", "jsonl"]
    row = json.loads(CliRunner().invoke(app, argv).stdout)
    (face,) = model(str(photo))
    assert face.to_dict() == row
    for source in (photo, photo.read_bytes(), Image.open(photo), astronaut()):
        (same,) = model(source)
        assert same.probabilities == face.probabilities
        assert (same.box, same.score) == (face.box, face.score)
    assert face.crop is not None
    assert (face.crop.shape, face.crop.dtype) == ((218, 178, 3), np.uint8)
    (aligned,) = model(face.crop)
    assert (aligned.box, aligned.score) == (None, None)
    assert aligned.probabilities == face.probabilities


def test_a_list_gives_a_list_each_and_no_face_is_no_error(
    model: celebattr.Model, photo: Path, faceless: Path
) -> None:
    assert model(faceless) == []
    assert [len(faces) for faces in model([photo, faceless, photo])] == [1, 0, 1]
    assert model([]) == []


def test_faces_are_numbered_the_main_one_first_and_then_by_size(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    face = Image.fromarray(astronaut()).crop((120, 0, 360, 300))
    crowd = Image.new("RGB", (900, 400), "white")
    for left, height in ((20, 120), (600, 220), (280, 300)):  # the largest is in the middle
        crowd.paste(face.resize((height * 4 // 5, height)), (left, 60))
    crowd.save(tmp_path / "crowd.png")
    every = celebattr.load(tiny_onnx, faces="all")(tmp_path / "crowd.png")
    assert [one.number for one in every] == [1, 2, 3]
    sides = [one.box[2] - one.box[0] for one in every]
    assert sides == sorted(sides, reverse=True)
    (main,) = celebattr.load(tiny_onnx)(tmp_path / "crowd.png")
    assert [one.to_dict()["face"] for one in every] == [1, 2, 3]
    # The same face, though it may have been found at another size of the photo.
    assert main.number == 1
    assert np.abs(np.subtract(main.box, every[0].box)).max() < 0.1 * sides[0]


def test_strict_makes_a_failure_of_a_photo_without_a_face(
    tiny_onnx: Path, photo: Path, faceless: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    done = celebattr.score([faceless, photo], output, weights=tiny_onnx)
    assert (done.failed, done.counts["no_face"]) == (0, 1)
    again = celebattr.score([faceless, photo], output, weights=tiny_onnx, resume=True, strict=True)
    assert (again.complete, again.failed) == (True, 1)
    model = celebattr.load(tiny_onnx, strict=True, workers=1)
    with pytest.raises(NoFaceError, match="no face found"):
        model(faceless)
    ((_, failure),) = model.stream([faceless])
    assert isinstance(failure, celebattr.Failure)
    assert failure.status == "no_face"


def test_a_pil_image_is_turned_upright(model: celebattr.Model, photo: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned = photo.with_name("turned.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(astronaut()))).save(turned, exif=exif)
    assert model(Image.open(turned))[0].box == model(turned)[0].box == model(photo)[0].box


def test_what_cannot_be_opened_raises_and_is_named(
    model: celebattr.Model, photo: Path, tmp_path: Path
) -> None:
    with pytest.raises(ImageNotFoundError, match=re.escape("gone.jpg")):
        model([photo, tmp_path / "gone.jpg"])
    (tmp_path / "no.jpg").write_text("no image")
    with pytest.raises(celebattr.CelebattrError, match=re.escape("no.jpg")):
        model(tmp_path / "no.jpg")
    with pytest.raises(celebattr.CelebattrError, match=r"float64 \[2, 2\] is not uint8 RGB"):
        model(np.zeros((2, 2)))  # type: ignore[arg-type]


def test_a_stream_keeps_the_order_and_gives_failures(
    model: celebattr.Model, photo: Path, faceless: Path
) -> None:
    paths = [photo, Path("gone.jpg"), faceless, photo]
    found = list(model.stream(paths))
    assert [path for path, _ in found] == list(map(str, paths))
    (first, gone, none, last) = (faces for _, faces in found)
    assert isinstance(gone, celebattr.Failure)
    assert gone.status == "not_found"
    assert none == []
    assert isinstance(first, list)
    assert first == last
    assert first[0].to_dict() == model(photo)[0].to_dict()


def test_threads_share_a_model(model: celebattr.Model, photo: Path, faceless: Path) -> None:
    expected = model(photo)[0].to_dict()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(model, [photo, faceless] * 8))
    assert [[face.to_dict() for face in faces] for faces in found] == [[expected], []] * 8


def test_a_heat_map_lies_over_the_photo(tiny_bundle: Path, photo: Path, faceless: Path) -> None:
    model = celebattr.load(tiny_bundle, device="cpu")
    picture = model.heatmap(photo, "smiling")
    assert picture.size == (512, 512)
    assert not np.array_equal(np.asarray(picture), astronaut())
    assert np.array_equal(
        np.asarray(model.heatmap(faceless, "Smiling")), np.asarray(Image.open(faceless))
    )
    with pytest.raises(UsageError, match="Smiling"):
        model.heatmap(photo, "Smilling")


def test_scoring_into_a_file_resumes(
    photo: Path, faceless: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    output, told = tmp_path / "rows.jsonl", []
    options = {"weights": tiny_onnx, "max_failures": 0, "strict": True}
    with pytest.raises(TooManyFailuresError, match="stopped after 1 failure"):
        celebattr.score([faceless, photo], output, notice=told.append, **options)
    assert "keeps 1 finished input:" in told[0]
    options["strict"] = False
    done = celebattr.score([faceless, photo], output, resume=True, **options)
    assert (done.counts["inputs"], done.scored, done.failed) == (2, 1, 0)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["path"] for row in rows] == [str(faceless), str(photo)]
    assert celebattr.score([faceless, photo], output, weights=tiny_onnx, resume=True).complete


def test_thresholds_are_a_mapping(tiny_onnx: Path, photo: Path, drawn_celeba: Path) -> None:
    (face,) = celebattr.load(tiny_onnx, threshold={"smiling": 0.0, "Bald": 1})(photo)
    assert "Smiling" in face.present
    assert "Bald" not in face.present
    options = {"threshold": {"Smiling": 0}, "attributes": ["Smiling"], "against": tiny_onnx}
    report = celebattr.evaluate(tiny_onnx, drawn_celeba, limit=8, **options)
    (smiling,) = report.attributes
    assert smiling.accuracy == smiling.positives / 8


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: celebattr.load(face="all"), "faces"),
        (lambda: celebattr.score("x", "y.csv", resum=True), "resume"),
        (lambda: celebattr.train("x", epoch=3), "epochs"),
        (lambda: celebattr.evaluate(None, "x", slice="Male"), "slices"),
        (lambda: celebattr.pack("x", shards_size=3), "shard_size"),
        (lambda: celebattr.doctor("x", quik=True), "quick"),
    ],
)
def test_a_mistaken_option_is_answered_with_what_was_meant(call, meant: str) -> None:
    with pytest.raises(UsageError, match=f"unknown option .*Did you mean {meant}\\?"):
        call()


def test_signatures_show_the_options() -> None:
    assert "epochs" in inspect.signature(celebattr.train).parameters
    assert {"faces", "resume"} <= set(inspect.signature(celebattr.score).parameters)


def test_a_data_set_is_trained_on_measured_packed_and_checked(
    drawn_celeba: Path, tmp_path: Path
) -> None:
    best = celebattr.train(drawn_celeba, tmp_path / "run", arch="linear", epochs=1, device="cpu")
    page = tmp_path / "report.html"
    report = celebattr.evaluate(
        tmp_path / "run", drawn_celeba, slices=["Male", "Young"], report=page, write_card=True
    )
    assert "<table" in page.read_text()
    assert best == tmp_path / "run/best.safetensors"
    assert report.images == 24
    assert celebattr.doctor(drawn_celeba, quick=True).trains
    assert celebattr.pack([drawn_celeba], tmp_path / "shards", limit=4) == tmp_path / "shards"
    exported = celebattr.export(tmp_path / "run", tmp_path / "run.onnx")
    assert celebattr.load(exported).attributes == celebattr.ATTRIBUTES


def test_a_face_prints_well(model: celebattr.Model, photo: Path) -> None:
    (face,) = model(photo)
    assert repr(face).startswith(f"Face({str(photo)!r}, box=[")
    assert f"present={face.present}" in repr(face)
    assert "data:image/png;base64," in face._repr_html_()
    assert all(name in face._repr_html_() for name in face.present)
    assert "Model(" in repr(model)


def test_results_become_a_table(
    model: celebattr.Model, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    for results in (model([photo, photo]), [*model(photo), *model(photo)]):
        table = celebattr.to_frame(results)
        assert list(table["path"]) == [str(photo)] * 2
        assert table["Smiling"][0] == model(photo)[0].to_dict()["probabilities"]["Smiling"]
    streamed = celebattr.to_frame(model.stream([photo, "gone.jpg"]))
    assert list(streamed["status"]) == ["ok", "not_found"]
    first = celebattr.to_frame(list(model.stream(["gone.jpg", photo])))
    assert list(first.columns) == list(streamed.columns)
    assert list(first.columns[-3:]) == ["Young", "present", "unsure"]
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(DeviceError, match="pip install pandas"):
        celebattr.to_frame([])


def test_the_examples_of_the_docs_run(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("astronaut.jpg", "photos/a.jpg"):
        Image.open(photo).save(name, quality=92)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    assert len(blocks) >= 5
    space: dict[str, object] = {}
    for block in blocks:
        exec(block, space)
    assert space["done"].failed == 0  # type: ignore[attr-defined]
