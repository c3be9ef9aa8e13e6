"""Worker processes: what crashes, hangs or is killed costs no more than its own row."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from skimage.data import astronaut

import celebattr
from celebattr.data import synthetic
from celebattr.errors import DeviceError, UnreadableImageError
from celebattr.images.open import open_image
from celebattr.inference.config import PredictConfig
from celebattr.inference.faces import Prepared, Preparer
from celebattr.inference.inputs.source import Input
from celebattr.inference.pool import pool as workers_module
from celebattr.inference.pool import protocol
from celebattr.inference.pool import worker as child
from celebattr.inference.pool.pool import WorkerPool
from celebattr.inference.pool.process import CROP_BYTES, Worker
from celebattr.predictions import Failure, Prediction


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    with WorkerPool(PredictConfig(timeout=20.0)) as pool:
        yield pool


def pid(pool: WorkerPool) -> int:
    return pool._idle[-1]._process.pid


def test_a_process_gives_what_this_one_would(workers: WorkerPool, photo: Path) -> None:
    for item in (Input(str(photo)), Input("from memory", data=photo.read_bytes())):
        here, there = Preparer("largest")(item), workers.prepare([item])[0]
        assert there.input is item
        assert there.boxes == here.boxes
        assert there.faces == here.faces == 1
        np.testing.assert_array_equal(there.frames[0], here.frames[0])


def test_failures_come_back_word_for_word(workers: WorkerPool, tmp_path: Path) -> None:
    broken = tmp_path / "bro\nken\udcff.jpg"
    broken.write_bytes(b"no image")
    for item in (Input(str(broken)), Input("nowhere.jpg"), Input("empty", data=b"")):
        assert workers.prepare([item])[0].failure == Preparer("largest")(item).failure
    given = Input("x", failure=Failure("x", "unreadable", "as it was"))
    assert workers.prepare([given])[0].failure is given.failure


def test_a_killed_process_loses_nothing(workers: WorkerPool, photo: Path) -> None:
    for _ in range(3):
        before = pid(workers)
        os.kill(before, signal.SIGKILL)
        assert workers.prepare([Input(str(photo))])[0].faces == 1
        assert pid(workers) != before


def test_a_process_killed_at_any_moment_loses_nothing(photo: Path) -> None:
    aligned = synthetic.draw_face({"Smiling"}, np.random.default_rng(0))
    path = photo.with_name("aligned.png")
    aligned.save(path)
    with WorkerPool(PredictConfig(timeout=20.0)) as pool:
        began = time.monotonic()
        pool.prepare([Input(str(path))])[0]
        start = time.monotonic() - began  # of a process, on this machine: some live to be asked
        killed = 0

        def kill() -> None:
            nonlocal killed
            random = np.random.default_rng(0)
            while killed < 10:
                time.sleep(random.uniform(0.3 * start, 2.0 * start))
                for process in list(pool._all):
                    process._process.kill()
                killed += 1

        killer = threading.Thread(target=kill)
        killer.start()
        failures = []
        while killed < 10:
            failures.append(pool.prepare([Input(str(path))])[0].failure)
        killer.join()
    assert [f for f in failures if f] == []


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes workers do on some file names what a hostile file could make a library do."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes, os, time\n"
        "import celebattr.images.open as images\n"
        "real = images.read_bytes\n"
        "def read(source, **rest):\n"
        "    name = os.path.basename(str(rest.get('name')))\n"
        "    if name == 'hang': \n"
        "        while True: pass\n"
        "    if name == 'sleep': time.sleep(60)\n"
        "    if name == 'crash': ctypes.string_at(0)\n"
        "    if name == 'exit': os._exit(7)\n"
        "    if name == 'memory': bytearray(1 << 34)\n"
        "    if name == 'bug': raise RuntimeError('a\\nbug')\n"
        "    if name == 'print': print('noise', flush=True)\n"
        "    return real(source, **rest)\n"
        "images.read_bytes = read\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_whatever_a_file_does_it_becomes_one_row_and_the_next_is_read(
    hostile: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "_PATIENCE", 2)
    cases: dict[str, tuple[str, str]] = {
        "hang": ("timeout", "took longer than 1 s, twice"),
        "sleep": ("timeout", "took longer than 1 s, twice"),
        "crash": ("unreadable", "crashed the worker process twice (SIGSEGV)"),
        "exit": ("unreadable", "crashed the worker process twice (exit code 7)"),
        "memory": ("too_large", "more memory needed than one photo may take"),
        "bug": ("unreadable", "cannot be processed (RuntimeError: a"),
    }
    with WorkerPool(PredictConfig(timeout=1.0)) as pool:
        for name, (status, reason) in cases.items():
            failure = pool.prepare([Input(name)])[0].failure
            assert failure is not None, name
            assert (failure.path, failure.status) == (name, status)
            assert reason in failure.error
            assert pool.prepare([Input(str(photo))])[0].faces == 1
        assert pool.prepare([Input("print", data=photo.read_bytes())])[0].faces == 1


def test_one_bad_file_among_photos_scored_together_costs_its_own_row_only(
    hostile: Path, photo: Path, tiny_onnx: Path
) -> None:
    config = PredictConfig(timeout=2.0, faces="none")
    data = photo.read_bytes()
    names = ["a", "crash", "b", "hang", "c", "bug", "d"]
    items = [Input(name, data=data) for name in names]
    items.insert(3, Input("known", failure=Failure("known", "not_found", "known: as it was")))
    with WorkerPool(config, tiny_onnx) as pool:
        found = pool.results(items)
        assert [r.path for results in found for r in results] == [item.path for item in items]
        bad = {r.path: r.status for results in found for r in results if r.status != "ok"}
        assert bad == {
            "crash": "unreadable",
            "known": "not_found",
            "hang": "timeout",
            "bug": "unreadable",
        }
        alone = pool.results([items[0]])[0][0]
    assert isinstance(alone, Prediction)
    for results in (found[0], found[2], found[7]):
        (same,) = results
        assert isinstance(same, Prediction)
        assert same.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_what_cannot_be_scored_together_is_scored_one_by_one() -> None:
    answers = io.BytesIO()

    def score(some: Sequence[Any]) -> list[list[Prediction]]:
        if len(some) > 1 or some[0].input.path == "b":
            raise MemoryError
        return [[Prediction(some[0].input.path, 1, 1, None, {"Bald": 0.5}, [], [])]]

    requests = io.BytesIO()
    photos = [
        {"path": name, "file": None, "bytes": None, "packed": None} for name in ("a", "b", "c")
    ]
    protocol.send(requests, {"photos": photos, "seconds": 5.0, "pixels": 0})
    requests.seek(0)
    child.serve(requests, answers, Prepared, score)  # type: ignore[arg-type]
    answers.seek(0)
    said = [protocol.receive(answers) for _ in ["opened", *photos]]
    kinds = ["opened", "results", "failure", "results"]
    assert [next(iter(answer or {})) for answer in said] == kinds
    assert said[2] == {
        "failure": ["too_large", "b: more memory needed than one photo may take"],
    }


def test_a_process_that_ends_before_it_is_ready_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    (tmp_path / "starts").touch()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, signal\n"
        "starts = pathlib.Path(__file__).with_name('starts')\n"
        "with starts.open('a') as file: file.write('x')\n"
        "if starts.stat().st_size < 5: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerPool(PredictConfig(timeout=20.0)) as pool:
        assert pool.prepare([Input(str(photo))])[0].failure is None
    assert (tmp_path / "starts").read_text() == "xxxxx"


def test_processes_that_never_start_are_an_error_of_the_machine_not_of_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        WorkerPool(PredictConfig(timeout=20.0)) as pool,
        pytest.raises(DeviceError, match=r"ended at start.*exit code 9.*--workers 1"),
    ):
        pool.prepare([Input(str(photo))])[0]


def test_a_process_that_cannot_import_what_it_needs_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    (tmp_path / "dataclasses.py").write_text(
        "print('x' * 200_000)\nraise ImportError('libGL.so.1: none')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with (
        WorkerPool(PredictConfig(timeout=20.0)) as pool,
        pytest.raises(DeviceError, match=r"exit code 1\): ImportError: libGL\.so\.1: none$"),
    ):
        pool.prepare([Input(str(photo))])[0]


SCRIPT = """
import json, sys
sys.path += json.loads(sys.argv[1])
if sys.argv[2] == "embedded":
    sys.executable = "/usr/lib/a/program"
