"""Evaluates a bundle, with its HTML page and its card: under `celebattr evaluate` and the API."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from celebattr.errors import MissingExtraError, UsageError
from celebattr.evaluation.config import EvaluateConfig
from celebattr.evaluation.report import EvalReport
from celebattr.io.files import check_target, temporary_beside, write_text
from celebattr.models import bundle, weights
from celebattr.options import Location, Url

_EXAMPLES = 12  # of each kind on the page, where nothing else is asked for


def run(
    config: EvaluateConfig,
    *,
    page: Path | None = None,
    write_card: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> EvalReport:
    """Measure a bundle on a split.

    Args:
        config: what to evaluate, and on what.
        page: the HTML page to write.
        write_card: also write the figures into the bundle's own card.
        on_progress: told of images done and their total.
        notice: told one line at a time what was decided about the images; else it is logged.

    Raises:
        UsageError: there is no data, or no bundle whose card to change; the page is not HTML.
        DataError: the page exists and `config.overwrite` is not set.
        MissingExtraError: a library is missing.
        DataError, WeightsError, DeviceError: see `celebattr.evaluation.evaluate.evaluate`.
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    if write_card and config.weights is None:
        raise UsageError("--write-card changes a bundle: name it with --weights")
    check_target(page, overwrite=config.overwrite)
    temporary_beside(page or config.weights or "")  # before matplotlib is imported
    try:
        from celebattr.evaluation.evaluate import evaluate

        if page is not None:
            config = _with_page(config, page)
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "train") from error
    report = evaluate(config, on_progress, *([notice] if notice else []))
    if write_card:
        from celebattr.evaluation.model_card import record

        record(weights.bundle_file(config.weights), report)
    if page is not None:
        write_text(page, _page(report, config))
    return report


def _with_page(config: EvaluateConfig, page: Path) -> EvaluateConfig:
    """Ask for what the page shows, where nothing else is asked for.

    Raises:
        ModuleNotFoundError: what makes the page is not installed; better now than after the work.
    """
    import celebattr.evaluation.html  # noqa: F401

    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {page}: the page is HTML, so name it FILE.html")
    if config.examples is None:
        config = dataclasses.replace(config, examples=_EXAMPLES)
    return dataclasses.replace(config, curves=True)


def _name(place: Location) -> str:
    return place.name if isinstance(place, Url) else place.resolve().name


def _page(report: EvalReport, config: EvaluateConfig) -> str:
    """The text of the page."""
    from celebattr.evaluation import html
    from celebattr.reports.formatting import made

    # Names of folders, not paths: a page may be passed on.
    data = ", ".join(_name(path) for path in config.data)
    card = bundle.card_of(weights.bundle_file(config.weights))
    return html.page(report, json.loads(card.to_json()), made(data))
