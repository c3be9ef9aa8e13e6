"""The training loop: one function a user can read from top to bottom, and what it needs."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celebattr import bundle
from celebattr.config import TrainConfig
from celebattr.data import cache_choice, celeba, loader
from celebattr.data.preprocess import Preprocess
from celebattr.data.soft_labels import soften
from celebattr.data.transforms import PreprocessSpec
from celebattr.decisions import counts, present, probabilities
from celebattr.device import DeviceChoice, resolve
from celebattr.errors import DataError, DeviceError
from celebattr.evaluation import calibration, metrics
from celebattr.files import write_bytes
from celebattr.training import checkpoint, record, schedule
from celebattr.training.average import averaged
from celebattr.training.checkpoint import Progress
from celebattr.training.keep import make_card
from celebattr.training.listener import Listener, Logger
from celebattr.training.losses import LOSSES
from celebattr.training.recipe import complete
from celebattr.training.start import start
from celebattr.training.views import Views

CHECKPOINT_SECONDS = 300.0
"""Between checkpoints inside an epoch: what a killed run loses at most."""


def train(config: TrainConfig, listener: Listener | None = None) -> Path:
    """Trains a network and keeps the best epoch, by validation mAP, as a bundle.

    The run folder holds `config.json`, `history.jsonl`, `last.safetensors` (to resume),
    `best.safetensors` (a bundle, to use), `curves.png` and `report.html`.

    Returns:
        The path of the best bundle.

    Raises:
        DataError: the data cannot be read, or has no train or validation rows.
        WeightsError: the starting weights are missing or do not fit.
        DeviceError: the device is not there, or has too little memory for one image; TensorBoard is
            asked for and not installed.
        KeyboardInterrupt: interrupted; a checkpoint was written first.
    """
    return _Run(config, listener or Logger()).train()


class _Run:
    """State of one run; `progress` is all that changes besides tensors."""

    def __init__(self, config: TrainConfig, listener: Listener) -> None:
        if config.tensorboard:
            record.summary_writer()  # before any work: it may not be installed
        dataset = celeba.load(config.data, skip_missing=config.skip_missing)
        self.train_set = soften(
            dataset.split("train", config.limit).share(config.train_share, config.seed),
            config.soft_labels,
        )
        self.validation_set = dataset.split("validation", config.limit)
        for name, part in (("train", self.train_set), ("validation", self.validation_set)):
            if len(part) == 0:
                raise DataError(f"no {name} images in {', '.join(map(str, config.data))}")
        if not config.resume and (config.out / checkpoint.NAME).exists():
            raise DataError(
                f"{config.out} already holds a run: give --resume to go on, or another --out"
            )
        self.choice: DeviceChoice = resolve(config.device, config.precision)
        parts, fast = [self.train_set, self.validation_set], self.choice.device != "cpu"
        (self.train_set, self.validation_set), cache = cache_choice.attach(
            dataset, parts, mode=config.cache, folder=config.cache_folder, fast=fast
        )
        config = complete(config, len(self.train_set), self.choice.device)
        self.config, self.listener = config, listener
        self.epochs, self.batch_size = config.epochs or 0, config.batch_size or 0
        self.device = torch.device(self.choice.device)
        self.dtype: torch.dtype = getattr(torch, self.choice.precision)
        listener.notice(f"device     {self.choice.reason}")
        listener.notice(f"data       {dataset.describe()}")
        listener.notice(f"cache      {cache}")
        listener.begin(config)
        self.record = record.Record(config, self.choice.reason, dataset.describe())
        torch.manual_seed(config.seed)
        network, self.started_from = start(config, self.train_set, listener)
        self.network = network.place(self.device)
        self.average = averaged(self.network, config.ema) if config.ema else None
        self.optimizer = schedule.make_optimizer(
            self.network,
            kind=config.optimizer,
            lr=config.lr or 0.0,
            head_lr=config.head_lr or 0.0,
            weight_decay=config.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.choice.precision == "float16"
        )
        self.loss = LOSSES[config.loss]
        self.views = Views(config, self.train_set, self.device, self._autocast)
        self.progress = Progress(micro_batch=self.batch_size)
        if config.resume:
            self.progress = checkpoint.read(
                config.out, config.recipe(), self.network, self.average, self.optimizer
            )
            if self.progress.scaler:
                self.scaler.load_state_dict(self.progress.scaler)
            listener.notice(
                f"resumed    epoch {self.progress.epoch + 1}, batch {self.progress.batches}"
            )
        self.batches_per_epoch = math.ceil(len(self.train_set) / self.batch_size)
        # Plain gradient descent steps once an epoch, against the gradient over all images.
        self.full_batch = config.optimizer == "gd"
        self.stop = False

    def train(self) -> Path:
        """All epochs that are left."""
        config, progress = self.config, self.progress
        config.out.mkdir(parents=True, exist_ok=True)
        with self._signals(), contextlib.closing(self.record):
            write_bytes(config.out / "config.json", config.to_json().encode())
            while progress.epoch < self.epochs:
                size = config.size_at(progress.epoch)
                preprocess = Preprocess(PreprocessSpec(size)).to(self.device)
                self._train_epoch(preprocess)
                self._validate(preprocess, size)
        return config.out / "best.safetensors"

    def _train_epoch(self, preprocess: Preprocess) -> None:
        config, progress = self.config, self.progress
        steps = self.epochs * (1 if self.full_batch else self.batches_per_epoch)
        self.network.train()
        schedule.freeze(self.network.backbone, config.freeze_backbone)
        order = loader.order(len(self.train_set), config.seed, progress.epoch)
        left = order[progress.batches * self.batch_size :]
        started = saved = time.monotonic()
        seconds = progress.seconds
        for batch in loader.batches(
            self.train_set, left, batch_size=self.batch_size, workers=config.workers
        ):
            rate = schedule.factor(progress.step, steps, config.warmup, config.optimizer)
            schedule.set_lr(self.optimizer, rate)
            # Dropout too is a function of (seed, place), so that resuming changes nothing.
            place = progress.epoch * self.batches_per_epoch + progress.batches
            torch.manual_seed(config.seed * 1_000_003 + place)
            last = progress.batches + 1 == self.batches_per_epoch
            loss = self._gradients(batch, preprocess)
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss became {loss} at step {progress.step}: lower --lr, or give "
                    "--precision float32"
                )
            if last or not self.full_batch:
                self._step()
            progress.batches += 1
            progress.images += len(batch.indices_B)
            progress.loss_sum += loss * len(batch.indices_B)
            now = time.monotonic()
            progress.seconds = seconds + now - started
            self.listener.step(progress, self.batches_per_epoch, loss, self._share_done())
            if self.stop:
                self._checkpoint()
                raise KeyboardInterrupt
            if now - saved > CHECKPOINT_SECONDS:
                self._checkpoint()
                saved = time.monotonic()

    def _step(self) -> None:
        """One step of the optimiser along the gradients summed so far."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.progress.step += 1

    def _gradients(self, batch: loader.Batch, preprocess: Preprocess) -> float:
        """Adds a batch's gradients; returns its loss. Out of memory: halves what a pass takes."""
        progress = self.progress
        # Of the mean over what a step sees: one batch, or all images.
        seen = len(self.train_set) if self.full_batch else len(batch.indices_B)
        while True:
            try:
                loss = 0.0
                size = progress.micro_batch
                for at in range(0, len(batch.indices_B), size):
                    part = slice(at, at + size)
                    view = self.views.make(batch, part, progress.epoch)
                    images = preprocess.normalize(view.unit)
                    with self._autocast():
                        logits = self.network(images.contiguous(memory_format=torch.channels_last))
                    value = self.loss(logits.float(), view.targets, view.weights)
                    scaled = self.scaler.scale(value * (len(images) / seen))
                    scaled.backward()  # type: ignore[no-untyped-call]
                    loss += float(value.detach()) * (len(images) / len(batch.indices_B))
                return loss
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                self.optimizer.zero_grad(set_to_none=True)
                if self.full_batch:  # what was summed so far is lost
                    raise DeviceError(
                        f"{self.choice.device} has too little memory for {size} images: choose a "
                        "smaller --batch-size"
                    ) from error
                if size == 1:
                    raise DeviceError(
                        f"{self.choice.device} has too little memory for one image: "
                        "choose a smaller --image-size or --device cpu"
                    ) from error
                progress.micro_batch = (size + 1) // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                self.listener.notice(
                    f"out of memory: {progress.micro_batch} images a pass instead of {size}; "
                    f"gradients are summed, so a step still sees {self.batch_size}"
                )

    def _validate(self, preprocess: Preprocess, size: tuple[int, int]) -> None:
        """Ends an epoch: metrics, history, the best bundle, a checkpoint, the curves."""
        config, progress = self.config, self.progress
        network = self.average.module if self.average is not None else self.network
        logits = self._logits(network, preprocess)
        targets = self.validation_set.targets_NA
        loss = float(self.loss(torch.from_numpy(logits), torch.from_numpy(targets).float()))
        scale = calibration.fit_scale(logits, targets)
        p = probabilities(logits, scale, np.zeros_like(scale))
        decided = present(p, np.full_like(scale, 0.5))
        summary = metrics.summary(p, targets, decided)
        row: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "image_size": f"{size[0]}x{size[1]}",
            "train_loss": progress.loss_sum / progress.images,
            "validation_loss": loss,
            "validation_mean_attribute_accuracy": summary.mean_attribute_accuracy,
            "validation_mean_average_precision": summary.mean_average_precision,
            "lr": self.optimizer.param_groups[0]["lr"],
            "images_per_second": progress.images / max(progress.seconds, 1e-9),
            "seconds": progress.seconds,
        }
        progress.history.append(row)
        score = summary.mean_average_precision or 0.0
        if progress.best is None or score > progress.best:
            progress.best = score
            card = make_card(
                config,
                self.train_set,
                size=size,
                scale=scale,
                tally=counts(p, targets),
                started_from=self.started_from,
                validation={
                    "images": len(self.validation_set),
                    "mean_attribute_accuracy": summary.mean_attribute_accuracy,
                    "mean_average_precision": summary.mean_average_precision,
                    "measured_in": self.choice.precision,
                },
                epoch=row,
            )
            bundle.save(config.out / "best.safetensors", card, network.state_dict())
        progress.epoch += 1
        progress.batches = progress.images = 0
        progress.loss_sum = progress.seconds = 0.0
        self.record.history(progress.history)
        self._checkpoint()
        self.record.pictures(progress.history, self.validation_set, p, decided)
        self.listener.epoch(row)

    @torch.no_grad()
    def _logits(self, network: torch.nn.Module, preprocess: Preprocess) -> np.ndarray[Any, Any]:
        """Logits of the validation images, float32 [N, A]."""
        network.eval()
        parts = []
        indices = np.arange(len(self.validation_set))
        for batch in loader.batches(
            self.validation_set,
            indices,
            batch_size=self.progress.micro_batch,
            workers=self.config.workers,
        ):
            frames = torch.from_numpy(batch.frames_BHWC).to(self.device)
            images = preprocess(frames).contiguous(memory_format=torch.channels_last)
            with self._autocast():
                parts.append(network(images).float().cpu().numpy())
        logits = np.concatenate(parts)
        assert len(logits) == len(self.validation_set)
        return logits

    def _checkpoint(self) -> None:
        if self.full_batch and self.progress.batches:
            return  # half a gradient is of no use: the epoch begins again
        self.progress.scaler = dict(self.scaler.state_dict())
        checkpoint.write(
            self.config.out,
            self.progress,
            self.config.recipe(),
            self.network,
            self.average,
            self.optimizer,
        )

    def _share_done(self) -> float:
        """Share of the run's work that is done: a small image is less work than a large one."""
        config, progress = self.config, self.progress
        cost = [math.prod(config.size_at(e)) for e in range(self.epochs)]
        here = cost[progress.epoch] * progress.batches / self.batches_per_epoch
        return (sum(cost[: progress.epoch]) + here) / sum(cost)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after the step under way; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: object) -> None:
            if self.stop:
                raise KeyboardInterrupt
            self.stop = True
            self.listener.notice("stopping after this step; once more to stop at once")

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _out_of_memory(error: BaseException) -> bool:
    # The CPU allocator raises a plain RuntimeError; only its text tells.
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
