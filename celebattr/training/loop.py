"""The training loop: one function to read from top to bottom, and its helpers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from celebattr.data import loader
from celebattr.errors import DataError
from celebattr.io.files import write_bytes
from celebattr.models import bundle
from celebattr.models.decisions import counts
from celebattr.models.device import enough_memory
from celebattr.models.preprocess import Preprocess, PreprocessSpec
from celebattr.training import checkpoint, curves, distributed, run_folder, validation
from celebattr.training.batch import BatchBuilder, recompressor
from celebattr.training.callbacks import Listener, Logger, Silence, Stop
from celebattr.training.checkpoint import Progress, make_card
from celebattr.training.compile import keep_freed, make_forward
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World
from celebattr.training.gradients import GradientAccumulator
from celebattr.training.losses import make_loss
from celebattr.training.optimizer import averaged, lr_factor, make_optimizer, set_lr, train_mode
from celebattr.training.setup import begin, start

CHECKPOINT_SECONDS = 300.0
"""Seconds between checkpoints inside an epoch: the most that a killed run loses."""


def train(config: TrainConfig, listener: Listener | None = None) -> Path:
    """Train a network and keep the best epoch, by validation mAP, as a bundle.

    The run folder holds `config.json`, `history.jsonl`, `last.safetensors` (to resume),
    `best.safetensors` (a bundle, to use), `curves.png` and `report.html`. Where torchrun started
    several processes, they share each batch, and rank 0 alone writes and reports.

    Returns:
        The path of the best bundle.

    Raises:
        DataError: the data cannot be read, or has no train or validation rows; the run folder
            cannot be written, or another run has it; a checkpoint is damaged or of other data.
        WeightsError: the starting weights are missing or do not fit.
        DeviceError: the device is not there, or has too little memory for one image; TensorBoard is
            asked for and not installed; another process of the run has ended.
        KeyboardInterrupt: interrupted; a checkpoint was written first.
        SystemExit: the same, in all processes but rank 0, which alone reports.
    """
    remedy = "give a smaller --batch-size, fewer --workers or --cache off, and --resume"
    with enough_memory(remedy), distributed.join() as world, run_folder.claim(config, world):
        return _Run(config, (listener or Logger()) if world.is_main else Silence(), world).train()


class _Run:
    """The state of one run; `progress` is all that changes besides tensors."""

    def __init__(self, config: TrainConfig, listener: Listener, world: World) -> None:
        begun = begin(config, listener, world)
        self.config = config = begun.config
        self.choice, self.listener, self.world = begun.choice, listener, world
        self.stop = Stop(listener, at_once=world.size == 1)
        self.train_set, self.validation_set = begun.train_set, begun.validation_set
        self.epochs, self.batch_size = config.epochs or 0, config.batch_size or 0
        self.device = torch.device(self.choice.device)
        if self.device.type == "cpu":
            keep_freed()
        self.dtype: torch.dtype = getattr(torch, self.choice.precision)
        self.digests = checkpoint.digests(self.train_set, self.validation_set)
        self.run_folder = run_folder.RunFolder(
            config, self.choice.reason, begun.data, listener.notice
        )
        torch.manual_seed(config.seed)
        with world.propagate_errors():
            network, self.started_from = start(config, self.train_set, listener, world)
            builder = BatchBuilder(config, self.train_set, self.device, self._autocast)
        if self.device.type == "cuda" and world.size > 1:
            torch.cuda.set_device(self.device)  # NCCL's, and what libraries take unasked
        self.network = network.place(self.device)
        world.give(self.network)
        self.average = averaged(self.network, config.ema) if config.ema else None
        self.optimizer = make_optimizer(
            self.network,
            kind=config.optimizer,
            lr=config.lr or 0.0,
            head_lr=config.head_lr or 0.0,
            weight_decay=config.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.choice.precision == "float16"
        )
        self.progress = Progress(micro_batch=self.batch_size)
        if config.resume:
            self._resume()
        self.batches_per_epoch = len(loader.starts(len(self.train_set), self.batch_size))
        # Plain gradient descent steps once an epoch, against the gradient over all images.
        self.full_batch = config.optimizer == "gd"
        train_mode(self.network, config.freeze_backbone, config.freeze_stages)
        bound, self.apart = distributed.bind(
            self.network, self.device, self.batch_size, world, listener
        )
        sizes = [config.size_at(epoch) for epoch in range(self.epochs)]
        self.accumulator = GradientAccumulator(
            config,
            self.choice,
            bound,
            forward=make_forward(
                bound,
                config.compile,
                device=self.device.type,
                processes=world.size,
                steps=self.batches_per_epoch * min(map(sizes.count, sizes)),
                batch_size=self.batch_size,
                listener=listener,
            ),
            builder=builder,
            autocast=self._autocast,
            scaler=self.scaler,
            seen=len(self.train_set) if self.full_batch else 0,
            world=world,
            listener=listener,
        )

    def _resume(self) -> None:
        """Restore the run from its last checkpoint, which rank 0 reads for all."""
        config = self.config
        with self.world.propagate_errors():
            data = checkpoint.load(config.output) if self.world.is_main else b""
        data = self.world.broadcast_bytes(data)
        with self.world.propagate_errors():
            self.progress = checkpoint.restore(
                data,
                config.output / checkpoint.NAME,
                config.recipe(),
                self.digests,
                self.network,
                self.average,
                self.optimizer,
            )
        if self.progress.scaler:
            self.scaler.load_state_dict(self.progress.scaler)
        self.listener.notice(
            f"resumed    epoch {self.progress.epoch + 1}, batch {self.progress.batches}"
        )

    def train(self) -> Path:
        """Train all remaining epochs; return the best bundle."""
        config, progress = self.config, self.progress
        with (
            self.stop.watch(),
            contextlib.closing(self.run_folder),
            contextlib.closing(self.accumulator),
        ):
            if self.world.is_main:
                write_bytes(config.output / "config.json", config.to_json().encode())
            if progress.epoch == self.epochs or self._out_of_patience():
                self.listener.notice(
                    f"finished   {progress.epoch} of {self.epochs} epochs are done. To train on, "
                    f"start another run from it: --backbone-weights {config.output} "
                    "--output ANOTHER"
                )
            while progress.epoch < self.epochs and not self._out_of_patience():
                size = config.size_at(progress.epoch)
                preprocess = Preprocess(PreprocessSpec(size)).to(self.device)
                self._train_epoch(preprocess)
                self._validate(preprocess, size)
            if told := run_folder.below_majority(progress.history):
                self.listener.notice(told)
        return config.output / "best.safetensors"

    def _out_of_patience(self) -> bool:
        tired = run_folder.out_of_patience(self.progress.history, self.config.patience)
        return self.world.any(tired)[0]

    def _train_epoch(self, preprocess: Preprocess) -> None:
        config, progress, world = self.config, self.progress, self.world
        steps = self.epochs * (1 if self.full_batch else self.batches_per_epoch)
        train_mode(self.network, config.freeze_backbone, config.freeze_stages)
        order = loader.order(len(self.train_set), config.seed, progress.epoch)
        chunks = loader.steps(order, self.batch_size)[progress.batches :]
        started = saved = time.monotonic()
        seconds = progress.seconds
        parts = (chunk[world.part(len(chunk))] for chunk in chunks)
        transform = recompressor(config, progress.epoch)
        read = self._timed(
            loader.read(self.train_set, parts, workers=config.workers, transform=transform)
        )
        for count, batch in zip(map(len, chunks), read, strict=True):
            rate = lr_factor(progress.step, steps, config.warmup or 0.0, config.optimizer)
            set_lr(self.optimizer, rate)
            place = progress.epoch * self.batches_per_epoch + progress.batches
            last = progress.batches + 1 == self.batches_per_epoch
            step = last or not self.full_batch
            loss = self.accumulator.gradients(
                batch,
                count,
                preprocess,
                progress,
                chance=config.seed * 1_000_003 + place,  # neighbouring seeds share none
                step=step,
            )
            if not math.isfinite(loss):
                raise world.raise_on_main(
                    DataError(
                        f"the loss became {loss} at step {progress.step}: lower --lr, or give "
                        "--precision float32"
                    )
                )
            if step:
                self._step()
            progress.batches += 1
            progress.images += count
            progress.loss_sum += loss * count
            now = time.monotonic()
            progress.seconds = seconds + now - started
            self.listener.step(progress, self.batches_per_epoch, loss, self._share_done())
            every = config.checkpoint_every
            due = step and every is not None and progress.step % every == 0
            # One process is asked to stop, or one clock has run: all do the same after this step.
            stop, late = world.any(self.stop.asked, now - saved > CHECKPOINT_SECONDS)
            if stop or late or due:
                self._checkpoint()
                saved = now
            if stop:
                raise KeyboardInterrupt

    def _timed(self, batches: Iterator[loader.Batch]) -> Iterator[loader.Batch]:
        """Yield the batches, and add the time spent waiting for them to `progress`."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            self.progress.waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def _step(self) -> None:
        """Take one optimiser step along the gradients summed so far."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.progress.step += 1

    def _validate(self, preprocess: Preprocess, size: tuple[int, int]) -> None:
        """End an epoch: metrics, history, the best bundle, a checkpoint, the curves."""
        config, progress = self.config, self.progress
        self._settle()
        network = self.average.module if self.average is not None else self.network
        logits = validation.logits(
            network,
            self.validation_set,
            preprocess,
            batch_size=progress.micro_batch,
            workers=config.workers,
            device=self.device,
            autocast=self._autocast,
            world=self.world,
        )
        if not self.world.is_main:
            self._next_epoch()
            return
        targets_NA, shares_A = self.validation_set.targets_NA, self.train_set.shares_A
        loss = make_loss(config.loss, config.pos_weight, shares_A)
        measured = validation.measure(logits, targets_NA, shares_A, loss)
        summary = measured.summary
        row = run_folder.row(progress, measured, size, self.optimizer.param_groups[0]["lr"])
        progress.history.append(row)
        if curves.best(progress.history) is row:
            card = make_card(
                config,
                self.train_set,
                size=size,
                scale=measured.scale,
                tally=counts(measured.probabilities_NA, targets_NA),
                started_from=self.started_from,
                validation={
                    "images": len(self.validation_set),
                    "mean_attribute_accuracy": summary.mean_attribute_accuracy,
                    "mean_average_precision": summary.mean_average_precision,
                    "measured_in": self.choice.precision,
                },
                epoch=row,
            )
            wide = bundle.save(config.output / "best.safetensors", card, network.state_dict())
            if wide:
                self.listener.notice(
                    f"warning    too wide for half precision, kept in float32: {', '.join(wide)}"
                )
        # History before the checkpoint: killed in between, the resumed run writes the row again.
        self._next_epoch()
        self.run_folder.history(progress.history)
        self._write()
        self.run_folder.pictures(
            progress.history, self.validation_set, measured.probabilities_NA, measured.present_NA
        )
        self.listener.epoch(row)

    def _next_epoch(self) -> None:
        self.progress.epoch += 1
        self.progress.batches = self.progress.images = 0
        self.progress.loss_sum = self.progress.seconds = self.progress.waited = 0.0

    def _checkpoint(self) -> None:
        """Write a checkpoint inside an epoch, in all processes."""
        if self.full_batch and self.progress.batches:
            return  # half a gradient is of no use: the epoch begins again
        self._settle()
        if self.world.is_main:
            self._write()

    def _settle(self) -> None:
        """Average the batch norms' statistics, if each process has its own."""
        if self.apart:
            averages = [] if self.average is None else [self.average]
            self.world.average_norms(self.network, *averages)

    def _write(self) -> None:
        self.progress.scaler = dict(self.scaler.state_dict())
        checkpoint.write(
            self.config.output,
            self.progress,
            self.config.recipe(),
            self.digests,
            self.network,
            self.average,
            self.optimizer,
        )

    def _share_done(self) -> float:
        """Return the share of the run's work done, weighting images by their size."""
        config, progress = self.config, self.progress
        cost = [math.prod(config.size_at(e)) for e in range(self.epochs)]
        here = cost[progress.epoch] * progress.batches / self.batches_per_epoch
        return (sum(cost[: progress.epoch]) + here) / sum(cost)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
        )
