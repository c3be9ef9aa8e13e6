"""`celebattr calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import command, progress_bar
from celebattr.cli.streams import say
from celebattr.errors import needs
from celebattr.evaluation.config import CalibrateConfig
from celebattr.options import DECISIONS


@command("Data", DECISIONS)
def calibrate(
    weights: Annotated[str, typer.Argument(help="A bundle: a file, a run folder or a name.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Bundle to write.",
            show_default="the bundle itself",
            rich_help_panel="Output",
        ),
    ] = None,
    config: CalibrateConfig,
) -> None:
    """Fit scales and thresholds of a bundle to your own labels, without training.

    Attributes with fewer than 10 images on one side keep what they have.

    Examples:
        $ celebattr calibrate accurate --data mine/ --output mine.onnx
        $ celebattr calibrate runs/first --data mine/ --operating-point precision=0.9
    """
    with needs("train"):
        from celebattr.evaluation.recalibrate import calibrate as run
    with progress_bar("calibrating") as show:
        done = run(weights, config, output, on_progress=show, notice=say)
    if done.kept:
        say(f"kept       {len(done.kept)} as before, too few labels: {', '.join(done.kept)}")
    say(f"calibrated {len(done.calibrated)} on {done.after.images:,} images; over these:")
    for name, title in (
        ("mean_attribute_accuracy", "accuracy"),
        ("mean_balanced_accuracy", "balanced accuracy"),
        ("mean_f1", "F1"),
        ("mean_expected_calibration_error", "calibration error"),
    ):
        before, after = (100 * (getattr(r, name) or 0.0) for r in (done.before, done.after))
        say(f"           {title} {before:.2f} -> {after:.2f} %")
    typer.echo(done.path)
