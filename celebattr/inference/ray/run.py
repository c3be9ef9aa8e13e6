"""`celebattr predict --engine ray`: a plan, its parts, and the proof that none is missing."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from celebattr.errors import DataError, UsageError
from celebattr.inference.config import PredictConfig

if TYPE_CHECKING:
    from celebattr.inference.inputs.source import Input
    from celebattr.inference.output.manifest import Run
    from celebattr.inference.ray.plan import Plan
    from celebattr.io.folder import Folder


def score_into_folder(
    config: PredictConfig,
    inputs: Callable[[], Iterator[Input]],
    output: str,
    *,
    resume: bool,
    show: Callable[[Counter[str]], None],
) -> Counter[str]:
    """Score inputs on a Ray cluster into the folder `output`.

    Args:
        config: the options.
        inputs: gives them, archives not opened.
        output: a path or a URL.
        resume: continue what is there.
        show: told the counts so far; an exception that it raises ends the run.

    Returns:
        Inputs, and rows by status.

    Raises:
        UsageError, DataError: the folder is of another run; see `actors.score` too.
    """
    from celebattr.inference.output import manifest, parquet
    from celebattr.inference.ray import actors
    from celebattr.io.folder import folder_at
    from celebattr.options import parse_location

    actors.library()
    parquet.library()
    location = parse_location(output)
    folder = folder_at(location.absolute() if isinstance(location, Path) else location)
    config, run = _run(config)
    if resume and folder.exists(manifest.FOLDER_FILE):
        place = f"{folder.path}/{manifest.FOLDER_FILE}"
        _same(folder, manifest.parse(folder.read(manifest.FOLDER_FILE), place), run)
    elif folder.exists(manifest.FOLDER_FILE):
        raise DataError(f"{output} holds a run: give --resume to continue, or another --output")
    elif (there := set(folder.names(""))) and not (resume and there <= {"plan"}):
        # A run that was ended while it planned has left its plan and no more.
        raise DataError(f"{output} is not empty: choose a folder of its own for the parts")
    todo = _planned(folder, inputs, config.part_inputs, resume=resume)
    folder.write(manifest.FOLDER_FILE, run.to_json().encode())
    counts: Counter[str] = Counter()
    for _, part in actors.score(folder, todo.pieces, run, config):
        counts.update(part)
        show(counts)
    # Not before: two workers may be at the same part, and one of them be thought dead.
    folder.remove_torn()
    done = dataclasses.replace(
        run,
        finished=True,
        inputs=counts["inputs"],
        inputs_sha256=todo.sha256,
        counts=dict(counts),
    )
    folder.write(manifest.FOLDER_FILE, done.to_json().encode())
    return counts


def _run(config: PredictConfig) -> tuple[PredictConfig, Run]:
    """Return the requested run, and its options as they hold on other machines."""
    from celebattr.inference.output.manifest import Run, Shard
    from celebattr.inference.predictor import Predictor
    from celebattr.models import weights

    here = weights.bundle_file(config.bundle, gpu=config.gpus_per_actor > 0)
    predictor = Predictor(dataclasses.replace(config.of_bundle(here), device="cpu"))
    if config.weights is not None and Path(config.weights).exists():
        config = config.of_bundle(here.resolve())
    return config, Run.of(predictor.facts, config, "parquet", Shard())


def _planned(
    folder: Folder, inputs: Callable[[], Iterator[Input]], size: int, *, resume: bool
) -> Plan:
    """Return the existing plan if it was made for these inputs, or write one."""
    from celebattr.inference.ray import plan

    found = plan.read(folder) if resume else None
    if found is None:
        found = plan.write(folder, inputs(), size)
        if not found.inputs:
            raise DataError("no images among the inputs")
        return found
    count, sha256 = plan.of(inputs())
    if (count, sha256) != (found.inputs, found.sha256):
        raise DataError(
            f"{folder.path}: the plan was made for {found.inputs:,} inputs, but {count:,} were "
            "given, or others: use the same inputs or another --output"
        )
    return found


def _same(folder: Folder, found: Run, run: Run) -> None:
    odd = found.differences(run)
    if odd:
        raise UsageError(
            f"{folder.path} was created with different settings: {'; '.join(odd)}. Use the same "
            "options, or another --output"
        )
