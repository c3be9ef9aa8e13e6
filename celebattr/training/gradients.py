"""Forward and backward over a batch, in passes that fit into memory."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from celebattr.data import loader
from celebattr.data.loader import Batch
from celebattr.errors import DeviceError, UsageError
from celebattr.models.device import DeviceChoice, out_of_memory
from celebattr.models.preprocess import Preprocess
from celebattr.training.batch import BatchBuilder
from celebattr.training.callbacks import Listener
from celebattr.training.checkpoint import Progress
from celebattr.training.compile import Forward, release
from celebattr.training.config import TrainConfig
from celebattr.training.distributed import World, norms_at_rest
from celebattr.training.losses import make_loss


class GradientAccumulator:
    """The gradients of a batch, summed over passes that are halved when memory runs out.

    Args:
        config: the run's settings, nothing left open.
        choice: device and precision.
        network: as `distributed.bind` gives it.
        forward: what is called in its place, see `celebattr.training.compile`.
        builder: makes the training batch of a step.
        autocast: the context of the forward pass.
        scaler: of the gradients of float16.
        seen: images that the gradient of a step is the mean over; 0 for those of its batch.
        world: the processes that share a batch.
        listener: is told of smaller passes.
    """

    def __init__(
        self,
        config: TrainConfig,
        choice: DeviceChoice,
        network: nn.Module,
        *,
        forward: Forward,
        builder: BatchBuilder,
        autocast: Callable[[], torch.autocast],
        scaler: torch.amp.GradScaler,
        seen: int,
        world: World,
        listener: Listener,
    ) -> None:
        self.choice, self.device = choice, torch.device(choice.device)
        self.network, self.forward, self.builder = network, forward, builder
        self.autocast, self.scaler = autocast, scaler
        self.loss = make_loss(config.loss, config.pos_weight, builder.shares_A, self.device)
        self.batch_size = config.batch_size or 0
        self.seen, self.world, self.listener = seen, world, listener
        self.fits: tuple[Preprocess | None, int] = None, 0

    def gradients(
        self,
        batch: Batch,
        count: int,
        preprocess: Preprocess,
        progress: Progress,
        *,
        chance: int,
        step: bool,
    ) -> float:
        """Add the gradients of a batch; return the mean loss of all processes' images.

        Args:
            batch: this process's part of it.
            count: its images in all processes.
            preprocess: makes the network's input.
            progress: its `micro_batch` is the images per pass.
            chance: seed of dropout.
            step: whether an optimiser step follows: the gradient is then that of all processes.

        Raises:
            DeviceError: one image is too much.
            UsageError: one image is too little, for a batch norm.
        """
        fits, most = self.fits
        # Not between the passes of a whole epoch's gradient, which the trial would clear.
        larger = count > most and not self.seen
        if self.world.size > 1 and (fits is not preprocess or larger):
            self._fit(batch, count, preprocess, progress)
        while True:
            # Dropout is a function of (seed, place, process), so that resuming changes nothing.
            torch.manual_seed(chance + 15_485_863 * self.world.rank)
            try:
                loss = self._all(batch, count, preprocess, progress, step)
                return self.world.sum(loss)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if self.world.size > 1:
                    raise DeviceError(
                        f"{self.choice.device} ran out of memory for what it had room for before: "
                        "stop what else uses it, then continue with --resume"
                    ) from error
                if self.seen:  # what was summed so far is lost
                    raise self._too_little(
                        f"{progress.micro_batch} images: choose a smaller --batch-size"
                    ) from error
                size, progress.micro_batch = progress.micro_batch, self._smaller(progress, count)
                self._say(progress, size, error)
            # Outside of `except`: the error's traceback holds the tensors that did not fit.
            release(self.device.type)

    def close(self) -> None:
        """Release the network, and the process group that DDP holds with it."""
        # DDP must be gone before the process group is: see `distributed._leave`.
        del self.network, self.forward

    def _fit(self, batch: Batch, count: int, preprocess: Preprocess, progress: Progress) -> None:
        """Find the pass size that fits all processes, before the first step of an image size.

        While a gradient is summed over processes, one that runs out of memory cannot begin again
        without the others. So each tries alone, and they agree on the smallest.
        """
        while True:
            size = able = progress.micro_batch
            failure: BaseException | None = None
            try:
                with norms_at_rest(self.network):
                    self._all(batch, count, preprocess, progress, step=False)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                able, failure = self._smaller(progress, count), error.with_traceback(None)
            release(self.device.type)
            self.network.zero_grad(set_to_none=True)
            progress.micro_batch = self.world.least(able)
            if progress.micro_batch == size:
                self.fits = preprocess, count
                return
            self._say(progress, size, failure)

    def _all(
        self, batch: Batch, count: int, preprocess: Preprocess, progress: Progress, step: bool
    ) -> float:
        """Run all passes over this process's part; return its share of the mean loss."""
        size = progress.micro_batch
        loss = 0.0
        parts = passes(len(batch.indices_B), self.world.largest(count), size)
        for number, part in enumerate(parts, 1):
            with self._summing(step and number == len(parts)):
                value, images = self._pass(batch, part, preprocess, progress.epoch)
                # DDP takes the mean over processes, whose parts may differ in size.
                share = images * self.world.size / (self.seen or count)
                # The scaler does nothing but in float16, whose small gradients underflow.
                self.scaler.scale(value * share).backward()  # type: ignore[no-untyped-call]
            loss += float(value.detach()) * (images / count)
        return loss

    def _pass(
        self, batch: Batch, part: slice, preprocess: Preprocess, epoch: int
    ) -> tuple[Tensor, int]:
        """Run one pass; return its mean loss and its number of images."""
        if part.start == part.stop:
            # Nothing is left for this process, but the others wait for its gradient: zeros.
            height, width = len(preprocess.rows), preprocess.columns.shape[1]
            return self.network(torch.zeros(0, 3, height, width, device=self.device)).sum(), 0
        made = self.builder.make(batch, part, epoch)
        images = preprocess.normalize(made.unit)
        try:
            with self.autocast():
                logits = self.forward(images.contiguous(memory_format=torch.channels_last))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                "batch norm needs more than one image per pass where feature maps are 1x1: give a "
                "larger --image-size or --batch-size, or more training images"
            ) from error
        return self.loss(logits.float(), made.targets, made.weights), len(images)

    @contextlib.contextmanager
    def _summing(self, now: bool) -> Iterator[None]:
        """Sum gradients over the processes only in the last pass before a step."""
        apart: AbstractContextManager[None] = contextlib.nullcontext()
        if isinstance(self.network, DistributedDataParallel) and not now:
            apart = self.network.no_sync()
        with apart:
            yield

    def _smaller(self, progress: Progress, count: int) -> int:
        """Return half of a pass's images; 0 if there was one."""
        size = min(progress.micro_batch, self.world.largest(count))
        return (size + 1) // 2 if size > 1 else 0

    def _say(self, progress: Progress, size: int, error: BaseException | None) -> None:
        self.network.zero_grad(set_to_none=True)
        if progress.micro_batch == 0:
            raise self.world.raise_on_main(
                self._too_little(
                    "one image: choose a smaller --image-size"
                    + (" or --device cpu" if self.device.type != "cpu" else "")
                )
            ) from error
        self.listener.notice(
            f"out of memory: {progress.micro_batch} images per pass instead of {size}; "
            f"gradients are accumulated, so a step still sees {self.batch_size}"
        )

    def _too_little(self, for_what: str) -> DeviceError:
        return DeviceError(f"{self.choice.device} has too little memory for {for_what}")


def passes(own: int, largest: int, size: int) -> list[slice]:
    """Return the parts of a process's `own` images that go through the network at once.

    They are as many in all processes, of which one has `largest` images: where batch norms meet,
    each meets them all.
    """
    begin = loader.starts(own, size)
    begin += [own] * (len(loader.starts(largest, size)) - len(begin) + 1)
    return [slice(*pair) for pair in itertools.pairwise(begin)]
