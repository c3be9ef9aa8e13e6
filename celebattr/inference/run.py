"""Scores photos into an output: the one call under `celebattr predict` and `celebattr.score`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from celebattr.errors import DataError, TooManyFailuresError, UsageError
from celebattr.inference.config import PredictConfig, ScoreOptions
from celebattr.inference.inputs.source import DRAWN
from celebattr.inference.output.sinks import Output, Text
from celebattr.inference.output.writers import FORMATS, format_of
from celebattr.io.files import check_target, reporting
from celebattr.predictions import NO_FACE

if TYPE_CHECKING:
    from celebattr.inference.draw.pictures import Pictures
    from celebattr.inference.output.manifest import Run
    from celebattr.inference.scorer import Scorer
    from celebattr.predictions import Facts


def failures(counts: Counter[str], *, strict: bool = False) -> int:
    """Number of inputs that failed; with `strict`, a photo without a face is one of them."""
    no_face = 0 if strict else counts[NO_FACE]
    return counts.total() - counts["inputs"] - counts["ok"] - no_face


def _unopened(left_out: Counter[str], notice: Callable[[str], None]) -> None:
    """Say which files of folders and archives have no row."""
    drawn = left_out.pop(DRAWN, 0)
    if drawn:
        notice(f"left out, written by --annotate: {drawn:,} pictures")
    kinds = ", ".join(f"{n:,} {suffix}" for suffix, n in sorted(left_out.items()))
    if kinds:
        notice(
            f"left out, as they are never opened: {kinds} (convert pictures, take frames of videos)"
        )


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


def score(
    paths: Sequence[str],
    output: str | TextIO | Output,
    config: PredictConfig,
    options: ScoreOptions,
    *,
    notice: Callable[[str], None] = lambda text: None,
    on_progress: Callable[[Counter[str]], None] = lambda counts: None,
) -> Summary:
    """Score photos, and write one row per face or one failure row per input.

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
        TooManyFailuresError: more inputs failed than the options allow.
        WeightsError, DeviceError: see `Scorer`.
    """

    def watch(counts: Counter[str], kept: Counter[str] | None = None) -> None:
        on_progress(counts)
        failed = failures(counts - (kept or Counter()), strict=config.strict)
        if options.most_failures is not None and failed > options.most_failures:
            raise TooManyFailuresError(failed)

    if config.engine == "ray":
        return _on_ray(paths, output, config, options, watch, notice)
    if options.explain is not None and options.annotate is None:
        raise UsageError("--explain needs --annotate DIR, the folder for its heat maps")
    format, file = _form(output, options)
    from celebattr.inference.scorer import Scorer

    started = time.monotonic()
    with Scorer(config) as scorer:  # imports go on while its first process starts
        from celebattr.inference.inputs.expand import expand
        from celebattr.inference.output.manifest import Run, Shard

        shard, facts = Shard.parse(options.shard), scorer.facts
        pictures = _begun(scorer, config, options, notice)
        if file is not None:
            out = _grown(file, Run.of(facts, config, format, shard), options, notice)
        else:
            out = _plain(output, facts, format, overwrite=options.overwrite)
        left_out: Counter[str] = Counter()
        inputs = shard.take(
            expand(
                paths,
                null=options.null,
                column=options.column,
                allow=config.allow_protocol,
                left_out=left_out,
                drawn=options.annotate,
            )
        )
        with out:
            todo = out.todo(inputs, shard)
            for item, results in scorer.stream(todo, keep_data=pictures is not None):
                if pictures is not None:  # before the row: a run that is resumed skips its photo
                    pictures.write(item, results)
                out.write(results)
                watch(out.counts, out.kept)
            _unopened(left_out, notice)
            if not shard.inputs and not out.counts:
                raise DataError(f"no images in {', '.join(paths)}")
            out.finish(shard)
    seconds = 0.0 if out.complete else time.monotonic() - started
    return Summary(out.counts, out.scored, seconds, complete=out.complete, strict=config.strict)


def _grown(file: Path, run: Run, options: ScoreOptions, notice: Callable[[str], None]) -> Output:
    """A file that can be resumed, extended and retried."""
    if options.append or options.retry:
        from celebattr.inference.output.extension import Appending, Retrying

        if options.append:
            return Appending(file, run, how="append", notice=notice)
        return Retrying(file, run, options.statuses, notice)
    from celebattr.inference.output.journal import Growing

    return Growing(file, run, how=options.how, notice=notice)


def _begun(
    scorer: Scorer, config: PredictConfig, options: ScoreOptions, notice: Callable[[str], None]
) -> Pictures | None:
    """Say what a run will never report; return what draws its pictures, if it draws any."""
    if never := scorer.facts.never_present:
        notice(
            f"{config.operating_point} is out of reach for "
            f"{', '.join(never)}: never reported as present"
        )
    if options.annotate is None:
        return None
    from celebattr.inference.draw.pictures import Pictures

    return Pictures(options.annotate, options.explain, config.bundle, scorer.picture, notice)


def _form(output: str | TextIO | Output, options: ScoreOptions) -> tuple[str, Path | None]:
    """The format of an output, and its file where rows are appended that a resumed run keeps.

    What is no regular file, a pipe for instance, is written like standard output.

    Raises:
        UsageError: the output cannot have the format, or cannot be resumed.
    """
    file, format = None, options.format
    if isinstance(output, Output):
        format = format or "jsonl"
    else:
        if format == "table":
            raise UsageError("--format table is for the terminal: --output takes a file's format")
        format = format_of(output if isinstance(output, str) else None, format)
        if isinstance(output, str):
            place = Path(output)
            with reporting(place):
                regular = not place.exists() or place.is_file()
            file = place if regular and FORMATS[format].grows else None
        elif FORMATS[format].parquet:
            raise UsageError("--format parquet is for a file: give --output")
    if options.how not in ("new", "overwrite") and file is None:
        raise UsageError(f"--{options.how} continues an --output in jsonl, csv or parquet")
    return format, file


def _plain(output: str | TextIO | Output, facts: Facts, format: str, *, overwrite: bool) -> Output:
    """An output that cannot be resumed."""
    if isinstance(output, Output):
        return output
    if isinstance(output, str):
        check_target(output, overwrite=overwrite)
    return Text(Path(output) if isinstance(output, str) else output, facts.attributes, format)


def _on_ray(
    paths: Sequence[str],
    output: str | TextIO | Output,
    config: PredictConfig,
    options: ScoreOptions,
    watch: Callable[[Counter[str]], None],
    notice: Callable[[str], None],
) -> Summary:
    """The same on a Ray cluster."""
    alone = {
        "--shard": options.shard != "1/1",
        "--annotate": options.annotate,
        "--explain": options.explain,
        f"--{options.how}": options.how not in ("new", "resume"),
    }
    for name, value in alone.items():
        if value:
            raise UsageError(f"--engine ray cannot be combined with {name}")
    if options.format not in (None, "parquet") or not isinstance(output, str):
        raise UsageError("--engine ray writes Parquet into a folder: name it with --output")
    from celebattr.inference.inputs.expand import expand
    from celebattr.inference.ray import plan
    from celebattr.inference.ray.run import score_into_folder

    started = time.monotonic()
    left_out: Counter[str] = Counter()
    counts = score_into_folder(
        config,
        lambda: expand(
            paths,
            null=options.null,
            column=options.column,
            archive=plan.archive,
            allow=config.allow_protocol,
            left_out=left_out,
        ),
        output,
        resume=options.resume,
        show=watch,
    )
    _unopened(left_out, notice)
    seconds = time.monotonic() - started
    return Summary(counts, counts["inputs"], seconds, strict=config.strict)
