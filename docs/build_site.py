"""Build the documentation site: `make docs`, or `python docs/build_site.py [--out build/docs]`.

Zensical is the successor of Material for MkDocs by the same makers, who end Material in May 2027.
Both were tried on these pages (0.0.73 and 9.8.2): either looks the same, takes a second, and in its
strict mode refuses links to pages and sections that do not exist. Material also refuses links to
other missing files; for Zensical tests/docs/test_site.py reads the built pages.

The site's tree is that of the repository, so that links work in both. Files of code that a page
links to become pages, notebooks become pages with their outputs, and formulas become MathML, which
browsers show without a script: the site loads nothing from elsewhere.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/**/*.md", "docs/**/*.ipynb", "weights/*.md", "benchmarks/*.md")
LINK = re.compile(r"(\]\(|^\[\w+\]: )([^)\s#]+)", re.MULTILINE)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "sh"}


def stage(out: Path) -> None:
    """Copy all pages, and what they link to, to `out`, where Zensical reads them."""
    waiting = [page for pattern in PAGES for page in sorted(ROOT.glob(pattern))]
    done: set[Path] = set()
    while waiting:
        source = waiting.pop()
        if source in done:
            continue
        done.add(source)
        target = out / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        page = target if source.suffix == ".md" else target.with_name(source.name + ".md")
        if source.is_dir():
            page = target / "README.md"
            target.mkdir(exist_ok=True)
            files = sorted(p for p in source.iterdir() if p.suffix in LANGUAGES)
            text = f"# {source.name}\n\n" + "".join(f"- [{p.name}]({p.name})\n" for p in files)
        elif source.suffix in LANGUAGES:
            code = source.read_text(encoding="utf-8")
            text = f"# {source.name}\n\n````{LANGUAGES[source.suffix]}\n{code}````\n"
            page.write_text(text, encoding="utf-8")  # links in code are none
            continue
        elif source.suffix == ".ipynb":
            text = notebook(json.loads(source.read_text(encoding="utf-8")), target)
        elif source.suffix == ".md":
            text = source.read_text(encoding="utf-8")
        else:
            shutil.copyfile(source, target)
            continue
        if "```math" in text:
            text = formulas(text)
        page.write_text(LINK.sub(partial(_link, source, waiting), text), encoding="utf-8")


def _link(source: Path, waiting: list[Path], match: re.Match[str]) -> str:
    """A link as it is in the site, whose file is staged too."""
    before, link = match.groups()
    file = Path(os.path.normpath((source if source.is_dir() else source.parent) / link))
    if ":" in link or file.suffix == ".md" or not file.exists():
        return match.group()
    if not (file / "README.md").exists():
        waiting.append(file)
    if file.is_dir():
        return f"{before}{link}/README.md"
    return match.group() + (".md" if file.suffix in {*LANGUAGES, ".ipynb"} else "")


def formulas(page: str) -> str:
    """The page with MathML in place of GitHub's ```math blocks and $...$."""
    page = re.sub(
        r"```math\n(.*?)```", lambda m: f"<div>{convert(m[1], display='block')}</div>", page,
        flags=re.DOTALL,
    )  # fmt: skip
    return re.sub(r"(?<!\$)\$([^$\n]+)\$", lambda m: convert(m[1]), page)


def notebook(content: dict[str, list[dict[str, object]]], target: Path) -> str:
    """A notebook as Markdown, its pictures as files beside `target`."""
    parts: list[str] = []
    for number, cell in enumerate(content["cells"]):
        source = "".join(cell["source"])  # type: ignore[arg-type]
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):  # type: ignore[attr-defined]
            data = output.get("data", {})
            text = "".join(output.get("text", data.get("text/plain", "")))
            if "image/png" in data:
                picture = target.with_name(f"{target.stem}-{number}.png")
                picture.write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![Output of the cell above]({picture.name})")
            elif text:
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Build the site; ends with 1 if a link leads nowhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    out = parser.parse_args().out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    stage(out / "pages")
    shutil.copyfile(ROOT / "docs" / "zensical.toml", out / "zensical.toml")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    subprocess.run(command, check=True, cwd=out)
    print(out / "site" / "index.html")


if __name__ == "__main__":
    main()
