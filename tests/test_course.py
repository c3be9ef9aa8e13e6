"""docs/course: its commands are ones, its links lead somewhere, its filters filter."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from celebattr.cli.app import app

COURSE = Path(__file__).parent.parent / "docs" / "course"
PAGE = (COURSE / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    celebattr ([^#\n]+)", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_has_options_that_there_are(command: str) -> None:
    # An unknown option is an error before --help is looked at.
    result = CliRunner().invoke(app, [*shlex.split(command), "--help"])
    assert result.exit_code == 0, result.output


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert len(links) > 10
    assert [link for link in links if not (COURSE / link).is_file()] == []


def test_the_hand_made_filters_blur_and_find_edges() -> None:
    script = runpy.run_path(str(COURSE / "pictures.py"))
    flat = torch.full((9, 9), 50.0)
    step = flat.clone()
    step[:, 5:] = 90.0
    torch.testing.assert_close(script["filtered"](flat, script["BLUR"]), flat[1:-1, 1:-1])
    assert not script["filtered"](flat, script["EDGES"]).any()
    blurred = script["filtered"](step, script["BLUR"])
    assert blurred[0].tolist() == [50.0, 50.0, 50.0, 60.0, 80.0, 90.0, 90.0]
    edges = script["filtered"](step, script["EDGES"])
    assert edges[0].tolist() == [0.0, 0.0, 0.0, -120.0, 120.0, 0.0, 0.0]
