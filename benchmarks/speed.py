"""Speed of celebattr beside the common alternatives; writes docs/speed.md.

    python benchmarks/speed.py [--folder ALIGNED] [--photo UNCROPPED] [--sections one,folder,...]

Whole processes, run in turn so that a machine that slows down slows all of them; medians. Without
a folder and photo it draws 1,024 faces and takes a public-domain photograph.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from celebattr.models import weights

HERE = Path(__file__).parent
TESTS = HERE.resolve().parent / "tests"
CELEBATTR = [sys.executable, "-m", "celebattr"]
FEW = 256
"""Photos that slow peers get."""

INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16")
PACKAGES = ("torch", "torchvision", "onnxruntime", "openvino", "timm", "transformers", "pillow")


class Bench:
    """Commands that run in turn, and their times.

    Args:
        folder: aligned photos.
        photo: one that is not cropped.
        place: for what the commands write.
        runs: how often each command runs.
    """

    def __init__(self, folder: Path, photo: Path, place: Path, runs: int) -> None:
        self.folder, self.photo, self.place, self.runs = folder, photo, place, runs
        self.photos = sorted(str(path) for path in folder.rglob("*.jpg"))
        self.int8 = str(weights.bundle_file(None))
        self.random = place / "random.safetensors"
        subprocess.run([sys.executable, "-c", RANDOM, str(self.random)], check=True)

    def times(self, commands: dict[str, list[str]], runs: int | None = None) -> dict[str, float]:
        """Return the median seconds of each command; print all of them on standard error."""
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs or self.runs):
            for name, command in commands.items():
                taken[name].append(run(command)[0])
        for name, values in taken.items():
            print(f"{name}: {' '.join(f'{v:.2f}' for v in values)} s", file=sys.stderr, flush=True)
        return {name: statistics.median(values) for name, values in taken.items()}

    def rates(self, commands: dict[str, list[str]]) -> dict[str, float]:
        """Return the median of the last number that each command prints."""
        said: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(self.runs):
            for name, command in commands.items():
                said[name].append(float(run(command)[1].split()[-1]))
        for name, values in said.items():
            print(f"{name}: {' '.join(f'{v:.1f}' for v in values)}/s", file=sys.stderr, flush=True)
        return {name: statistics.median(values) for name, values in said.items()}

    def listed(self, count: int, name: str) -> str:
        """Write a list of `count` photos, repeating those of the folder; return its path."""
        path = self.place / name
        path.write_text("\n".join(self.photos[i % len(self.photos)] for i in range(count)) + "\n")
        return str(path)


RANDOM = """
import sys, torch
from celebattr.models.resnet import torchvision_models
from safetensors.torch import save_file
torch.manual_seed(0)
state = torchvision_models.resnet50(num_classes=40).state_dict()
save_file({name: value.contiguous() for name, value in state.items()}, sys.argv[1])
"""


def peer(name: str) -> list[str]:
    """Return the beginning of the command that runs a script of `peers/`."""
    return [sys.executable, str(HERE / "peers" / f"{name}.py")]


def run(command: list[str]) -> tuple[float, str, float]:
    """Return wall seconds, standard output and peak MiB of a process that must succeed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        log.seek(0)
        assert status == 0, f"{' '.join(command)[:200]}\n{log.read()[-2000:]}"
        out.seek(0)
        return took, out.read(), usage.ru_maxrss / 1024


