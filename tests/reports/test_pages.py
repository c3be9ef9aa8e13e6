"""The pages as text; test_browser.py reads them as a browser does."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import re
import subprocess
import sys
from importlib import resources

import pytest

from celebattr.evaluation import html as evaluation
from celebattr.evaluation.report import EvalReport
from celebattr.reports import svg
from celebattr.reports.formatting import Made
from celebattr.reports.page import between, from_markdown, points, share
from celebattr.training import html as training

DASH, MINUS = "\u2013", "\u2212"

SECTIONS = {
    "curves",
    "calibration",
    "groups",
    "against",
    "logic",
    "robustness",
    "pointing",
    "published",
    "examples",
}


def text(page: str) -> str:
    """What a person reads, on one line."""
    page = re.sub(r"<(style|script|desc).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_templates_style_and_script_are_files_of_the_package() -> None:
    folder = resources.files("celebattr.reports")
    for name in ("base.html", "parts.html"):
        assert folder.joinpath(name).read_text("utf-8").strip()
    for room, name in (("evaluation",) * 2, ("training",) * 2, ("diagnosis.labels", "labels")):
        page = resources.files(f"celebattr.{room}").joinpath(f"{name}.html")
        assert page.read_text("utf-8").strip()
    assert "color-scheme" in folder.joinpath("page.css").read_text("utf-8")
    assert "aria-sort" in folder.joinpath("page.js").read_text("utf-8")


def test_every_part_has_its_section_and_an_empty_part_has_none(
    full_page: str, bare_page: str
) -> None:
    def sections(page: str) -> set[str]:
        return set(re.findall(r'<section id="(\w+)"', page))

    always = {"summary", "attributes", "card"}
    assert sections(full_page) == always | SECTIONS
    assert sections(bare_page) == always
    for page in (full_page, bare_page):  # and the list of sections agrees
        assert set(re.findall(r'<a href="#(\w+)">', page.split("</nav>")[0])) - {
            "main"
        } == sections(page)


def test_the_headline_stands_with_its_interval_and_floor(full_page: str) -> None:
    summary = text(full_page)
    assert "91.23 % 95 % interval 90.00 to 92.00" in summary
    assert "more frequent answer would get 80.00 %" in summary
    assert "400 test images of 120 people" in summary
    assert "split of my-faces" in summary
    assert "61.5 images per second" in summary
    for word in ("annotators", "Attractive", "Pale_Skin", "non-commercial"):
        assert word in summary


def test_undefined_figures_are_dashes(full_page: str) -> None:
    assert f"F1 {DASH} %" in text(full_page)
    row = re.search(
        r'<tr>\s*<th scope="row" data-value="5_o_Clock_Shadow">.*?</tr>', full_page, re.S
    )
    assert row is not None
    assert row[0].count(f'data-value="">{DASH}') == 4
    assert "nan" not in text(full_page).lower().split()


def test_where_people_are_not_known_the_page_says_what_that_means(bare_page: str) -> None:
    assert "who is shown is not known, so intervals are narrower" in text(bare_page)


def test_names_are_text_whatever_they_hold(full_report: EvalReport) -> None:
    evil = "<script>alert(1)</script>"
    row = dataclasses.replace(full_report.attributes[0], attribute=evil)
    report = dataclasses.replace(
        full_report,
        weights=evil,
        attributes=(row, *full_report.attributes[1:]),
        examples=tuple(dataclasses.replace(one, name=evil) for one in full_report.examples),
    )
    card = {"name": evil, "arch": "x", "precision": "int8", "attributes": [evil]}
    card |= {"preprocess": {"size": [1, 1]}, "calibrated_on": "", "unsure_below": 0.7}
    page = evaluation.page(
        report,
        card | {"created": "", "versions": {}, "trained_on": {}, "metrics": {}},
        Made("now", ["celebattr 1"], evil),
    )
    assert "<script>alert" not in page
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;alert") > 5


def test_only_the_page_s_own_script_may_run_and_nothing_is_loaded(full_page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', full_page)
    script = re.search(r"<script>(.*?)</script>", full_page, re.S)
    assert policy is not None and script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]


def test_pages_are_the_same_every_time(full_report: EvalReport, full_page: str) -> None:
    from celebattr.evaluation.html import charts

    for name, chart in charts(full_report).items():
        assert str(chart) in full_page, name


def test_ids_are_given_once_and_references_lead_somewhere(
    full_page: str, training_page: str
) -> None:
    for page in (full_page, training_page):
        ids = re.findall(r'\bid="([^"]*)"', page)
        assert len(ids) == len(set(ids))
        used = re.findall(r'(?:url\(#|href="#)([^")]*)', page)
        used += [one for ref in re.findall(r'labelledby="([^"]*)"', page) for one in ref.split()]
        assert set(used) <= set(ids)


def test_ticks_are_exact_and_coordinates_are_short() -> None:
    curve = svg.Line([(1.0, 0.00031), (2.0, 0.00012)])
    chart = str(svg.lines("rate", "Rate", "By epoch", [curve], x="epoch", y="rate", height=150))
    ticks = re.findall(r">(0\.\d+)</text>", chart)
    assert len(set(ticks)) == len(ticks) >= 3
    assert all(0.0001 <= float(tick) <= 0.0004 for tick in ticks)
    assert not re.search(r"\d\.\d{3}", "".join(re.findall(r' d="([^"]*)"', chart)))
    assert "#0" not in chart  # every colour is the style sheet's


def test_names_with_dollars_are_no_formulas() -> None:
    chart = str(svg.dots("a", "A", "b", [svg.Dot("x_$2$ & <y>", 0.5, (0.4, 0.6), 0.3)], x="%"))
    assert "x_$2$ &amp; &lt;y&gt;" in chart


def test_the_model_card_comes_as_html_below_the_page_s_headings() -> None:
    html_ = str(from_markdown("# A\n\n## B\n\n<b>x</b>\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"))
    assert "<h3>A</h3>" in html_
    assert "<h4>B</h4>" in html_
    assert "&lt;b&gt;" in html_
    assert 'tabindex="0" role="region"' in html_


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.12345, "+12.35"), (-0.5, f"{MINUS}50.00"), (-0.00001, f"{MINUS}0.00"), (None, DASH)],
)
def test_differences_have_a_sign(value: float | None, written: str) -> None:
    assert points(value) == written


def test_shares_are_in_percent() -> None:
    assert (share(0.5), share(None), share(float("nan"))) == ("50.00", DASH, DASH)
    assert between((-0.1, 0.2)) == f"{MINUS}10.00 to 20.00"
    assert between(None) == ""


def test_a_run_s_page_says_how_far_it_is_and_what_is_best(training_page: str) -> None:
    words = text(training_page)
    assert "run <1>" in words
    assert "Done: 4 epochs" in words
    assert "62.00 % On validation, after epoch 3" in words
    assert "freeze backbone no" in words
    assert f"lr {DASH}" in words
    assert "Examples of errors" in words


def test_a_run_s_page_under_way_has_no_examples(full_report: EvalReport) -> None:
    row = {"epoch": 1, "step": 3, "image_size": "8x8", "train_loss": 0.7, "validation_loss": 0.6}
    row |= {"validation_mean_attribute_accuracy": 0.5, "validation_mean_average_precision": None}
    row |= {"lr": 0.0, "images_per_second": 3.0, "seconds": 1.0}
    page = training.page(
        [row], name="r", epochs=3, recipe={}, device="CPU", made=Made("now", ["x 1"], "drawn")
    )
    assert "Epoch 1 of 3 is done" in text(page)
    assert "Examples" not in text(page)
    assert "Best mean average precision" not in text(page)


def test_pages_need_neither_torch_nor_pillow() -> None:
    code = (
        "import sys, celebattr.evaluation.html, celebattr.training.html; "
        "print({'PIL.Image', 'torch', 'rich', 'typer', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("set()", "{'PIL.Image'}")  # matplotlib brings Pillow
