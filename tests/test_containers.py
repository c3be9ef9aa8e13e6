"""What can be said of images, manifests and workflows where none runs; see deploy/check.py too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from celebattr.data import synthetic

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")


def tool(name: str) -> str:
    """A program of a package of the extra `dev`."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"{name} is not installed"
    return found


def checked(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_linter_has_nothing_to_say(name: str) -> None:
    assert checked(tool("hadolint"), "--failure-threshold", "style", name) == ""


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_nobody_and_copies_what_is_sent_to_the_builder(name: str) -> None:
    text = (ROOT / name).read_text()
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["celebattr"]' in last and "HEALTHCHECK" in last
    sent = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    joined = text.replace("\\\n", " ")
    for line in re.findall(r"^COPY (?!--from)(.*)$", joined, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.partition("/")[0] in sent, source


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_installs_is_pinned_by_hash(name: str) -> None:
    text = (ROOT / name).read_text()
    (file,) = re.findall(r"^COPY (deploy/\S+) /wheels/$", text, re.MULTILINE)
    assert f"--require-hashes \\\n        --requirement /wheels/{Path(file).name}" in text
    pins = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    groups = [project["optional-dependencies"][extra] for extra in asked.split(",")]
    wanted = {
        re.split("[=<>[]", one)[0] for group in (project["dependencies"], *groups) for one in group
    }
    assert wanted <= {pin.partition("==")[0] for pin in pins}


def test_no_image_is_the_latest() -> None:
    for path in [*map(ROOT.joinpath, DOCKERFILES), *(ROOT / "deploy").glob("*.yaml")]:
        for image in re.findall(r"^\s*(?:FROM|image:|ARG PYTHON=)\s*(\S+)", path.read_text(), re.M):
            assert image == "${PYTHON}" or re.search(r":\d", image), (path, image)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_asks_for_extras_that_there_are(name: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = re.findall(r"^ARG EXTRAS=(\S+)$", (ROOT / name).read_text(), re.MULTILINE)
    assert set(asked.split(",")) <= set(extras["optional-dependencies"])


def test_the_indexed_job_is_what_kubernetes_takes() -> None:
    said = checked(tool("kubernetes-validate"), "--strict", "deploy/kubernetes.yaml")
    assert said.count("passed") == 3


def test_the_compose_file_is_what_compose_takes() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    checked(tool("check-jsonschema"), *schema, "deploy/compose.yaml")


@pytest.mark.parametrize("kind", ["workflows/*.yml", "ISSUE_TEMPLATE/[!c]*.yml"])
def test_the_workflow_and_the_issue_forms_are_what_github_takes(kind: str) -> None:
    schema = {"w": "vendor.github-workflows", "I": "vendor.github-issue-forms"}[kind[0]]
    files = [str(path) for path in (ROOT / ".github").glob(kind)]
    assert files
    checked(tool("check-jsonschema"), "--builtin-schema", schema, *files)


def test_the_workflow_makes_what_the_makefile_has() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    asked = set(re.findall(r"^make (\w+)$", "\n".join(steps), re.MULTILINE))
    assert asked == {"lint", "minimum", "docs"}
    assert asked <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_job_scores_and_merges_what_its_commands_say(tmp_path: Path) -> None:
    """Its own shell line, on two shards, and then its own merge."""
    _, score, merge = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
    photos, rows = tmp_path / "photos", tmp_path / "rows"
    photos.mkdir()
    rows.mkdir()
    face = synthetic.draw_face({"Smiling"}, np.random.default_rng(0))
    for number in range(3):
        face.save(photos / f"{number}.png")
    (photos / "3.png").write_bytes(b"no image")

    def run(container: dict[str, Any], more: dict[str, str]) -> None:
        """A container of the job, with this machine's folder for its volume."""
        command = container.get("command") or ["celebattr", *container["args"]]
        command = [re.sub("(?<![a-z])/rows", str(rows), part) for part in command]
        place = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
        given = {entry["name"]: entry["value"] for entry in container.get("env", [])}
        done = subprocess.run(
            command,
            env=os.environ | {"PATH": place, "PYTHONPATH": str(ROOT)} | given | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    (container,) = score["spec"]["template"]["spec"]["containers"]
    shards = {entry["name"]: entry["value"] for entry in container["env"]}["SHARDS"]
    assert int(shards) == score["spec"]["completions"]
    for index in range(2):
        run(
            container,
            {"PHOTOS": str(photos), "SHARDS": "2", "JOB_COMPLETION_INDEX": str(index)},
        )
    (container,) = merge["spec"]["template"]["spec"]["containers"]
    run(container, {})
    pq = pytest.importorskip("pyarrow.parquet")
    statuses = pq.read_table(rows / "rows.parquet").column("status").to_pylist()
    assert statuses == ["ok", "ok", "ok", "unreadable"]
