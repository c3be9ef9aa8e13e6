"""docs/course: its commands are ones, its links lead somewhere, its filters filter."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from celebattr.cli.app import app

COURSE = Path(__file__).parent.parent / "docs" / "course"
PAGE, FRENCH = (
    (COURSE / name).read_text(encoding="utf-8") for name in ("README.md", "LISEZMOI.md")
)
COMMANDS = re.findall(r"^    celebattr ([^#\n]+)", PAGE, re.MULTILINE)
INLINE = re.compile(r"\$[^$\n]+\$")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_has_options_that_there_are(command: str) -> None:
    # An unknown option is an error before --help is looked at.
    result = CliRunner().invoke(app, [*shlex.split(command), "--help"])
    assert result.exit_code == 0, result.output


def test_the_french_page_has_the_same_commands_formulas_files_and_figures() -> None:
    assert re.findall(r"^    celebattr ([^#\n]+)", FRENCH, re.MULTILINE) == COMMANDS
    formulas, files = r"```math\n(.*?)```", r"\]\(([^)#]+\.(?:py|png|ipynb))\)"
    for pattern in (formulas, files, r"^\[\w+\]: ([^\n]+)$"):
        found = re.findall(pattern, PAGE, re.DOTALL | re.MULTILINE)
        assert found
        assert re.findall(pattern, FRENCH, re.DOTALL | re.MULTILINE) == found
    figures = re.findall(r"\b\d\d\.\d\d\b", PAGE)
    assert len(figures) > 30
    assert [f.replace(",", ".") for f in re.findall(r"\b\d\d,\d\d\b", FRENCH)] == figures


@pytest.mark.parametrize("page", [PAGE, FRENCH], ids=["english", "french"])
def test_links_lead_to_files_and_sections(page: str) -> None:
    # GitHub's anchors: lower case, letters of any language, hyphens for spaces.
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)]+)\)", page) + re.findall(r"^\[\w+\]: (.+)$", page, re.MULTILINE)
    assert len(links) > 30
    files = [link for link in links if not link.startswith("#")]
    assert [link for link in files if not (COURSE / link).is_file()] == []
    sections = {link[1:] for link in links if link.startswith("#")}
    assert len(sections) == 15
    assert sections <= anchors


@pytest.mark.parametrize("page", [PAGE, FRENCH], ids=["english", "french"])
def test_markdown_leaves_the_formulas_as_they_are(page: str) -> None:
    """GitHub reads $...$ after Markdown: an underscore must not have become emphasis."""
    formulas = INLINE.findall(re.sub(r"```math\n.*?```", "", page, flags=re.DOTALL))
    assert len(formulas) > 20
    assert [line for line in page.splitlines() if line.count("$") % 2] == []  # none is cut in two
    blocks = [token.children or () for token in MarkdownIt().enable("table").parse(page)]
    kept = [f for block in blocks for token in block for f in INLINE.findall(token.content)]
    assert kept == formulas


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
