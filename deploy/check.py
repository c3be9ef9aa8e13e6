"""Carries out a Dockerfile in a clean root, without a container engine, and tries what it made.

    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip trixie ROOT
    python deploy/check.py ROOT [Dockerfile]

Needs root and Linux. ROOT is a Debian with Python, as the image of the FROM line is one; both
stages are carried out in it, COPY, RUN, ENV, ARG and USER as they stand. Then the health check and
the entry point run as the image's user, with the image's environment, on a photo drawn by program.
What this does not show: that the base image can be pulled, layers, and what a runtime adds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
HOST = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
"""Files that a runtime or a builder would bring: how to reach package registries."""


class Root:
    """A root folder and what a Dockerfile has said so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root"}
        self.arguments: dict[str, str] = {}
        self.folder = "/"
        self.user = "0:0"

    def run(self, command: list[str], folder: str | None = None) -> str:
        """Runs a command in it as the user of the moment; gives its standard output."""
        user, group = self.user.split(":")
        network = ("PIP_", "SSL_", "REQUESTS_")
        outside = {name: value for name, value in os.environ.items() if name.startswith(network)}
        line = f"cd {shlex.quote(folder or self.folder)} && exec {shlex.join(command)}"
        done = subprocess.run(
            ["chroot", f"--userspec={user}:{group}", "--groups=", self.path, "sh", "-c", line],
            env=outside | self.arguments | self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{shlex.join(command)} ended with {done.returncode}")
        return done.stdout

    def copy(self, words: list[str]) -> None:
        """COPY, of the source tree or of an earlier stage, which lies in the same root."""
        whence = self.path if words[0].startswith("--from") else SOURCE
        *sources, target = [word for word in words if not word.startswith("--")]
        place = self.path / os.path.join(self.folder, target).lstrip("/")  # noqa: PTH118
        for name in sources:
            source = whence / name.lstrip("/")
            if source == place:
                continue
            if source.is_dir():
                shutil.copytree(source, place, dirs_exist_ok=True)
            else:
                into = target.endswith("/") or len(sources) > 1
                (place if into else place.parent).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place / source.name if into else place)

    def follow(self, dockerfile: Path) -> tuple[list[str], list[str]]:
        """Carries out all steps; gives the health check and the entry point."""
        health: list[str] = []
        entry: list[str] = []
        text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
        for line in text.replace("\\\n", " ").splitlines():
            step, _, rest = line.partition(" ")
            if not step:
                continue
            print(line[:120], file=sys.stderr, flush=True)
            if step == "FROM":
                self.folder, self.user = "/", "0:0"
            elif step == "WORKDIR":
                self.folder = rest
                (self.path / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif step == "COPY":
                self.copy(rest.split())
            elif step == "RUN":
                self.run(["sh", "-c", rest])
            elif step in ("ENV", "ARG"):
                into = self.environment if step == "ENV" else self.arguments
                for pair in shlex.split(rest):
                    name, _, value = pair.partition("=")
                    into[name] = value.replace("$PATH", self.environment["PATH"])
            elif step == "USER":
                self.user = rest
                self.environment["HOME"] = "/nonexistent"
            elif step == "HEALTHCHECK":
                health = json.loads(rest.partition("CMD ")[2])
            elif step == "ENTRYPOINT":
                entry = json.loads(rest)
            elif step != "CMD":
                sys.exit(f"{step}: no such step here")
        return health, entry


def attempt(root: Root, dockerfile: Path) -> None:
    """Carries out a Dockerfile, then its health check and its entry point on a photo."""
    health, entry = root.follow(dockerfile)
    print(root.run(health))
    draw = (
        "import sys, numpy; from celebattr.data.synthetic import draw_face; "
        "draw_face({'Smiling'}, numpy.random.default_rng(0)).save(sys.stdout.buffer, 'PNG')"
    )
    place = root.path / "tmp/photo.png"
    with place.open("wb") as file:
        subprocess.run([sys.executable, "-c", draw], stdout=file, check=True, cwd=SOURCE)
    (row,) = map(json.loads, root.run([*entry, "predict", "/tmp/photo.png"]).splitlines())
    assert row["status"] == "ok" and "Smiling" in row["probabilities"], row
    output = "/tmp/rows.parquet"
    root.run([*entry, "predict", "/tmp/photo.png", "--output", output])
    owner = (root.path / output[1:]).stat()
    assert f"{owner.st_uid}:{owner.st_gid}" == root.user, owner
    print(f"{dockerfile.name}: health check, a prediction and a Parquet file, as {root.user}")


def main() -> None:
    """Carries out a Dockerfile and tries what it made."""
    path = Path(sys.argv[1])
    dockerfile = SOURCE / (sys.argv[2] if len(sys.argv) > 2 else "Dockerfile")
    for name in HOST:
        if Path(name).exists():
            (path / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, path / name[1:])
    python = path / "usr/local/bin/python"
    if not python.is_symlink():  # the base image has Python there
        python.symlink_to("/usr/bin/python3")
    for device in ("null", "urandom"):
        if not (path / "dev" / device).exists():
            sys.exit(f"{path}/dev has no {device}: make ROOT with debootstrap")
    subprocess.run(["mount", "-t", "proc", "proc", path / "proc"], check=True)
    try:
        attempt(Root(path), dockerfile)
    finally:
        subprocess.run(["umount", path / "proc"], check=True)


if __name__ == "__main__":
    main()