def watched(command: list[str], given: Path) -> tuple[float, float]:
    """Return wall seconds and peak MiB of a process tree; shared pages count once.

    `given` is its standard input.
    """
    start, peak = time.perf_counter(), 0.0
    with (
        given.open("rb") as file,
        subprocess.Popen(command, stdin=file, stderr=subprocess.DEVNULL) as process,
    ):
        while process.poll() is None:
            peak = max(peak, sum(map(_memory, _tree(process.pid))))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
    assert process.returncode == 0, command
    return time.perf_counter() - start, peak


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants, whichever thread started them."""
    children: list[str] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended since
            children += task.read_text().split()
    return [pid, *(one for child in children for one in _tree(int(child)))]


def _memory(pid: int) -> float:
    """Return the MiB of a process; of shared pages, its proportional part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def one(bench: Bench) -> str:
    """Measure one photo, whole processes."""
    aligned = bench.photos[0]
    script = [*peer("plain_torch"), str(bench.random)]
    took = bench.times(
        {
            "celebattr predict, aligned": [*CELEBATTR, "predict", aligned],
            "celebattr predict, un-cropped": [*CELEBATTR, "predict", str(bench.photo)],
            "bare onnxruntime": [*peer("bare_onnxruntime"), bench.int8, aligned],
            "plain torch, 224x224": [*script, "224x224", aligned],
            "plain torch, 128x104": [*script, "128x104", aligned],
        }
    )
    base = took["celebattr predict, aligned"]
    rows = [f"| {name} | {s:.3f} | {s / base:.2f} |" for name, s in took.items()]
    return table(["one photo, whole process", "seconds", "ratio"], rows)


def start(bench: Bench) -> str:
    """Break down the time of one photo, in both processes."""
    rows = []
    for who, given in (("parent", bench.photos[0]), ("child", bench.int8)):
        runs = []
        for _ in range(bench.runs):
            began = time.time()
            done = subprocess.run(
                [sys.executable, str(HERE / "timeline.py"), str(began), who, given],
                capture_output=True,
                text=True,
                check=True,
            )
            ended = {"process ended": time.time() - began} if who == "parent" else {}
            runs.append(json.loads(done.stderr.splitlines()[-1]) | ended)
        name = "`celebattr predict`" if who == "parent" else "the process that scores, by itself"
        rows.append(f"| {name} | | |")
        before = 0.0
        for step in sorted(runs[0], key=lambda s: statistics.median(r[s] for r in runs)):
            if who == "child" and step == "row written":
                continue
            at = statistics.median(run[step] for run in runs)
            rows.append(f"| {step} | {1000 * at:.0f} | {1000 * (at - before):.0f} |")
            before = at
    return table(["one aligned photo", "ms since the start", "ms for this"], rows)


def folder(bench: Bench) -> str:
    """Measure a folder of aligned photos, whole processes, beside runtimes alone."""
    count, few = len(bench.photos), bench.listed(FEW, "few.txt")
    small = bench.place / "small"
    small.mkdir()
    for path in bench.photos[:FEW]:
        (small / Path(path).name).symlink_to(path)
    rows, scores = str(bench.place / "rows.jsonl"), str(bench.place / "timm.csv")
    plain = [*peer("plain_torch"), str(bench.random)]
    ours = [*CELEBATTR, "predict", str(bench.folder), "--output", rows, "--overwrite"]
    inputs = {
        "celebattr predict": (count, ours),
        "celebattr predict --speed fast": (count, [*ours, "--speed", "fast"]),
        "plain torch, 128x104": (FEW, [*plain, "128x104", "@" + few]),
        "plain torch, 224x224": (FEW, [*plain, "224x224", "@" + few]),
        "timm, 224x224": (FEW, [*peer("timm_folder"), str(small), "224x224", scores]),
        "transformers pipeline": (FEW, [*peer("transformers_folder"), "@" + few]),
    }
    took = bench.times({name: command for name, (_, command) in inputs.items()})
    model = peer("model_only")
    alone = bench.rates(
        {
            f"{runtime} alone, int8": [*model, runtime, bench.int8, str(count)]
            for runtime in ("onnxruntime", "openvino")
        }
    )
    rates = {name: inputs[name][0] / seconds for name, seconds in took.items()} | alone
    base = rates["celebattr predict"]
    lines = [f"| {name} | {rate:.1f} | {base / rate:.2f} |" for name, rate in rates.items()]
    return table([f"aligned photos: {count:,}, peers {FEW}", "photos/s", "celebattr : it"], lines)


def flat(bench: Bench, sizes: tuple[int, ...] = (1_000, 10_000, 100_000)) -> str:
    """Measure time and memory per photo in folders of growing size."""
    rows, out = [], str(bench.place / "flat.jsonl")
    for count in sizes:
        command = [*CELEBATTR, "predict", "-", "--output", out]
        seconds, memory = watched(command, Path(bench.listed(count, "flat.txt")))
        rows.append(f"| {count:,} | {1000 * seconds / count:.2f} | {memory:.0f} |")
        print(rows[-1], file=sys.stderr, flush=True)
        Path(out).unlink()
    return table(["aligned photos", "ms a photo, start included", "peak MiB"], rows)


