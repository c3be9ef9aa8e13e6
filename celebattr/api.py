"""The functions of `import celebattr`: the commands, as Python calls.

The keyword options of a function are the options of its command: the fields of its config, with
underscores, as `help()` lists them.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from celebattr.constants import Progress
from celebattr.data.shards.config import PackConfig
from celebattr.diagnosis.config import DoctorConfig
from celebattr.errors import needs
from celebattr.evaluation.config import CalibrateConfig, EvaluateConfig
from celebattr.inference.config import ExportConfig, PredictConfig, ScoreOptions
from celebattr.inference.run import Summary
from celebattr.io.files import StrPath, paths_of
from celebattr.models.weights import SPEEDS
from celebattr.options import Location, from_keywords
from celebattr.training.config import TrainConfig, read_config

if TYPE_CHECKING:
    from celebattr.diagnosis.labels.report import LabelReport
    from celebattr.diagnosis.report import DoctorReport
    from celebattr.evaluation.recalibrate import Calibration
    from celebattr.evaluation.report import EvalReport
    from celebattr.model import Model
    from celebattr.training.callbacks import Listener

F = TypeVar("F", bound=Callable[..., Any])
Data = str | Path | Sequence[str | Path]
"""A data set, a folder or a URL, or several."""


def options_of(*configs: type) -> Callable[[F], F]:
    """Show the fields of configs in place of **options, in `help()` and in notebooks."""

    def wrap(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        names = {p.name for p in own} | {"speed"}  # `weights` takes its values
        fields = [field for config in configs for field in dataclasses.fields(config)]
        keyword = inspect.Parameter.KEYWORD_ONLY
        own += [
            inspect.Parameter(f.name, keyword, default=f.default, annotation=f.type)
            for f in fields
            if f.name not in names
        ]
        function.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
        return function

    return wrap


@options_of(PredictConfig)
def load(weights: StrPath = "accurate", **options: Any) -> Model:
    """Load a model.

    Args:
        weights: "accurate", "fast", the path of a bundle, or a run folder.
        **options: those of `celebattr predict`: faces="all", device, operating_point, ...

    Raises:
        UsageError, WeightsError, DeviceError: an option is not possible, or the bundle.
    """
    from celebattr.model import Model

    return Model(_predict_config(weights, options))


@options_of(ScoreOptions, PredictConfig)
def score(
    inputs: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    weights: StrPath = "accurate",
    notice: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Summary:
    """Score photos into a file, as `celebattr predict --output` does.

    Args:
        inputs: photos, folders, globs, archives, lists or URLs.
        output: a file in jsonl, json, csv or parquet; with engine="ray", a folder or URL.
        weights: as `load` takes them.
        notice: told one line at a time what the command prints on standard error.
        **options: those of `celebattr predict`: resume, shard, annotate, faces, ...

    Returns:
        How many inputs and faces there are, and how many inputs failed.

    Raises:
        TooManyFailuresError: more than `max_failures` inputs failed.
        UsageError, DataError, WeightsError, DeviceError: see `celebattr.inference.run.score`.
    """
    from celebattr.inference.run import score as run

    names = [field.name for field in dataclasses.fields(ScoreOptions)]
    how = from_keywords(ScoreOptions, {n: options.pop(n) for n in names if n in options})
    config = _predict_config(weights, options, names)
    return run(paths_of(inputs), os.fspath(output), config, how, notice=notice)


@options_of(TrainConfig)
def train(
    data: Data = (),
    output: StrPath | None = None,
    *,
    config: StrPath | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Path:
    """Train a network on CelebA or on your own attributes.

    Args:
        data: data sets to join.
        output: the run folder; runs/train without it.
        config: config.json of a run, whose settings hold where no other is given.
        listener: told of steps and epochs; without it, they are logged.
        **options: those of `celebattr train`: epochs, arch, lr, ...

    Returns:
        The path of the best bundle, for `load`; with `folds`, of out-of-fold probabilities.

    Raises:
        UsageError, DataError, WeightsError, DeviceError: see `celebattr.training.loop.train`.
    """
    from celebattr.io.files import temporary_beside

    given = {name: value for name, value in (("data", data), ("output", output)) if value}
    written = read_config(Path(config)) if config else {}
    chosen = from_keywords(TrainConfig, written | given | options)
    temporary_beside(chosen.output)  # before matplotlib is imported
    with needs("train"):
        from celebattr.training.folds import train as run
    return run(chosen, listener)


@options_of(EvaluateConfig)
def evaluate(
    weights: StrPath | None,
    data: Data,
    *,
    report: StrPath | None = None,
    write_card: bool = False,
    on_progress: Progress | None = None,
    **options: Any,
) -> EvalReport:
    """Measure a bundle on a labelled split, attribute by attribute.

    Args:
        weights: as `load` takes them; None is the default.
        data: data sets to join.
        report: HTML page to write.
        write_card: also write the figures into the bundle's own card.
        on_progress: told of images done and their total.
        **options: those of `celebattr evaluate`: split, slices, against, ...

    Raises:
        UsageError, DataError, WeightsError, DeviceError: see `celebattr.evaluation.evaluate`.
    """
    from celebattr.evaluation.run import run

    config = from_keywords(EvaluateConfig, {"weights": weights, "data": data, **options})
    page = Path(report) if report else None
    return run(config, page=page, write_card=write_card, on_progress=on_progress)


@options_of(CalibrateConfig)
def calibrate(
    weights: StrPath,
    data: Data,
    output: StrPath | None = None,
    *,
    on_progress: Progress = lambda done, total: None,
    **options: Any,
) -> Calibration:
    """Fit scales and thresholds of a bundle to labelled images, without training.

    Args:
        weights: a bundle, as `load` takes it.
        data: data sets to join.
        output: the bundle to write, of the same format; without it, the bundle itself.
        on_progress: told of images done and their total.
        **options: those of `celebattr calibrate`: split, operating_point, ...

    Raises:
        UsageError, DataError, WeightsError, DeviceError: see `celebattr.evaluation.recalibrate`.
    """
    config = from_keywords(CalibrateConfig, {"data": data, **options})
    with needs("train"):
        from celebattr.evaluation.recalibrate import calibrate as run
    return run(os.fspath(weights), config, Path(output) if output else None, on_progress)


@options_of(ExportConfig)
def export(weights: StrPath, output: StrPath | None = None, **options: Any) -> Path:
    """Write a bundle as ONNX, with its card inside: for onnxruntime, without torch.

    Args:
        weights: a bundle, as `load` takes it: safetensors, but for `hub` and `seal`.
        output: the file to write; without it, beside the bundle.
        **options: those of `celebattr export`: int8 with data, half, overwrite; hub, a folder to
            upload to Hugging Face's hub; seal, for what an optimiser rewrote.

    Returns:
        The file or folder that was written.

    Raises:
        UsageError: options that exclude each other; int8 without data.
        DataError: the file exists.
        WeightsError, MissingExtraError: see `celebattr.inference.export`.
    """
    from celebattr.data.layouts.load import load_dataset
    from celebattr.inference import export as exporting
    from celebattr.models.weights import bundle_file

    config = from_keywords(ExportConfig, {"output": output, **options})
    source, calibration = bundle_file(os.fspath(weights)), None
    if config.hub is not None:
        from celebattr.evaluation.model_card import hub_folder

        return hub_folder(source, config.hub)
    if config.seal:
        exporting.seal(source, config.output or source)
        return config.output or source
    if config.int8:
        calibration = load_dataset(config.data).split("validation", config.calibration_images)
    name = f"{source.stem}{'-int8' * config.int8}{'-half' * config.half}.onnx"
    target = config.output or source.with_name(name)
    overwrite = config.overwrite
    exporting.export(source, target, calibration=calibration, half=config.half, overwrite=overwrite)
    return target


def merge(
    parts: Sequence[StrPath],
    output: StrPath,
    *,
    overwrite: bool = False,
    notice: Callable[[str], None] = lambda text: None,
) -> dict[str, int]:
    """Join the parts of a sharded run into what one run would have written.

    Args:
        parts: the outputs of all shards, in any order, or a folder of them.
        output: the file to write.
        overwrite: replace a file that exists.
        notice: told one line at a time what the command prints on standard error.

    Returns:
        Inputs, and rows by status.

    Raises:
        UsageError, DataError: parts are missing, changed or of several runs; the output exists.
    """
    from celebattr.inference.output.merge import merge as run

    paths = [Path(part) for part in parts]
    return dict(run(paths, Path(output), overwrite=overwrite, notice=notice).counts)


@options_of(PackConfig)
def pack(
    data: Data,
    output: StrPath | None = None,
    *,
    on_progress: Progress = lambda done, total: None,
    **options: Any,
) -> Location:
    """Write a data set as tar shards, or as a cache of decoded images.

    Args:
        data: data sets to join.
        output: a folder or URL.
        on_progress: told of images done and their total.
        **options: those of `celebattr pack`: format, shard_size, ...

    Returns:
        Where the files are.

    Raises:
        UsageError, DataError, DeviceError: see `celebattr.data.shards.pack.run`.
    """
    from celebattr.data.shards.pack import run

    config = from_keywords(PackConfig, {"data": data, "output": output, **options})
    return run(config, on_progress)[0]


@overload
def doctor(data: Data, *, labels: Literal[True], **options: Any) -> LabelReport: ...
@overload
def doctor(data: Data, *, labels: Literal[False] = False, **options: Any) -> DoctorReport: ...
@options_of(DoctorConfig)
def doctor(data: Data, *, labels: bool = False, **options: Any) -> DoctorReport | LabelReport:
    """Check a data set, or search it for wrong labels.

    Args:
        data: data sets that are used together.
        labels: search for labels that are likely wrong instead.
        **options: those of `celebattr doctor`: quick, limit, probabilities, ...

    Raises:
        UsageError, DataError, WeightsError: an option, a data set or a bundle cannot be used.
    """
    config = from_keywords(DoctorConfig, {"data": data, "labels": labels, **options})
    if labels:
        from celebattr.diagnosis.labels.search import search

        return search(config)
    from celebattr.diagnosis.examine import examine

    return examine(config)


def _predict_config(
    weights: StrPath, options: dict[str, Any], others: Sequence[str] = ()
) -> PredictConfig:
    """The config of a bundle and options; `others` are known too, for the message."""
    name = "speed" if weights in SPEEDS else "weights"
    return from_keywords(PredictConfig, {name: weights, **options}, others)
