"""A process that opens and scores photos, so that no file can crash the run.

Started by `celebattr.inference.pool.protocol` as a program of its own; it reads requests on
standard input and answers on standard output until the input ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from celebattr.inference.pool.protocol import DEFAULT, TICK, WORKER, receive, send

if TYPE_CHECKING:  # who starts such a process imports this too, and should not wait
    from PIL.Image import Image

    from celebattr.inference.config import PredictConfig
    from celebattr.inference.faces import Prepared, Preparer
    from celebattr.inference.inputs.source import Input
    from celebattr.inference.predictor import Predictor
    from celebattr.predictions import Failure, Prediction, Result

T = TypeVar("T")
R = TypeVar("R")


def serve(
    requests: BinaryIO,
    answers: BinaryIO,
    preparer: Preparer,
    score: Callable[[Sequence[Prepared]], Sequence[Sequence[Result]]] | None,
) -> None:
    """Answer requests until the stream ends, with results or, without `score`, with crops."""
    while (request := receive(requests)) is not None:
        items = [_item(photo, requests) for photo in request["photos"]]
        opened: list[Any] = []
        picture = functools.partial(_picture, most=request["pixels"]) if request["pixels"] else None
        told = time.monotonic()
        for item in items:
            with _time_limit(request["seconds"]):
                opened.append(_caught(picture or preparer, item, item.path))
            # That one is opened is told where the next may take long, and of the last.
            if len(opened) == len(items) or time.monotonic() - told > TICK:
                send(answers, {"opened": len(opened)})
                told = time.monotonic()
        if picture:
            _send_picture(answers, opened[0])
        elif score is None:
            for prepared in opened:
                _send_frames(answers, prepared)
        else:
            for results in _scored(score, opened):
                _send_results(answers, results)


def _item(photo: dict[str, Any], requests: BinaryIO) -> Input:
    from celebattr.inference.inputs.source import Input

    data = None if photo["bytes"] is None else requests.read(photo["bytes"])
    packed = photo["packed"] and tuple(photo["packed"])
    return Input(photo["path"], data=data, file=photo["file"], packed=packed)


def _scored(
    score: Callable[[Sequence[Prepared]], Sequence[Sequence[Result]]],
    opened: Sequence[Prepared | Failure],
) -> Iterator[Sequence[Result]]:
    """Yield the results of each photo, scored together or, if that fails, one by one."""
    from celebattr.predictions import Failure

    good = [prepared for prepared in opened if not isinstance(prepared, Failure)]
    try:
        results = iter(score(good))
    except Exception:  # for want of memory, for instance: one of them has a hundred faces
        each = (_caught(lambda one: score([one])[0], one, one.input.path) for one in good)
        results = ([found] if isinstance(found, Failure) else found for found in each)
    for prepared in opened:
        yield [prepared] if isinstance(prepared, Failure) else next(results)


def _picture(item: Input, most: int) -> tuple[Image, int]:
    """Open an image in full; return it divided by the least power of two that leaves `most` pixels.

    Raises:
        ImageError: it cannot be opened.
    """
    from celebattr.images.open import open_image

    image, divisor = open_image(item.source, name=item.path), 1
    while image.width * image.height > most * divisor**2:
        divisor *= 2
    return (image.reduce(divisor) if divisor > 1 else image), divisor


def _send_picture(answers: BinaryIO, found: tuple[Image, int] | Failure) -> None:
    if isinstance(found, tuple):
        image, divisor = found
        send(answers, {"size": image.size, "divisor": divisor}, image.tobytes())
    else:
        send(answers, {"failure": [found.status, found.error]})


def _send_results(answers: BinaryIO, results: Sequence[Result]) -> None:
    from celebattr.predictions import Failure

    for result in results:
        if isinstance(result, Failure):
            send(answers, {"failure": [result.status, result.error]})
            return
    send(answers, {"results": [_told(r) for r in results if not isinstance(r, Failure)]})


def _send_frames(answers: BinaryIO, prepared: Prepared | Failure) -> None:
    from celebattr.predictions import Failure

    failure = prepared if isinstance(prepared, Failure) else prepared.failure
    if failure is not None:
        send(answers, {"failure": [failure.status, failure.error]})
    elif not isinstance(prepared, Failure):
        boxes = [None if box is None else dataclasses.astuple(box) for box in prepared.boxes]
        send(
            answers,
            {"boxes": boxes, "to_frame": prepared.to_frame, "faces": prepared.faces},
            *(frame.data for frame in prepared.frames),
        )


def _told(result: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON, to the last digit, without its path."""
    box = result.box
    return {
        "face": result.face,
        "faces": result.faces,
        "box": None if box is None else dataclasses.astuple(box),
        "probabilities": result.probabilities,
        "present": result.present,
        "unsure": result.unsure,
        "to_frame": result.to_frame,
    }


