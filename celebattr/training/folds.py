"""Cross-validation: runs that leave out a fold each, and what they say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from celebattr.data.cache import attach_cache
from celebattr.data.dataset import FaceDataset, leave_out_fold
from celebattr.data.faces import load_crops, usable
from celebattr.errors import DataError, UsageError
from celebattr.evaluation.predict_split import probabilities
from celebattr.io.files import csv_line, write_text
from celebattr.models.backends import open_backend
from celebattr.training import checkpoint, loop
from celebattr.training.callbacks import Listener, Logger
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World

OUT_OF_FOLD = "out-of-fold.csv"
"""File of the probabilities, in the folder of each fold and in that above them."""


def train(config: TrainConfig, listener: Listener | None = None) -> Path:
    """Train a network or, with `folds`, one per fold of the training images.

    Each fold has a run folder, `fold-1` and so on, which is resumed like any other. Its network
    scores the images that it was not trained on, nor chosen or calibrated by.

    Returns:
        The path of the best bundle; with `folds`, of the CSV of out-of-fold probabilities, which
        `celebattr doctor --labels --probabilities` reads.

    Raises:
        UsageError: `folds` under torchrun.
        DataError: the folds cannot be made, or a fold's run folder holds a run.
        WeightsError, DeviceError, KeyboardInterrupt: see `celebattr.training.loop.train`.
    """
    if config.folds is None:
        return loop.train(config, listener)
    if World.here().size > 1:
        raise UsageError("--folds trains one run after another: start it without torchrun")
    listener = listener or Logger()
    chosen = range(1, config.folds + 1) if config.fold is None else (config.fold,)
    folders = [config.output / f"fold-{fold}" for fold in chosen]
    if not config.resume and (begun := [f for f in folders if (f / checkpoint.NAME).exists()]):
        raise DataError(f"{begun[0]} already holds a run: give --resume to continue")
    dataset, _ = load_crops(config)
    rows = []
    for fold, folder in zip(chosen, folders, strict=True):
        _, held_n = leave_out_fold(
            dataset, fold, config.folds, seed=config.seed, limit=config.limit
        )
        listener.notice(f"fold       {fold} of {config.folds}: {len(held_n):,} images left out")
        resume = (folder / checkpoint.NAME).exists()
        one = replace(config, fold=fold, output=folder, resume=resume)
        best = loop.train(one, listener)
        written = folder / OUT_OF_FOLD
        if not written.exists():
            write_text(written, _scored(best, dataset, dataset.take(held_n), config))
        header, newline, scored = written.read_text("utf-8").partition("\n")
        rows.append(scored)
    if config.fold is not None:
        return written
    write_text(config.output / OUT_OF_FOLD, "".join([header, newline, *rows]))
    return config.output / OUT_OF_FOLD


def _scored(best: Path, dataset: FaceDataset, images: FaceDataset, config: TrainConfig) -> str:
    """Return a CSV of what a bundle says of images that are part of a data set."""
    (images,), _ = attach_cache(
        dataset, (images,), mode=config.cache, folder=config.cache_folder, fast=False
    )
    (images,), _ = usable((images,), skip_unreadable=config.skip_unreadable, workers=config.workers)
    backend = open_backend(str(best), device=config.device, precision=config.precision)
    p_VNA, *_ = probabilities([backend], images, batch_size=None, workers=config.workers)
    lines = [["image", *backend.card.attributes]]
    for name, p_A in zip(images.names, p_VNA[0], strict=True):
        lines.append([name, *(f"{p:.6f}" for p in p_A)])
    return "".join(map(csv_line, lines))
