"""Scores photos into an output: the one call under `celebattr predict` and `celebattr.score`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from celebattr.errors import DataError, TooManyFailuresError, UsageError
from celebattr.inference.config import PredictConfig
from celebattr.inference.output.sinks import Output, Text
from celebattr.inference.output.writers import FORMATS, format_of
from celebattr.predictions import NO_FACE


def failures(counts: Counter[str], *, strict: bool = False) -> int:
    """Number of inputs that failed; with `strict`, a photo without a face is one of them."""
    no_face = 0 if strict else counts[NO_FACE]
    return counts.total() - counts["inputs"] - counts["ok"] - no_face


@dataclass(frozen=True)
class Summary:
    """Counts of a run, and how long it took.

    Attributes:
        counts: inputs, and rows by status, those of a resumed run included.
        scored: inputs scored now.
        seconds: how long that took.
        complete: the output was complete before.
        strict: a photo without a face counts as failed.
    """

    counts: Counter[str]
    scored: int = 0
    seconds: float = 0.0
    complete: bool = False
    strict: bool = False

    @property
    def failed(self) -> int:
        """Inputs that failed; their rows say why."""
        return failures(self.counts, strict=self.strict)


@dataclass(frozen=True)
class ScoreOptions:
    """Inputs of a run and how its results are written, named as in `celebattr predict`.

    Attributes:
        format: jsonl, json, csv or parquet. Without it, what the suffix says; jsonl to a stream.
        annotate: folder for a copy of each photo with boxes and present attributes drawn on it.
        explain: attributes, separated by commas, whose heat maps `annotate` gets too.
        null: paths on standard input end in NUL.
        column: every path is a list, and this its column of photos.
        resume: continue an interrupted output.
        shard: "i/N": every N-th input only, beginning with the i-th.
        max_failures: stop when more inputs than this failed.
    """

    format: str | None = None
    annotate: Path | None = None
    explain: str | None = None
    null: bool = False
    column: str | None = None
    resume: bool = False
    shard: str = "1/1"
    max_failures: int | None = None


def score(
    paths: Sequence[str],
    output: str | TextIO | Output,
    config: PredictConfig,
    options: ScoreOptions,
    *,
    notice: Callable[[str], None] = lambda text: None,
    on_progress: Callable[[Counter[str]], None] = lambda counts: None,
) -> Summary:
    """Scores photos, and writes one row per face or one failure row per input.

    Args:
        paths: photos, folders, globs, archives, lists or "-", as `celebattr predict` takes them.
        output: a file; with the engine ray a folder or URL; a stream; or what shows results.
        config: how photos become predictions.
        options: what is written, and how.
        notice: told one line at a time what a person should know.
        on_progress: told the counts after each input; an exception that it raises ends the run.

    Raises:
        UsageError: options that exclude each other, or that the output cannot have.
        DataError: there is no image, or the output cannot be written or resumed.
        TooManyFailuresError: more than `max_failures` inputs failed.
        WeightsError, DeviceError: see `Scorer`.
    """

    def watch(counts: Counter[str]) -> None:
        on_progress(counts)
        failed = failures(counts, strict=config.strict)
        if options.max_failures is not None and failed > options.max_failures:
            raise TooManyFailuresError(failed)

    if config.engine == "ray":
        return _on_ray(paths, output, config, options, watch)
    if options.explain is not None and options.annotate is None:
        raise UsageError("--explain draws pictures: say where with --annotate DIR")
    format, file = _form(output, options.format)
    if options.resume and file is None:
        raise UsageError("--resume continues an --output in jsonl, csv or parquet")
    from celebattr.inference.scorer import Scorer

    started = time.monotonic()
    with Scorer(config) as scorer:  # imports go on while its first process starts
        from celebattr.inference.inputs.expand import expand
        from celebattr.inference.output.journal import Growing, complete
        from celebattr.inference.output.manifest import Run, Shard

        shard, facts = Shard.parse(options.shard), scorer.facts
        if facts.never_present:
            notice(
                f"{config.operating_point} is out of reach for "
                f"{', '.join(facts.never_present)}: never reported as present"
            )
        pictures = None
        if options.annotate is not None:
            from celebattr.inference.draw.pictures import Pictures

            pictures = Pictures(options.annotate, options.explain, config.bundle)
        if file is not None:
            run = Run.of(facts, config, format, shard)
            if options.resume and (counts := complete(file, run)) is not None:
                return Summary(counts, complete=True, strict=config.strict)
            out: Output = Growing(file, run, resume=options.resume, notice=notice)
        elif isinstance(output, Output):
            out = output
        else:
            target = Path(output) if isinstance(output, str) else output
            out = Text(target, facts.attributes, format)
        inputs = shard.take(
            expand(paths, null=options.null, column=options.column, allow=config.allow_protocol)
        )
        with out:
            out.skip(item.path for item in inputs)
            before = out.counts["inputs"]
            for item, results in scorer.stream(inputs, keep_data=pictures is not None):
                out.write(results)
                if pictures is not None:
                    pictures.write(item, results)
                watch(out.counts)
            if not shard.inputs:
                raise DataError(f"no images in {', '.join(paths)}")
            out.finish(shard)
    seconds = time.monotonic() - started
    return Summary(out.counts, out.counts["inputs"] - before, seconds, strict=config.strict)


def _form(output: str | TextIO | Output, format: str | None) -> tuple[str, Path | None]:
    """The format of an output, and its file where rows are appended that a resumed run keeps.

    What is no regular file, a pipe for instance, is written like standard output.
    """
    if isinstance(output, Output):
        return "", None
    format = format_of(output if isinstance(output, str) else None, format)
    if not isinstance(output, str):
        if FORMATS[format].parquet:
            raise UsageError("--format parquet is for a file: give --output")
        return format, None
    file = Path(output)
    regular = not file.exists() or file.is_file()
    return format, file if regular and FORMATS[format].grows else None


def _on_ray(
    paths: Sequence[str],
    output: str | TextIO | Output,
    config: PredictConfig,
    options: ScoreOptions,
    watch: Callable[[Counter[str]], None],
) -> Summary:
    """The same on a Ray cluster."""
    alone = {
        "--shard": options.shard != "1/1",
        "--annotate": options.annotate,
        "--explain": options.explain,
    }
    for name, value in alone.items():
        if value:
            raise UsageError(f"--engine ray does not go with {name}")
    if options.format not in (None, "parquet") or not isinstance(output, str):
        raise UsageError("--engine ray writes Parquet into a folder: name it with --output")
    from celebattr.inference.inputs.expand import expand
    from celebattr.inference.ray import plan
    from celebattr.inference.ray.run import score_into_folder

    started = time.monotonic()
    counts = score_into_folder(
        config,
        lambda: expand(
            paths,
            null=options.null,
            column=options.column,
            archive=plan.archive,
            allow=config.allow_protocol,
        ),
        output,
        resume=options.resume,
        show=watch,
    )
    seconds = time.monotonic() - started
    return Summary(counts, counts["inputs"], seconds, strict=config.strict)
