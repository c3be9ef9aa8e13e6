"""Parts of a run: one Parquet file per piece of work, written once, whoever writes it.

A part that is there is not made again. That is how a run is resumed, and how a worker that
died after its part was in place costs nothing and doubles nothing; one that died before has left
nothing under the part's name. Two that write the same part at once write the same, and the rename,
or the store's put, leaves one of them whole.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from celebattr.errors import DataError
from celebattr.inference.output import parquet
from celebattr.inference.output.manifest import Run
from celebattr.inference.ray import plan
from celebattr.io.folder import Folder
from celebattr.predictions import SCHEMA, check_schema

if TYPE_CHECKING:
    from celebattr.inference.inputs.source import Input
    from celebattr.predictions import Result

Score = Callable[[Iterable["Input"]], Iterator[tuple["Input", list["Result"]]]]
"""`Scorer.stream`, or a substitute."""


def name(number: int) -> str:
    """Return the file name of a part."""
    return f"part-{number:07}.parquet"


def make(folder: Folder, number: int, run: Run, score: Score) -> Counter[str]:
    """Make a part unless it exists; return its number of inputs, and rows by status.

    Raises:
        DataError: what is there in the name of the part is another run's; or it cannot be written.
    """
    digest, inputs = plan.piece(folder, number)
    told = {"schema": SCHEMA, "piece": digest, "weights": run.weights, "options": run.options}
    about = json.dumps(told)
    if folder.exists(name(number)):
        return _found(folder, number, about)
    counts: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        for _, results in score(inputs):
            counts["inputs"] += 1
            counts.update(result.status for result in results)
            yield from (result.row() for result in results)

    with folder.create(name(number)) as file:
        parquet.write_rows(file, rows(), run.options["attributes"], about)
    return counts


def _found(folder: Folder, number: int, about: str) -> Counter[str]:
    """Return the counts of an existing part."""
    pa = parquet.library()
    place = f"{folder.path}/{name(number)}"
    try:
        file = pa.parquet.ParquetFile(io.BytesIO(folder.read(name(number))))
        said = (file.schema_arrow.metadata or {}).get(parquet.METADATA_KEY, b"").decode()
        columns = file.read(["status", "face"]).to_pydict()
        schema = json.loads(said).get("schema", 1) if said else SCHEMA
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{place} cannot be read ({error}): delete it and continue") from error
    check_schema(schema, place)
    if said != about:
        raise DataError(
            f"{place} was created from different inputs, weights or options: choose another "
            "--output, or delete the folder to start over"
        )
    counts = Counter(columns["status"])
    counts["inputs"] = sum(face in (None, 1) for face in columns["face"])
    return counts
