"""Merging of a sharded run's parts into the output of one run, with proof that none is missing.

Shard i of N holds every N-th input, so taking one input from each part in turn gives the order of
the inputs back. Nothing is kept in memory but one input of each part, or a few hundred rows of a
Parquet file. More parts than may be open at once are joined in bundles first: a bundle of parts is
a part that gives several inputs per turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from celebattr.errors import DataError, UsageError, reason
from celebattr.inference.output import manifest, parquet
from celebattr.inference.output.manifest import Names, Run
from celebattr.inference.output.proof import groups, rows, sha256_of, text_of, verified
from celebattr.inference.output.writers import FORMATS, Row, format_of
from celebattr.io.files import check_target, replacing, reporting, temporary_folder

OPEN_FILES = 200
"""Parts open at once: half of what the strictest systems allow a process."""

OPEN_PARQUET = 50
"""Parquet parts open at once: an open file holds a group of rows, some megabytes."""


@dataclass(frozen=True)
class _Source:
    """A part, or a bundle of parts: its inputs per turn, and in all."""

    path: Path
    turn: int
    inputs: int
    bundle: bool = False


def merge(
    parts: Sequence[Path],
    output: Path,
    *,
    overwrite: bool = False,
    notice: Callable[[str], None] = lambda text: None,
) -> Run:
    """Write the joined file, complete or absent, and its manifest beside it.

    Args:
        parts: the files of all shards; a folder stands for those in it. Or one folder that
            `predict --engine ray` wrote.
        output: the file.
        overwrite: replace an `output` that exists.
        notice: told what a person should know.

    Returns:
        The run as if it had not been sharded.

    Raises:
        UsageError: the output is one of the parts, or its suffix is of another format.
        DataError: a part is unfinished, changed, missing, there twice, or of another schema;
            parts are of other inputs, weights or options; or the output exists.
    """
    if len(parts) == 1 and (parts[0] / manifest.FOLDER_FILE).is_file():
        check_target(output, overwrite=overwrite)
        whole = _of_folder(parts[0])
        return _write(output, _in_order(parts[0], whole), whole)
    files = _files(parts, output)
    if output.resolve() in {part.resolve() for part in files}:
        raise UsageError(f"--output {output} is one of the parts: choose another name")
    check_target(output, overwrite=overwrite)
    sources, whole = _proved(files, notice)
    with contextlib.ExitStack() as stack:
        limit = OPEN_PARQUET if FORMATS[whole.format].parquet else OPEN_FILES
        if len(sources) > limit:
            folder = stack.enter_context(temporary_folder(output))
            sources = _bundled(sources, whole, limit, folder)
        return _write(output, _named(_in_turn(sources, whole), whole), whole)


def _files(parts: Sequence[Path], output: Path) -> list[Path]:
    """Return files as they are; of a folder, the files that have a manifest.

    The output of an earlier merge may lie in the folder.
    """
    found: list[Path] = []
    for part in parts:
        if part.is_dir():
            suffix = manifest.about(Path("x")).name[1:]
            names = sorted(file.name.removesuffix(suffix) for file in part.glob(f"*{suffix}"))
            made = [part / n for n in names if (part / n).resolve() != output.resolve()]
            found += made
            if not made:
                raise DataError(f"{part} holds nothing that was written with --output and --shard")
        else:
            found.append(part)
    return found


def _proved(parts: Sequence[Path], notice: Callable[[str], None]) -> tuple[list[_Source], Run]:
    """Return the parts in the order of their shards, once they are proved to be whole."""
    found: dict[int, int] = {}
    inputs = array("q")
    counts: Counter[str] = Counter()
    first: tuple[Path, Run] | None = None
    for at, part in enumerate(parts):
        if not part.exists():
            growing = manifest.part_of(part)
            unfinished = growing.exists() or part.suffix == ".part"
            remedy = f": {growing} is unfinished, continue it with --resume" if unfinished else ""
            raise DataError(f"{part} does not exist{remedy}")
        run = manifest.read(part)
        index, count = run.shard
        if run.mode == "append":
            raise DataError(
                f"{part} was extended with --append and is one output: merge joins parts of --shard"
            )
        if index in found:
            raise DataError(f"{part} and {parts[found[index]]} are both shard {index}/{count}")
        found[index] = at
        first = first or (part, run)
        _alike(first, (part, run))
        inputs.append(run.counts.get("inputs", 0))  # a shard may have none
        counts.update(run.counts)
    assert first is not None
    count = first[1].shard[1]
    missing = count - len(found)
    if missing:  # of how many, a manifest says: they are not counted one by one
        first_ones = itertools.islice((i for i in range(1, count + 1) if i not in found), 10)
        shown = ", ".join([f"{i}/{count}" for i in first_ones] + ["..."] * (missing > 10))
        raise DataError(f"{missing:,} of {count:,} shards are missing: {shown}")
    sources = [_Source(parts[found[i]], 1, inputs[found[i]]) for i in range(1, count + 1)]
    whole = first[1]
    for source in sources:  # after what is quick to see
        run = verified(source.path)
        if odd := manifest.other_versions(first[1].versions, run.versions):
            notice(
                f"{first[0]} and {source.path} were made by other versions ({odd}); decisions near "
                "a threshold may differ"
            )
        whole = whole.made_also_by(run.versions)
    named = whole.inputs_sha256
    return sources, dataclasses.replace(
        whole, shard=(1, 1), counts=dict(counts), names_sha256=named, began=()
    )


def _alike(one: tuple[Path, Run], other: tuple[Path, Run]) -> None:
    """Refuse parts of different runs."""
    a, b = one[1], other[1]
    odd = a.differences(b)
    if a.shard[1] != b.shard[1]:
        odd.append(f"of {a.shard[1]} and {b.shard[1]} shards")
    if (a.inputs, a.inputs_sha256) != (b.inputs, b.inputs_sha256):
        odd.append(f"their lists of inputs, {a.inputs:,} and {b.inputs:,}, are not the same")
    if odd:
        raise DataError(f"{one[0]} and {other[0]} are not of the same run: {'; '.join(odd)}")


def _bundled(sources: Sequence[_Source], run: Run, limit: int, folder: Path) -> list[_Source]:
    """Join neighbours into bundles until there are few enough."""
    bundles = list(sources)
    for level in range(100):
        if len(bundles) <= limit:
            break
        groups = [bundles[at : at + limit] for at in range(0, len(bundles), limit)]
        bundles = []
        for number, group in enumerate(groups):
            path = folder / f"{level}-{number}"
            with reporting(path), path.open("wb") as file:
                for turn in _in_turn(group, run):
                    file.writelines(row.data for row in turn)
            bundles.append(
                _Source(path, sum(s.turn for s in group), sum(s.inputs for s in group), bundle=True)
            )
            for done in group:
                if done.bundle:
                    done.path.unlink()
    return bundles


def _in_turn(sources: Sequence[_Source], run: Run) -> Iterator[list[Row]]:
    """Yield the rows of the inputs of each source in turn."""
    inputs = sum(source.inputs for source in sources)
    with contextlib.ExitStack() as stack:
        streams = [groups(_rows(source, run, stack), run) for source in sources]
        done = 0
        while done < inputs:
            for source, stream in zip(sources, streams, strict=True):
                for _ in range(source.turn):
                    group = next(stream, None)
                    if group is not None:
                        yield group
                        done += 1
                    elif done < inputs:
                        raise DataError(
                            f"{source.path} is damaged: it has fewer rows than it was made with"
                        )
                    else:
                        return


def _named(turns: Iterator[list[Row]], run: Run) -> Iterator[Row]:
    """Yield the rows of inputs, and at the end prove that these are the inputs of the run."""
    names = Names()
    for group in turns:
        names.add(group[0].name_bytes)
        yield from group
    if (names.count, names.sha256) != (run.inputs, run.inputs_sha256):
        raise DataError(
            f"the parts have rows of {names.count:,} inputs, which are not the {run.inputs:,} that "
            "all shards were made of: score them again"
        )


def _rows(source: _Source, run: Run, stack: contextlib.ExitStack) -> Iterator[Row]:
    if FORMATS[run.format].parquet and not source.bundle:
        return parquet.read(source.path)
    text = text_of(run)
    file = stack.enter_context(source.path.open("rb"))
    if not source.bundle:
        file.seek(len(text.head.encode()))
    return rows(file, text)


def _of_folder(folder: Path) -> Run:
    """Return the run that wrote a folder of parts.

    Raises:
        DataError: it is unfinished.
    """
    file = folder / manifest.FOLDER_FILE
    run = manifest.parse(file.read_bytes(), str(file))
    if not run.finished:
        raise DataError(f"{folder} is unfinished: continue it with --resume")
    return run


def _in_order(folder: Path, run: Run) -> Iterator[Row]:
    """Yield the rows of a folder's parts in the order of the inputs, each of its piece of work."""
    rows = 0
    remedy = "delete it, and continue with --resume"
    plan = sorted((folder / "plan").glob("*.jsonl"))
    pieces = [sha256(line).hexdigest() for file in plan for line in file.read_bytes().splitlines()]
    for number, part in enumerate(sorted(folder.glob("part-*.parquet"))):
        try:
            made_of = parquet.about(part).get("piece")
        except (ValueError, OSError) as error:
            raise DataError(f"{part} is damaged ({reason(error)}): {remedy}") from error
        if made_of not in pieces[number : number + 1]:
            raise DataError(f"{part} is damaged, or another part: {remedy}")
        for row in parquet.read(part):
            rows += 1
            yield row
    expected = sum(run.counts.values()) - run.counts.get("inputs", 0)
    if rows != expected:
        raise DataError(f"{folder} is damaged: it has {rows:,} rows and was made with {expected:,}")


def _write(output: Path, rows: Iterator[Row], run: Run) -> Run:
    """Write rows and their manifest; return the run with the hash of the file."""
    suffixes = FORMATS[run.format].suffixes
    if output.suffix and (format := format_of(output)) and output.suffix.lower() not in suffixes:
        raise UsageError(f"--output {output} is {format} by its suffix, the parts are {run.format}")
    with replacing(output) as file:
        if FORMATS[run.format].parquet:
            values = (json.loads(row.data) for row in rows)
            parquet.write_rows(file, values, run.options["attributes"], run.inside)
        else:
            file.write(text_of(run).head.encode())
            file.writelines(row.data for row in rows)
        file.flush()
        run = dataclasses.replace(run, sha256=sha256_of(Path(file.name)))
        manifest.write(output, run)
    return run
