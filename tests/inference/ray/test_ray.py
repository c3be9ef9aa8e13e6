"""A run on a Ray of two CPUs gives what one process gives, row for row, whatever dies meanwhile."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner, Result

from celebattr.cli.app import app
from celebattr.data import synthetic
from celebattr.inference.ray.actors import library

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, in its threads

PHOTOS = 24
BUCKET = "photos"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A server on this machine that speaks S3, for this process and those of Ray."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"s3://{BUCKET}"
    server.stop()


@pytest.fixture(scope="module")
def cluster(store: str) -> Iterator[None]:
    """A Ray that all tests here share: it takes seconds to start."""
    ray = library()
    with pytest.MonkeyPatch.context() as patch:
        # Ray is courteous to what else a machine does, so much that tests beside it would starve.
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def inputs(store: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A folder, a zip, a tar, a column of a Parquet file, a bucket; good photos and bad ones."""
    import fsspec

    root = tmp_path_factory.mktemp("inputs")
    folder = root / "folder"
    folder.mkdir()
    rng = np.random.default_rng(0)
    faces = [synthetic.draw_face({"Smiling"}, rng) for _ in range(4)]
    for number in range(PHOTOS):
        odd = ["", " a b", "\n", "é"][number % 4]
        path = folder / f"{number:03}{odd}.jpg"
        if number % 11 == 5:
            path.write_bytes(b"no image")
        else:
            faces[number % 4].save(path)
    some = sorted(folder.iterdir())[:9]
    with zipfile.ZipFile(root / "some.zip", "w") as archive:
        for path in some:
            archive.write(path, path.name)
    with tarfile.open(root / "some.tar", "w") as tar:
        for path in some:
            tar.add(path, path.name)
    names = [str(some[0]), "folder/" + some[1].name, "missing.jpg", "", "https://a.b/c.jpg"]
    names += ["zip://a::https://a.b/c", "file:///dev/zero", f"s3://no-{BUCKET}/x.jpg", "foo://x"]
    pq.write_table(pa.table({"image": names}), root / "list.parquet")
    files = fsspec.filesystem("s3")
    files.mkdir(BUCKET)
    for path in some[:6]:
        files.pipe_file(f"{BUCKET}/in/{path.name.strip()[:3]}.jpg", path.read_bytes())
    places = [folder, root / "some.zip", root / "some.tar", root / "list.parquet"]
    return [*map(str, places), f"{store}/in", f"{store}/in/nothing.jpg"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def on_ray(inputs: list[str], output: str | Path, *more: str) -> Result:
    options = ["--engine", "ray", "--faces", "none", "--part-inputs", "8", "--output", output]
    return run("predict", *inputs, *options, *more)


def rows(place: Path) -> list[dict[str, object]]:
    files = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.fixture(scope="module")
def plain(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes."""
    file = tmp_path_factory.mktemp("plain") / "rows.parquet"
    result = run("predict", *inputs, "--faces", "none", "--output", file)
    assert result.exit_code == 6, result.output
    return file


@pytest.fixture(scope="module")
def bucket(cluster: None, store: str, inputs: list[str]) -> str:
    """Where Ray wrote its parts: an object store."""
    place = f"{store}/rows"
    result = on_ray(inputs, place)
    assert result.exit_code == 6, result.output
    assert "failed" in result.stderr
    return place


@pytest.fixture
def fetched(bucket: str, tmp_path: Path) -> Path:
    """A copy of them."""
    return fetch(bucket, tmp_path / "rows")


def fetch(place: str, folder: Path) -> Path:
    import fsspec

    files = fsspec.filesystem("s3")
    files.invalidate_cache()
    files.get(f"{place}/", f"{folder}/", recursive=True)
    return folder


def test_rows_are_those_of_one_process(plain: Path, fetched: Path) -> None:
    assert len(rows(plain)) == PHOTOS + 9 + 9 + 9 + 6 + 1
    assert rows(fetched) == rows(plain)
    assert {row["status"] for row in rows(fetched)} == {"ok", "unreadable", "not_found"}


def test_parts_merge_into_the_file_of_one_process(
    plain: Path, fetched: Path, tmp_path: Path
) -> None:
    file = tmp_path / "all.parquet"
    result = run("merge", fetched, "--output", file)
    assert result.exit_code == 0, result.output
    assert pq.read_table(file).equals(pq.read_table(plain))
    shutil.copy(fetched / "part-0000001.parquet", fetched / "part-0000002.parquet")
    result = run("merge", fetched, "--output", file, "--overwrite")
    assert result.exit_code == 3 and "another part" in result.stderr
    (fetched / "part-0000002.parquet").unlink()
    result = run("merge", fetched, "--output", file, "--overwrite")
    assert result.exit_code == 3 and "damaged" in result.stderr


def test_resuming_makes_the_parts_that_are_missing_only(
    bucket: str, plain: Path, inputs: list[str], tmp_path: Path
) -> None:
    import fsspec

    files = fsspec.filesystem("s3")

    def times() -> dict[str, object]:
        files.invalidate_cache()
        return {name: files.info(name)["LastModified"] for name in files.glob(f"{bucket}/part-*")}

    before = times()
    gone = sorted(before)[2:4]
    assert on_ray(inputs, bucket).exit_code == 3  # it holds a run
    for name in gone:
        files.rm_file(name)
    result = on_ray(inputs, bucket, "--resume", "--actors", "1")
    assert result.exit_code == 6, result.output
    assert sorted(name for name, at in times().items() if at != before[name]) == gone
    assert rows(fetch(bucket, tmp_path / "again")) == rows(plain)
    other = on_ray(inputs[:1], bucket, "--resume")
    assert other.exit_code == 3 and "the plan was made for" in other.stderr
    other = on_ray(inputs, bucket, "--resume", "--threshold", "0.4")
    assert other.exit_code == 2 and "threshold" in other.stderr


def actors() -> list[psutil.Process]:
    """The processes of the actors of this Ray: Ray calls them so."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (title := " ".join(process.info["cmdline"] or ())).startswith("ray::MapWorker")
        and "Actor" in title
    ]


@pytest.mark.long
def test_an_actor_killed_in_the_middle_costs_no_row_and_doubles_none(
    cluster: None, plain: Path, inputs: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "rows"
    killed: list[psutil.Process] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.is_set() and not killed:
            time.sleep(0.005)
            if len(list(folder.glob("part-*"))) >= 3:
                killed.extend(actors()[:1])
                killed[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        result = on_ray(inputs, folder, "--actors", "1", "--part-inputs", "4")
    finally:
        ended.set()
        killer.join()
    assert result.exit_code == 6, result.output
    assert killed
    # It died in the middle: the one that took over made more than the parts that were there.
    assert len(list(folder.glob("part-*"))) > 10
    assert rows(folder) == rows(plain)
    assert not [file for file in folder.iterdir() if file.name.endswith(".tmp")]


@pytest.mark.long
def test_what_a_killed_actor_was_writing_is_removed_at_the_end(
    cluster: None, plain: Path, inputs: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "rows"
    assert on_ray(inputs, folder).exit_code == 6
    torn = folder / ".part-0000003.parquet.9e1f1804.tmp"
    torn.write_bytes(b"PAR1")
    assert on_ray(inputs, folder, "--resume").exit_code == 6
    assert not torn.exists()
    assert rows(folder) == rows(plain)


def test_what_does_not_go_together_is_refused(tmp_path: Path, cluster: None) -> None:
    one = [str(tmp_path)]
    for more, said in (
        (["--shard", "1/2"], "--shard"),
        (["--annotate", "x"], "--annotate"),
        (["--format", "csv"], "Parquet"),
    ):
        result = on_ray(one, tmp_path / "rows", *more)
        assert result.exit_code == 2 and said in result.stderr
    result = run("predict", *one, "--actors", "2")
    assert result.exit_code == 2 and "--engine ray" in result.stderr
    result = on_ray(one, tmp_path / "rows")
    assert result.exit_code == 3 and "no images" in result.stderr
    (tmp_path / "a.jpg").write_bytes(b"no image")
    result = on_ray(one, tmp_path / "more", "--gpus-per-actor", "0.25")
    assert result.exit_code == 5 and "0 GPUs" in result.stderr


@pytest.mark.parametrize("command", ["predict", "merge"])
def test_a_folder_of_schema_1_is_refused(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    run_of_0_1_0 = {"weights": {}, "options": {}, "format": "parquet", "schema": 1}
    (folder / "run.json").write_text(json.dumps(run_of_0_1_0))
    if command == "predict":
        result = on_ray([str(tmp_path)], folder, "--resume")
    else:
        result = run("merge", folder, "--output", tmp_path / "all.parquet")
    assert result.exit_code == 3
    assert "rows/run.json has schema 1, this version reads schema 2: score" in result.stderr