def training(bench: Bench) -> str:
    """Measure a training step beside torchvision's reference recipe, data loading included."""
    steps, batch, size = 12, 64, "128x104"
    data = bench.place / "train"
    subprocess.run([sys.executable, "-c", DRAW, str(data), str(steps * batch)], check=True)

    ours = [sys.executable, "-c", STEP, str(data), size, str(batch), str(bench.place / "run")]
    reference = [*peer("torchvision_train"), str(bench.folder), size, str(batch), str(steps)]
    rates = bench.rates({"celebattr train": ours, "torchvision reference": reference})
    base = rates["celebattr train"]
    rows = [f"| {name} | {rate:.1f} | {base / rate:.2f} |" for name, rate in rates.items()]
    return table([f"ResNet50, {size}, batch {batch}", "images/s", "celebattr : it"], rows)


DRAW = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from layouts import write_celeba
write_celeba(Path(sys.argv[1]), train=int(sys.argv[2]), validation=8, test=8)
"""

# The second epoch of the command's own loop, with all that its defaults do to the images: the first
# is warm-up, as the first two steps of the reference are.
STEP = """
import json, shutil, sys
from pathlib import Path
from celebattr.training.config import TrainConfig
from celebattr.training.loop import train
data, size, batch, out = sys.argv[1:]
train(TrainConfig(data=(Path(data),), output=Path(out), backbone_weights="none", epochs=2,
                  image_size=size, batch_size=int(batch)))
row = json.loads(Path(out, "history.jsonl").read_text().splitlines()[1])
shutil.rmtree(out)
print(row["images_per_second"])
"""


def table(head: list[str], rows: list[str]) -> str:
    """Return a Markdown table."""
    return "\n".join(
        [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1), *rows, ""]
    )


SECTIONS: dict[str, tuple[str, Callable[[Bench], str]]] = {
    "one": ("One photo", one),
    "start": ("Where the time of one photo goes", start),
    "folder": ("A folder of aligned photos", folder),
    "flat": ("More of them", flat),
    "training": ("Training", training),
}


def machine() -> str:
    """Describe the machine and the packages that the figures come from."""
    cores = len(os.sched_getaffinity(0))
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*: (.*)", text)
    flags = [
        flag for flag in ("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16") if flag in text
    ]
    return (
        f"{datetime.date.today()}, {cores} cores of {found[1] if found else platform.processor()} "
        f"({', '.join(flags) or 'no VNNI'}), Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )


def main() -> None:
    """Measure, and put each section's table into its place in docs/speed.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="aligned photos, 178x218 JPEGs")
    parser.add_argument("--photo", type=Path, help="an un-cropped photo")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "speed.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        folder, photo = asked.folder, asked.photo
        if folder is None:
            folder = place / "drawn"
            subprocess.run([sys.executable, "-c", FACES, str(folder)], check=True)
        if photo is None:
            photo = place / "astronaut.png"
            subprocess.run([sys.executable, "-c", ASTRONAUT, str(photo)], check=True)
        bench = Bench(folder, photo, place, asked.runs)
        for name in asked.sections.split(","):
            title, measure = SECTIONS[name]
            text = f"{machine()}; medians of {asked.runs}.\n\n{measure(bench)}"
            print(f"\n## {title}\n\n{text}", flush=True)
            put(asked.out, name, text)


FACES = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from layouts import write_celeba
write_celeba(Path(sys.argv[1]), train=1024, validation=0, test=0, layout="flat")
"""

ASTRONAUT = """
import sys
from PIL import Image
from skimage.data import astronaut
Image.fromarray(astronaut()).save(sys.argv[1])
"""


def put(path: Path, name: str, text: str) -> None:
    """Replace the text between a section's two marks; people write the words around it."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    old = path.read_text()
    before, _, rest = old.partition(begin)
    assert rest, f"{path} has no mark {begin!r}"
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
