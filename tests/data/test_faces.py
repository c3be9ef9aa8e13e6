"""Own photos: found out to be none of CelebA's crops, and aligned as in `predict`."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import celebattr
from celebattr.attributes import CELEBA
from celebattr.cli.app import app
from celebattr.data.faces import LOOKS, decide, find_faces, how, usable
from celebattr.data.image_stores import Folder
from celebattr.data.layouts.load import load_dataset
from celebattr.data.shards.reader import FarMembers
from celebattr.errors import DataError

ASTRONAUT = Path(__file__).parents[2] / "docs" / "astronaut.png"
BLANK = "blank.png"
NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four photos of one person, of several sizes and borders, a blank one, and their labels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(ASTRONAUT) as opened:
        photo = opened.convert("RGB")
    for number, name in enumerate(NAMES):
        photo.crop((-40 * number, -20, *photo.size)).save(folder / name)
    Image.new("RGB", (300, 200), "grey").save(folder / "blank.png")
    splits = ("train", "train", "val", "test", "test")
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "split", *CELEBA])
        for number, (name, split) in enumerate(zip((*NAMES, "blank.png"), splits, strict=True)):
            table.writerow([name, split, *((number + k) % 2 for k in range(40))])
    return folder


def test_photos_are_told_from_crops(photos: Path, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    counts = celebattr.align(photos, crops)
    assert counts == {"ok": 4, "no_face": 1, "crops": 4}
    large = [f"large_{name}" for name in NAMES]
    for name in NAMES:  # of another size, but aligned all the same
        with Image.open(crops / name) as crop:
            crop.resize((267, 327)).save(crops / f"large_{name}")
    assert decide(Folder(photos), NAMES, workers=1)[0] == "largest"
    assert decide(Folder(crops), large, workers=1)[0] == "none"
    with (crops / "crops.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows].count("no_face") == 1
    box = rows[0]
    assert box["crop"] == "a.png"
    assert float(box["left"]) < float(box["right"])
    assert float(box["score"]) > 0.8


def test_photos_are_aligned_as_predict_aligns_them(photos: Path, tmp_path: Path) -> None:
    dataset, told = find_faces(load_dataset([photos]), "auto", workers=2)
    assert told == "aligned as in predict: the eyes of 0 of 4 faces are at CelebA's places"
    assert how(dataset) == "largest"
    celebattr.align(photos, tmp_path / "crops")
    for row, name in enumerate(NAMES):
        with Image.open(tmp_path / "crops" / name) as crop:
            assert np.array_equal(dataset.read(row), np.asarray(crop))


def test_few_looks_are_enough_where_faces_agree(photos: Path, tmp_path: Path) -> None:
    celebattr.align(photos / "a.png", tmp_path)
    crop, photo = ((folder / "a.png").read_bytes() for folder in (tmp_path, photos))
    blank = (photos / "blank.png").read_bytes()
    store = Files({f"{i}": (crop, photo, blank)[i % 3] for i in range(300)})
    for kind, looks, decision in ((0, 16, "none"), (1, 16, "largest"), (2, LOOKS, "none")):
        store.read_names.clear()
        assert decide(store, [f"{i}" for i in range(kind, 300, 3)], workers=1)[0] == decision
        assert len(store.read_names) == looks
    store.read_names.clear()
    chosen, why = decide(store, list(store.files), workers=1)
    assert len(store.read_names) == LOOKS
    assert chosen == "largest" or "of 4" in why


class Files:
    """A store of bytes that keeps what is read."""

    path = Path("files")

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read_names: list[str] = []

    def missing(self, names: Iterable[str]) -> list[str]:
        return []

    def content(self, names: Sequence[str]) -> str:
        return ""

    def read(self, name: str) -> bytes:
        self.read_names.append(name)
        return self.files[name]


def test_photos_in_shards_here_and_far_away_are_aligned_alike(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = tmp_path / "shards", f"memory://{uuid.uuid4().hex}"
    requests: list[int] = []
    for place in (near, far):
        celebattr.pack(photos, place, faces="none")
    real = FarMembers.read_all

    def counted(self: FarMembers, names: Sequence[str]) -> list[bytes]:
        requests.append(len(names))
        return real(self, names)

    monkeypatch.setattr(FarMembers, "read_all", counted)
    found = [find_faces(load_dataset([place]), "auto", workers=2) for place in (photos, near, far)]
    assert len({told for _, told in found}) == 1
    assert sum(requests) == 5
    assert len(requests) == 2  # a quarter first
    crops = [
        {PurePath(name).stem: data.read(i) for i, name in enumerate(data.names) if name != BLANK}
        for data, _ in found
    ]
    for others in crops[1:]:
        assert crops[0].keys() == others.keys()
        for stem, crop in crops[0].items():
            np.testing.assert_array_equal(others[stem], crop)


def test_evaluate_decides_as_predict_does(photos: Path, tiny_onnx: Path) -> None:
    report = celebattr.evaluate(tiny_onnx, photos, split="test")
    assert (report.images, report.no_face, report.faces) == (1, 1, "largest")
    face = celebattr.load(tiny_onnx)(photos / "d.png")[0]
    labels = {name: (3 + k) % 2 for k, name in enumerate(CELEBA)}
    right = {name: float((name in face.present) == labels[name]) for name in CELEBA}
    assert {row.attribute: row.accuracy for row in report.attributes} == right
    plain = celebattr.evaluate(tiny_onnx, photos, split="test", faces="none")
    assert (plain.images, plain.no_face, plain.faces) == (2, 0, "none")


def test_unreadable_images_are_refused_together_or_left_out(photos: Path) -> None:
    (photos / "b.png").write_bytes(b"no picture")
    (photos / "c.png").write_bytes(ASTRONAUT.read_bytes()[:5000])
    dataset, _ = find_faces(load_dataset([photos]), "largest", workers=1)
    with pytest.raises(DataError, match=r"b\.png.*1 more cannot be opened.*--skip-unreadable"):
        usable((dataset,), skip_unreadable=False, workers=1)
    (part,), left_out = usable((dataset,), skip_unreadable=True, workers=2)
    assert part.names == ["a.png", "d.png"]
    assert left_out.lines() == [
        "1 left out, no face: blank.png",
        "2 left out, unreadable: b.png, c.png",
    ]


def test_pack_refuses_a_damaged_image_or_leaves_it_out(photos: Path, tmp_path: Path) -> None:
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:9000])
    with pytest.raises(DataError, match=r"b\.png"):
        celebattr.pack(photos, tmp_path / "shards", faces="none")
    place = celebattr.pack(photos, tmp_path / "again", skip_unreadable=True)
    packed = load_dataset([place])
    assert sorted(packed.names) == ["a.png", "c.png", "d.png"]
    aligned, _ = find_faces(load_dataset([photos]), "largest", workers=1)
    at = packed.names.index("d.png")
    assert np.array_equal(packed.read(at), aligned.read(3))


def test_packing_opens_each_photo_that_is_to_be_aligned_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    plain = Folder.read

    def counted(self: Folder, name: str) -> bytes:
        read.append(name)
        return plain(self, name)

    monkeypatch.setattr(Folder, "read", counted)
    celebattr.pack(photos, tmp_path / "pack", faces="largest", workers=1)
    assert sorted(read) == ["a.png", "b.png", "blank.png", "c.png", "d.png"]
    packed, plain_crops = (
        find_faces(load_dataset([place]), how_, workers=1)[0]
        for place, how_ in ((tmp_path / "pack", "none"), (photos, "largest"))
    )
    names = [name for name in plain_crops.names if name != "blank.png"]
    assert len(packed) == len(names) == 4
    crops = {PurePath(name).stem: packed.read(i) for i, name in enumerate(packed.names)}
    for i, name in enumerate(plain_crops.names):
        if name != "blank.png":
            np.testing.assert_array_equal(crops[PurePath(name).stem], plain_crops.read(i))


@pytest.mark.parametrize("faces", ["largest", "all"])
def test_align_writes_crops_from_the_command_line_too(
    photos: Path, tmp_path: Path, faces: str
) -> None:
    celebattr.align([photos / "a.png", photos / BLANK], tmp_path / "python", faces=faces)
    words = ["align", str(photos / "a.png"), str(photos / BLANK), "--faces", faces, "--output"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "cli")])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'cli'}\n"
    assert "1 crop of 2 photos (1 ok, 1 no_face)" in done.stderr
    for name in ("a.png", "crops.csv"):
        assert (tmp_path / "cli" / name).read_bytes() == (tmp_path / "python" / name).read_bytes()
    with Image.open(tmp_path / "cli" / "a.png") as crop:
        assert crop.size == (178, 218)
    some = CliRunner().invoke(app, [*words, str(tmp_path / "cli"), "nothing.jpg", "--overwrite"])
    assert some.exit_code == 6
    assert "1 not_found" in some.stderr


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("a.jpg",), 2, "give --output DIR"),
        (("a.jpg", "--output", "x", "--faces", "none"), 2, "neither largest nor all"),
    ],
)
def test_what_align_cannot_do_is_said(words: tuple[str, ...], code: int, why: str) -> None:
    done = CliRunner().invoke(app, ["align", *words])
    assert done.exit_code == code
    assert why in done.stderr
