from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser

from celebattr.reports.label_sheet import sheet
from celebattr.results.labels import LabelEstimate, LabelReport, Suspect

JPEG = b"\xff\xd8\xff\xe0not really\xff\xd9"
EVIL = "\"><script>alert('x')</script>&.jpg"
ODD = 'Rosy <Cheeks> & "co"'


def suspect(image: str, attribute: str, rank: int, jpeg: bytes | None = JPEG) -> Suspect:
    return Suspect(image, "test", attribute, True, 0.001, 0.999, rank, ("the network",), jpeg)


REPORT = LabelReport(
    data=EVIL,
    source="some.onnx",
    images={"test": 10},
    people=3,
    estimates=tuple(
        LabelEstimate(name, "test", 10, 5, 0.2, (0.0, 0.4), 0.1, 0.1, 2)
        for name in ("Smiling", ODD, "Young")
    ),
    suspects=(
        suspect(EVIL, "Smiling", 1),
        dataclasses.replace(suspect("b.jpg", ODD, 1), reasons=("contradicts <No_Beard>",)),
        suspect("unseen.jpg", "Smiling", 2, None),
    ),
    contradictions={},
    duplicates=None,
    notes=("Mind <this>.",),
)


class Page(HTMLParser):
    """Its tags, in order, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_names_are_text_whatever_they_hold() -> None:
    text = sheet(REPORT)
    page = Page(text)
    assert page.all("script") == []
    assert EVIL in page.text
    assert [image["alt"] for image in page.all("img")] == [EVIL, "b.jpg"]
    assert "contradicts <No_Beard>" in page.text
    assert "Mind <this>." in page.text


def test_the_page_asks_nothing_of_any_server() -> None:
    text = sheet(REPORT)
    page = Page(text)
    for name in ("link", "script", "iframe", "object", "form", "base"):
        assert page.all(name) == []
    assert all(
        (image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.all("img")
    )
    assert not re.search(r"https?://|//\w|@import|url\(", re.sub(r"base64,\S+", "", text))
    policy = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_are_inside_and_as_they_were() -> None:
    images = Page(sheet(REPORT)).all("img")
    src = images[0]["src"] or ""
    assert base64.b64decode(src.partition("base64,")[2]) == JPEG
    assert {(image["width"], image["height"]) for image in images} == {("110", "134")}


def test_an_attribute_has_a_section_where_pictures_are_and_a_link_that_leads_to_it() -> None:
    page = Page(sheet(REPORT))
    assert [heading["id"] for heading in page.all("h2")] == ["Smiling", ODD]
    assert len(page.all("a")) == 2  # Young has none to show
    assert page.all("a")[0]["href"] == "#Smiling"
    assert "1 of 2" in page.text


def test_the_page_is_for_light_and_dark_and_for_narrow_windows() -> None:
    text = sheet(REPORT)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert "auto-fill" in text
    assert "overflow-x: auto" in text


def test_nobody_is_certain() -> None:
    assert "by the network under 1\N{NO-BREAK SPACE}%" in Page(sheet(REPORT)).text


def test_a_report_without_suspects_is_a_page_too() -> None:
    page = Page(sheet(dataclasses.replace(REPORT, suspects=())))
    assert page.all("h2") == page.all("img") == []
    assert len(page.all("tr")) == 4
