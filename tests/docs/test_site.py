"""The documentation site: it builds, and what its pages link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]


class Page(HTMLParser):
    """The addresses and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.anchors |= {values[key] or "" for key in ("id", "name") if key in values}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        for key in ("src", "href"):
            if tag in {"img", "script", "link", "source"} and values.get(key):
                self.loaded.append(values[key] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    pytest.importorskip("zensical")
    out = tmp_path_factory.mktemp("site")
    script = ROOT / "docs" / "build_site.py"
    done = subprocess.run(
        [sys.executable, str(script), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = (out / "site").rglob("*.html")
    return {path: Page(path) for path in pages if path.name != "404.html"}


def test_every_link_leads_to_a_file_and_an_anchor_of_the_site(site: dict[Path, Page]) -> None:
    wrong = []
    for path, page in site.items():
        for link in page.links + page.loaded:
            address = urlsplit(link)
            if address.scheme:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(address.fragment)
            there = site[target].anchors if target in site else set()
            if not target.exists() or (anchor and anchor not in there and target in site):
                wrong.append(f"{path.name}: {link}")
    assert wrong == []


def test_the_site_loads_nothing_from_elsewhere(site: dict[Path, Page]) -> None:
    loaded = {link for page in site.values() for link in page.loaded}
    assert loaded
    assert {link for link in loaded if urlsplit(link).netloc} == set()


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "docs/zensical.toml").read_text(encoding="utf-8")
    assert [p.name for p in ROOT.glob("docs/*.md") if f'"docs/{p.name}"' not in menu] == []


def test_pages_notebooks_code_and_formulas_are_in_it(site: dict[Path, Page]) -> None:
    pages = {"/".join(path.parts[-2:]): page for path, page in site.items()}
    for source in [*ROOT.glob("docs/*.md"), ROOT / "docs/course/LISEZMOI.md"]:
        assert f"{source.parent.name}/{source.stem}.html" in pages
    assert "math" in pages["course/LISEZMOI.html"].tags & pages["course/index.html"].tags
    for name in ("index", "LISEZMOI"):  # a formula at the start of a line would end the list
        (path,) = (path for path in site if path.parts[-2:] == ("course", f"{name}.html"))
        steps = re.search(r"<ol>(.*?)</ol>", path.read_text(encoding="utf-8"), re.DOTALL)
        assert steps is not None and steps[1].count("<li>") == 7
    assert "img" in pages["course/notebook.ipynb.html"].tags
    assert "img" in pages["notebooks/photos.ipynb.html"].tags
    assert "pre" in pages["course/equations.py.html"].tags
