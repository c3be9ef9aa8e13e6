"""Tar shards written by `celebattr pack`: any layout comes back as it was, whatever happens."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import layouts
import numpy as np
import pytest
from layouts import write_celeba

from celebattr.attributes import CELEBA
from celebattr.constants import SPLITS
from celebattr.data import synthetic
from celebattr.data.dataset import FaceDataset
from celebattr.data.layouts.load import load_dataset
from celebattr.data.shards import pack, writer
from celebattr.data.shards.config import PackConfig
from celebattr.errors import DataError, UnreadableImageError
from celebattr.io.folder import folder_at

COUNTS = {"train": 5, "validation": 3, "test": 2}
WRITERS: dict[str, Callable[[FaceDataset, Path], Path]] = {
    "parquet": layouts.parquet,
    "webdataset": layouts.webdataset,
    "attr_list": layouts.lists,
    "CelebAMask-HQ": layouts.hq,
} | {
    layout: lambda d, f, layout=layout: write_celeba(f, **COUNTS, layout=layout)
    for layout in ("official", "kaggle", "csv")
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return load_dataset([write_celeba(tmp_path_factory.mktemp("reference"), **COUNTS)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_celeba(tmp_path / "data", **COUNTS)


def packed(out: Path, *data: Path, **options: object) -> FaceDataset:
    pack.run(PackConfig(data=data, output=out, **options))  # type: ignore[arg-type]
    return load_dataset([out])


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def assert_same(one: FaceDataset, other: FaceDataset) -> None:
    """The same rows in the same order, split by split: what training and evaluation see."""
    assert one.attributes == other.attributes
    for split in SPLITS:
        a, b = one.split(split), other.split(split)
        assert len(a) == len(b)
        np.testing.assert_array_equal(a.targets_NA, b.targets_NA)
        assert (a.identities_N is None) == (b.identities_N is None)
        if a.identities_N is not None:
            np.testing.assert_array_equal(a.identities_N, b.identities_N)
        for row in range(len(a)):
            np.testing.assert_array_equal(a.read(row), b.read(row))


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_comes_back_as_it_was(
    tmp_path: Path, layout: str, reference: FaceDataset
) -> None:
    source = WRITERS[layout](reference, tmp_path / "there")
    before, after = load_dataset([source]), packed(tmp_path / "out", source, shard_images=2)
    assert_same(after, before)
    for split in SPLITS:
        names = [Path(name).stem for name in after.split(split).names]
        assert names == [Path(name).stem for name in before.split(split).names]


def test_images_keep_their_bytes_and_shards_say_so_to_anyone(
    tmp_path: Path, reference: FaceDataset, data: Path
) -> None:
    out = tmp_path / "out"
    by_index = packed(out, data, shard_images=3)
    with tarfile.open(out / "train-000001.tar") as archive:
        members = {info.name: info for info in archive}
        assert list(members) == ["000004.jpg", "000004.json", "000005.jpg", "000005.json"]
        for info in members.values():
            assert (info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644)
        opened = archive.extractfile("000005.jpg")
        assert opened is not None
        assert opened.read() == layouts.image(reference, 4)
        labels = archive.extractfile("000005.json")
        assert labels is not None
        values = json.loads(labels.read())["attributes"]
        assert values == dict(zip(CELEBA, reference.targets_NA[4].tolist(), strict=True))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["images"] == COUNTS
    for shard in manifest["shards"]:
        tar = (out / shard["name"]).read_bytes()
        assert (len(tar), hashlib.sha256(tar).hexdigest()) == (shard["bytes"], shard["sha256"])
    for file in out.glob("*.json"):  # as others see the shards: without what lies beside them
        file.unlink()
    scanned = load_dataset([out])
    assert sorted(scanned.names) == sorted(by_index.names)
    assert_same(scanned, by_index)


def test_packing_twice_gives_the_same_files(tmp_path: Path, data: Path) -> None:
    packed(tmp_path / "one", data, shard_images=2)
    packed(tmp_path / "two", data, shard_images=2, workers=5)
    one = content(tmp_path / "one")
    assert one == content(tmp_path / "two")
    assert len(one) == 2 * (3 + 2 + 1) + 1


def test_a_shard_has_no_more_bytes_than_asked_for(tmp_path: Path) -> None:
    data = write_celeba(tmp_path / "data", train=300, validation=1, test=1)
    packed(tmp_path / "out", data, shard_size=1)
    sizes = [file.stat().st_size for file in sorted((tmp_path / "out").glob("train-*.tar"))]
    assert len(sizes) == 3
    assert max(sizes) <= 1 << 20
    assert min(sizes[:-1]) > (1 << 20) - 60_000


class Killed(BaseException):
    pass


def test_what_was_cut_off_says_so_and_is_gone_on_with(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path / "whole", data, shard_images=2)

    def kill(done: int, total: int) -> None:
        if done == 6:  # in the first shard of validation images
            raise Killed

    out = tmp_path / "out"
    config = PackConfig(data=(data,), output=out, shard_images=2)
    with pytest.raises(Killed):
        pack.run(config, kill)
    assert sorted(file.suffix for file in out.iterdir()) == [".json"] * 3 + [".tar"] * 3
    with pytest.raises(
        DataError, match=r"not complete: packing was interrupted\. Run the same .* again"
    ):
        load_dataset([out])
    read: list[int] = []
    plain = writer._Writer._read
    monkeypatch.setattr(
        writer._Writer, "_read", lambda self, row: read.append(row) or plain(self, row)
    )
    _, told = pack.run(config)
    assert "10 images" in told
    assert "6 shards, of which 3 were there" in told
    assert sorted(read) == [5, 6, 7, 8, 9]
    assert content(out) == content(tmp_path / "whole")


def test_an_index_whose_shard_never_came_is_written_again(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    packed(out, data, shard_images=2)
    before = content(out)
    (out / "manifest.json").unlink()
    (out / "train-000001.tar").unlink()
    (out / ".train-000001.tar.0a1b2c3d.tmp").write_bytes(b"what a killed program had of it")
    packed(out, data, shard_images=2)
    assert content(out) == before


@pytest.mark.parametrize("change", ["options", "data", "foreign"])
def test_shards_of_others_are_not_touched(tmp_path: Path, data: Path, change: str) -> None:
    out = tmp_path / "out"
    if change == "foreign":
        layouts.webdataset(load_dataset([data]), out)
    else:
        packed(out, data)
        (out / "manifest.json").unlink()  # or it would be refused as finished
    before = content(out)
    options = {"shard_images": 2} if change == "options" else {}
    if change == "data":
        data = write_celeba(tmp_path / "other", **COUNTS, seed=1)
    with pytest.raises(DataError, match=r"already holds other shards \(test-000000\.tar\)"):
        packed(out, data, **options)
    assert content(out) == before


def test_a_finished_packing_is_replaced_when_that_is_asked_for(tmp_path: Path, data: Path) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    packed(out, data, shard_images=2)
    (out / "notes.txt").write_text("mine")
    before = content(out)
    with pytest.raises(DataError, match="out exists: give --overwrite to replace it"):
        packed(out, data, shard_images=2)
    assert content(out) == before
    packed(out, data, overwrite=True)
    packed(fresh, data)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert content(out) == content(fresh)


def test_what_another_packing_is_writing_is_left_alone(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    with folder_at(out).create("train-000000.tar") as ours:
        ours.write(b"of a packing that is at work")
        packed(out, data)
        assert Path(ours.name).exists()


def test_a_shard_that_is_cut_off_or_missing_is_named(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    packed(out, data)
    tar = out / "train-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"train-000000\.tar is not the shard.*Copy it again"):
        load_dataset([out])
    tar.unlink()
    with pytest.raises(DataError, match=r"train-000000\.tar .* it has no bytes"):
        load_dataset([out])


def test_a_flipped_bit_is_found_when_the_image_is_read(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    dataset = packed(out, data)
    tar = bytearray((out / "train-000000.tar").read_bytes())
    tar[512 + 700] ^= 4
    (out / "train-000000.tar").write_bytes(tar)
    with pytest.raises(UnreadableImageError, match=r"member 000001\.jpg: damaged, its checksum"):
        dataset.read(dataset.names.index("000001.jpg"))
    assert dataset.read(dataset.names.index("000002.jpg")).shape == (218, 178, 3)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("manifest.json", "{", "manifest.json is not JSON"),
        ("manifest.json", '{"schema": 99}', "manifest.json is of another version"),
        ("manifest.json", '{"schema": 1}', "manifest.json is damaged"),
        ("test-000000.index.json", '{"schema": 1}', "test-000000.index.json is damaged"),
    ],
)
def test_a_damaged_index_is_named(
    tmp_path: Path, data: Path, name: str, text: str, why: str
) -> None:
    out = tmp_path / "out"
    packed(out, data)
    (out / name).write_text(text)
    with pytest.raises(DataError, match=why):
        load_dataset([out])


def test_labels_that_do_not_fit_the_attributes_are_refused(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    packed(out, data)
    index = out / "test-000000.index.json"
    index.write_text(index.read_text().replace(', "0', ', "', 1).replace(', "1', ', "', 1))
    with pytest.raises(DataError, match="labels are other than 40 of 0, 1 and"):
        load_dataset([out])


def test_names_that_shards_cannot_have_and_names_that_are_there_twice(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "a.b").mkdir(parents=True)
    image = io.BytesIO()
    synthetic.draw_face(set(), np.random.default_rng(0)).save(image, "PNG")
    names = ["face.v2.png", "face_v2.png", "a.b/x.PNG", "no_suffix"]
    for name in names:
        (folder / name).write_bytes(image.getvalue())
    rows = "".join(f"{name},{row % 2}\n" for row, name in enumerate(names))
    (folder / "labels.csv").write_text(f"image,Happy\n{rows}")
    dataset = packed(tmp_path / "out", folder, folder)
    assert dataset.names[:4] == ["face_v2.png", "face_v2_2.png", "a.b/x.png", "no_suffix.png"]
    assert dataset.names[4:] == ["face_v2_3.png", "face_v2_4.png", "a.b/x_2.png", "no_suffix_2.png"]
    assert dataset.targets_NA[:, 0].tolist() == [0, 1, 0, 1] * 2
    for file in (tmp_path / "out").glob("*.json"):
        file.unlink()
    assert load_dataset([tmp_path / "out"]).names == dataset.names


def test_attributes_beside_celebas_survive_with_and_without_the_index(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "own", **COUNTS, layout="csv")
    lines = (folder / "labels.csv").read_text().splitlines()
    head, *rows = [line.rpartition(",")[0] for line in lines]
    text = "\n".join([f"{head},Happy", *(f"{row},{i % 2}" for i, row in enumerate(rows))])
    (folder / "labels.csv").write_text(text + "\n")
    for expected in (packed(tmp_path / "out", folder), None):
        dataset = expected or load_dataset([tmp_path / "out"])
        assert dataset.attributes == (*CELEBA, "Happy")
        assert dataset.targets_NA[:, -1].tolist() == [i % 2 for i in range(10)]
        for file in (tmp_path / "out").glob("*.json"):
            file.unlink()


def test_a_limit_takes_the_first_of_each_split(tmp_path: Path, data: Path) -> None:
    dataset = packed(tmp_path / "out", data, limit=2)
    assert dataset.split("train").names == ["000001.jpg", "000002.jpg"]
    assert len(dataset) == 6


def test_drawn_faces_are_packed_too(tmp_path: Path) -> None:
    dataset = packed(tmp_path / "out", Path("drawn"), limit=3)
    assert len(dataset) == 9
    assert_same(dataset, load_dataset([Path("drawn")]).take(np.r_[0:3, 2400:2403, 2800:2803]))


def test_an_image_that_cannot_be_read_leaves_no_shard(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "data", **COUNTS, layout="unpacked")
    dataset = load_dataset([folder])
    (folder / "Img/img_align_celeba/000004.jpg").unlink()
    from celebattr.io.folder import folder_at

    with pytest.raises(DataError, match=r"000004\.jpg"):
        writer.write(dataset, folder_at(tmp_path / "out"), shard_bytes=1 << 20)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