def _caught(work: Callable[[T], R], item: T, path: str) -> R | Failure:
    """Call a function and turn any exception into a failure of this input alone."""
    from celebattr.errors import ImageError
    from celebattr.predictions import Failure

    try:
        return work(item)
    except ImageError as error:
        return Failure(path, error.status, str(error))
    except MemoryError:
        status, reason = "too_large", "more memory needed than one photo may take"
    except Exception as error:
        status, reason = "unreadable", f"cannot be processed ({type(error).__name__}: {error})"
    return Failure(path, status, f"{path}: {reason}")


@contextlib.contextmanager
def _time_limit(seconds: float) -> Any:
    """End this process after some seconds of its own, even inside a library's endless loop.

    Time of the processor, as a machine may be stopped or have other things to do. What sleeps, and
    everything on Windows, which has no such timer, is ended by the parent, who looks at the clock.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    # SIGPROF without a handler ends the process: Python could run a handler only between bytecodes.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _limit_memory(megabytes: int) -> None:
    """Limit the memory of this process, so that a large request fails as an error."""
    if sys.platform == "linux":
        import resource

        # Linux enforces no limit of resident memory per process, only of address space: so the
        # limit is relative to what is mapped already.
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit, hard = taken + (megabytes << 20), resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard != resource.RLIM_INFINITY:  # of ulimit -v, which may be lowered and not raised
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash on a photo must not dump it


def main(faces: str, megabytes: str, weights: str) -> None:
    """Run the process, as `celebattr.inference.pool.protocol.start` starts it."""
    # Ctrl-C reaches the whole group; who ends this process is its parent, by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(int(megabytes))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not print into an answer
    from celebattr.errors import CelebattrError

    try:
        _import_libraries(faces)
        from celebattr.inference.faces import Preparer

        predictor, config = _predictor(requests, weights)
        preparer = Preparer(faces, config.min_face, config.min_score)
        preparer.begin()
    except Exception as error:
        kind, said = type(error).__name__, str(error)
        if not isinstance(error, CelebattrError):
            kind, said = "DeviceError", f"worker processes cannot start ({kind}: {said})"
        send(answers, {"refused": [kind, said]})
        requests.read()  # who asks has perhaps not asked yet, and could not once this ends
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # from here on libraries grumble about every damaged photo
        os.dup2(nowhere, stream)
    if predictor is None:
        send(answers, {"ready": os.getpid(), "facts": None})
        serve(requests, answers, preparer, None)
    else:
        send(answers, {"ready": os.getpid(), "facts": dataclasses.asdict(predictor.facts)})
        serve(requests, answers, preparer, predictor.finish)


def _import_libraries(faces: str) -> None:
    """Import what opens photos before the first of them, which would be blamed for a failure.

    Raises:
        DeviceError: one cannot be imported.
    """
    from celebattr.errors import DeviceError, reason

    detection = () if faces == "none" else ("onnxruntime", "cv2")
    for name in ("numpy", "PIL.Image", "PIL.ImageCms", *detection):
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a library does as it is imported
            raise DeviceError(
                f"worker processes cannot import {name} ({type(error).__name__}: {reason(error)}): "
                "reinstall it"
            ) from error


def _predictor(requests: BinaryIO, weights: str) -> tuple[Predictor | None, PredictConfig]:
    """Load the bundle, then read the config, which the parent may not know until then."""
    from celebattr.inference.config import PredictConfig

    if weights == DEFAULT:
        from celebattr.inference.config import bundle_for

        weights = str(bundle_for(PredictConfig()) or "")
    backend = None
    if weights:
        from celebattr.models.backends import open_backend

        backend = open_backend(weights, device="cpu")
    config = PredictConfig(**(receive(requests) or {}))
    if backend is None:
        return None, config
    from celebattr.inference.predictor import Predictor

    return Predictor(config, backend), config


def freeze_support() -> None:
    """Become a worker process and end, where a frozen program was started for that.

    A program made by PyInstaller or the like calls it before all else; elsewhere it does nothing.
    The command line has done so.
    """
    if os.environ.pop(WORKER, None) and getattr(sys, "frozen", False):
        main(*sys.argv[1:])
        sys.exit()