import celebattr
print(celebattr.score(sys.argv[4:], sys.argv[0] + ".csv", weights=sys.argv[3], faces="none"))
"""


@pytest.mark.parametrize("how", ["script", "embedded"])
def test_processes_import_what_this_one_does(
    tmp_path: Path, photo: Path, tiny_onnx: Path, how: str
) -> None:
    """Packages that a script made known, among them backports of what Python has itself."""
    site = tmp_path / "site-packages"
    package = Path(celebattr.__file__).parent
    shutil.copytree(package, site / "celebattr", ignore=shutil.ignore_patterns("weights", "*.pyc"))
    for name in ("enum", "pathlib", "typing"):
        (site / f"{name}.py").write_text("raise ImportError('an old backport')\n")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = [str(site), *(path for path in sys.path if "-packages" in path)]
    done = subprocess.run(
        [sys._base_executable, "-I", script, json.dumps(paths), how, tiny_onnx, photo],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "'ok': 1" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("first", ["celebattr.freeze_support()", ""])
def test_a_frozen_program_starts_its_processes(
    tmp_path: Path, photo: Path, tiny_onnx: Path, first: str
) -> None:
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed")
    (tmp_path / "frozen.py").write_text(
        f"import sys, celebattr\n{first}\n"
        "print(celebattr.score(sys.argv[2:], 'o.csv', weights=sys.argv[1], faces='none'))\n"
    )
    options = ("--noconfirm", "--log-level", "ERROR", "--collect-all", "celebattr")
    leave_out = [f"--exclude-module={name}" for name in ("torch", "ray", "matplotlib", "pyarrow")]
    command = [sys.executable, "-m", "PyInstaller", *options, *leave_out, "frozen.py"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        [tmp_path / "dist/frozen/frozen", tiny_onnx, photo],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    if first:
        assert "'ok': 1" in done.stdout, done.stderr
    else:
        assert done.returncode == 1
        assert "call celebattr.freeze_support() first" in done.stderr


@pytest.mark.parametrize("everyone", [True, False], ids=["the run", "its workers"])
def test_time_in_which_a_run_is_stopped_is_no_photos(
    everyone: bool, tmp_path: Path, photo: Path
) -> None:
    for n in range(12):
        (tmp_path / f"{n}.png").symlink_to(photo)
    command = [sys.executable, "-m", "celebattr", "predict", str(tmp_path), "--format=jsonl"]
    run = subprocess.Popen(
        [*command, "--timeout=1"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stdout is not None
    rows = [run.stdout.readline()]
    for _ in range(2):
        processes = psutil.Process(run.pid).children()
        for process in [psutil.Process(run.pid)] * everyone + processes:
            process.suspend()
        time.sleep(2.0)
        for process in [psutil.Process(run.pid)] * everyone + processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
    rows += run.communicate()[0].splitlines()
    assert [json.loads(row)["status"] for row in rows] == ["ok"] * 12


def before_each_request(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[int, Worker], None]
) -> list[int]:
    """Let something happen to a process before it is asked; return the numbers of the requests."""
    asked: list[int] = []
    ask = Worker.ask

    def acted_on(worker: Worker, *request: Any) -> Any:
        asked.append(len(asked) + 1)
        act(asked[-1], worker)
        return ask(worker, *request)

    monkeypatch.setattr(Worker, "ask", acted_on)
    return asked


def test_a_photo_that_is_late_once_is_asked_for_again(
    workers: WorkerPool, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_the_first(number: int, worker: Worker) -> None:
        if number == 1:
            worker._process.send_signal(signal.SIGSTOP)

    asked = before_each_request(monkeypatch, stop_the_first)
    monkeypatch.setattr(workers_module, "_PATIENCE", 0.05)
    assert workers.prepare([Input(str(photo))])[0].failure is None
    assert asked == [1, 2]


@pytest.mark.parametrize(
    ("library", "text", "said"),
    [
        ("cv2", "raise ImportError('libGL.so.1: cannot open')", r"import cv2 \(ImportError: libGL"),
        ("cv2", "", r"cannot start \(AttributeError: .*cv2"),  # half removed
        ("PIL", "raise RuntimeError('old')", r"import PIL.Image \(RuntimeError: old\)"),
    ],
)
def test_a_library_that_cannot_be_used_ends_the_run_and_blames_no_photo(
    library: str,
    text: str,
    said: str,
    tmp_path: Path,
    tiny_onnx: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / f"{library}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for weights in (tiny_onnx, tiny_bundle):
        output = tmp_path / "rows.jsonl"
        with pytest.raises(DeviceError, match=said):
            celebattr.score(["photo.jpg"] * 5, output, weights=weights, device="cpu")
        assert not list(tmp_path.glob("rows.jsonl*"))


def test_a_photo_whose_processes_are_killed_again_and_again_becomes_a_failure(
    workers: WorkerPool, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(number: int, worker: Worker) -> None:
        worker._process.kill()
        worker._process.wait()

    asked = before_each_request(monkeypatch, kill)
    failure = workers.prepare([Input(str(photo))])[0].failure
    assert failure is not None
    assert (failure.status, len(asked)) == ("unreadable", 5)
    assert "crashed the worker process 5 times (SIGKILL)" in failure.error


def test_many_threads_each_have_a_process(photo: Path) -> None:
    with WorkerPool(PredictConfig(timeout=20.0)) as pool:
        pids: set[int] = set()

        def work() -> None:
            assert pool.prepare([Input(str(photo))])[0].faces == 1
            pids.add(pid(pool))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pids) == 3
        processes = [w._process for w in pool._all]
    assert all(process.poll() is not None for process in processes)


def test_a_process_ends_with_its_parent(photo: Path) -> None:
    pool = WorkerPool(PredictConfig(timeout=20.0))
    pool.prepare([Input(str(photo))])[0]
    process = pool._idle[-1]._process
    assert process.stdin is not None
    process.stdin.close()  # what the system does when the parent is gone
    assert process.wait(60.0) == 0
    pool.close()


def test_the_folder_one_stands_in_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    for name in ("json", "numpy", "PIL", "celebattr", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')\n")
    monkeypatch.chdir(tmp_path)
    with WorkerPool(PredictConfig(timeout=20.0)) as pool:
        assert pool.prepare([Input(str(photo))])[0].faces == 1


@pytest.mark.parametrize("weights", ["tiny_onnx", "tiny_bundle"])
def test_a_photo_to_draw_on_is_opened_by_a_worker_and_has_a_limit(
    weights: str,
    photo: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def drawn(most: int) -> dict[str, Image.Image]:
        monkeypatch.setattr(workers_module, "DRAWN_PIXELS", most)
        out = tmp_path / str(most)
        celebattr.score(
            [photo],
            tmp_path / f"{most}.jsonl",
            weights=bundle,
            device="cpu",
            annotate=out,
            explain="Smiling" if weights == "tiny_bundle" else None,
        )
        return {file.name.split(".", 2)[2]: open_image(file) for file in out.rglob("*.png")}

    bundle = request.getfixturevalue(weights)
    with monkeypatch.context() as patch:
        patch.setattr("celebattr.images.open.open_image", None)  # not in this process
        whole, half = drawn(24_000_000), drawn(512 * 512 - 1)
    assert len(whole) == len(half) == (2 if weights == "tiny_bundle" else 1)
    for name, image in half.items():
        if name == "annotated.png":  # which is enlarged to make room for text
            assert image.size == whole[name].size == (512, 512)
        else:
            assert image.size == (256, 256)
            large = np.asarray(whole[name].reduce(2), np.int16)
            assert np.abs(np.asarray(image, np.int16) - large).mean() < 1.0
    with WorkerPool(PredictConfig()) as pool:
        picture, divisor = pool.picture(Input(str(photo)))
        assert (picture.size, divisor) == ((256, 256), 2)
        with pytest.raises(UnreadableImageError, match=r"nowhere\.jpg: no such file"):
            pool.picture(Input("nowhere.jpg"))


def test_messages_survive_any_name() -> None:
    stream = io.BytesIO()
    head: dict[str, Any] = {"path": "a\udcff\n\x1b", "bytes": 3}
    protocol.send(stream, head, b"abc")
    stream.seek(0)
    assert protocol.receive(stream) == head
    assert stream.read() == b"abc"
    for cut in range(len(stream.getvalue()) - 3):
        assert protocol.receive(io.BytesIO(stream.getvalue()[:cut])) is None
    assert CROP_BYTES == 218 * 178 * 3
