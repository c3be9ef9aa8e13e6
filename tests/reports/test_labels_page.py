from __future__ import annotations

import base64
import dataclasses
from html.parser import HTMLParser
from urllib.parse import quote

from celebattr.diagnosis.labels import report as writers
from celebattr.diagnosis.labels.report import LabelReport
from celebattr.reports.formatting import Made

MADE = Made("2026-01-02 03:04 UTC", ["celebattr 0.1.0"], "my-faces")


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


def test_names_are_text_whatever_they_hold(labels_page: str, label_report: LabelReport) -> None:
    page = Page(labels_page)
    assert len(page.all("script")) == 1  # the page's own
    evil = label_report.data
    assert "<script>" in evil
    assert evil in page.text
    assert [image["alt"] for image in page.all("img")] == [evil, "b.jpg"]
    assert "contradicts <No_Beard>" in page.text
    assert "Mind <this>." in page.text


def test_pictures_are_inside_and_as_they_were(labels_page: str, label_report: LabelReport) -> None:
    images = Page(labels_page).all("img")
    src = images[0]["src"] or ""
    assert base64.b64decode(src.partition("base64,")[2]) == label_report.suspects[0].jpeg
    assert {(image["width"], image["height"]) for image in images} == {("110", "134")}


def test_an_attribute_has_a_heading_where_pictures_are_and_a_link_that_leads_to_it(
    labels_page: str, label_report: LabelReport
) -> None:
    page = Page(labels_page)
    smiling, odd, young = (one.attribute for one in label_report.estimates)
    assert [heading["id"] for heading in page.all("h3")] == [smiling, odd]
    assert quote(odd) != odd
    links = [link["href"] for link in page.all("a")]
    assert links[-2:] == [f"#{smiling}", "#" + quote(odd)]  # the third has none to show
    assert young in page.text
    assert "1 of 2" in page.text


def test_nobody_is_certain(labels_page: str) -> None:
    assert "by the network under 1\N{NO-BREAK SPACE}%" in Page(labels_page).text


def test_a_report_without_suspects_is_a_page_too(label_report: LabelReport) -> None:
    page = Page(writers.page(dataclasses.replace(label_report, suspects=()), MADE))
    assert page.all("h3") == page.all("img") == []
    assert len(page.all("tr")) == 4
