"""Processes that train as one: torchrun starts them, PyTorch's DDP joins them.

A step's batch is the whole world's. Each process takes whole mirrored pairs of it (places i and
B - 1 - i), because mixup blends a sample with the one at its mirrored place: the pairs are then the
same for any number of processes. Beside gradients, processes exchange a few numbers per
step, on the host (gloo), and no object is pickled. A world of one process exchanges nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import inspect
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from celebattr.errors import CelebattrError, DeviceError, ExitCode
from celebattr.training import rendezvous
from celebattr.training.callbacks import Listener
from celebattr.training.rendezvous import leftover, number

log = logging.getLogger(__name__)

PATIENCE = datetime.timedelta(minutes=30)
"""Timeout of a process for the others: rank 0 may be drawing, writing or downloading."""


@dataclass(frozen=True)
class World:
    """One process among those of a run.

    Attributes:
        rank: from 0; rank 0 writes all files and does all the reporting.
        size: how many there are.
        local_rank: which of those on this machine.
        local_size: how many there are on this machine.
        restarts: how often torchrun has started the processes again.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0

    @staticmethod
    def here() -> World:
        """Return the world that the environment describes, as torchrun sets it.

        Raises:
            UsageError: its variables do not fit each other; a scheduler may have left them.
        """
        size, rank = number("WORLD_SIZE"), number("RANK")
        if rank is None and size in (None, 1):
            return World()
        if rank is None or size is None:
            there, missing = ("WORLD_SIZE", "RANK") if rank is None else ("RANK", "WORLD_SIZE")
            raise leftover(there, f"{missing} is not set")
        if rank >= size:
            raise leftover("RANK", f"it counts from 0 and WORLD_SIZE is {size}")
        if size > 1 and not (os.environ.get("MASTER_ADDR") and number("MASTER_PORT")):
            raise leftover("WORLD_SIZE", "MASTER_ADDR and MASTER_PORT do not say where to meet")
        return World(
            rank=rank,
            size=size,
            local_rank=number("LOCAL_RANK") or 0,  # not every launcher tells
            local_size=number("LOCAL_WORLD_SIZE") or 1,
            restarts=number("TORCHELASTIC_RESTART_COUNT") or 0,
        )

    @property
    def is_main(self) -> bool:
        """True on rank 0, the process that writes and reports."""
        return self.rank == 0

    def part(self, count: int) -> NDArray[np.int64]:
        """Return this process's places in a batch of `count`, ascending: whole mirrored pairs.

        Mirrored within the part, a place meets the one that it meets mirrored within the batch. The
        middle of an odd batch, its own partner, belongs to rank 0: on its own an image would
        have no batch norm. A part is empty where there are fewer pairs than processes; that of
        rank 0 never is.
        """
        pairs = np.array_split(np.arange(count // 2), self.size)[self.rank]
        middle = np.arange(count // 2, count // 2 + (count % 2 if self.is_main else 0))
        return np.concatenate([pairs, middle, count - 1 - pairs[::-1]])

    def largest(self, count: int) -> int:
        """Return the size of the largest part of a batch of `count`, which is rank 0's."""
        return len(World(0, self.size).part(count))

    def sum(self, value: float) -> float:
        """Return the sum of the processes' values."""
        if self.size == 1:
            return value
        return float(_reduced(torch.tensor(value, dtype=torch.float64), dist.ReduceOp.SUM))

    def any(self, *flags: bool) -> list[bool]:
        """Return, for each flag, True if any process raises it."""
        if self.size == 1:
            return list(flags)
        return [bool(v) for v in _reduced(torch.tensor(flags).int(), dist.ReduceOp.MAX)]

    def least(self, value: int) -> int:
        """Return the least of the processes' values."""
        if self.size == 1:
            return value
        return int(_reduced(torch.tensor(value), dist.ReduceOp.MIN))

    def texts(self, text: str) -> list[str]:
        """Return the processes' texts, by rank."""
        if self.size == 1:
            return [text]
        data = text.encode()
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(data)]))
        longest = max(int(n) for n in lengths)
        padded = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(padded, torch.tensor(list(data.ljust(longest, b"\0")), dtype=torch.uint8))
        pairs = zip(padded, lengths, strict=True)
        return [bytes(p[: int(n)].numpy()).decode() for p, n in pairs]

    def broadcast_bytes(self, data: bytes) -> bytes:
        """Return the bytes of rank 0; those of other processes are ignored."""
        if self.size == 1:
            return data
        length = torch.tensor([len(data)])
        dist.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.is_main:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(content, 0)
        return content.numpy().tobytes()

    def join_rows(self, values_NA: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a table of which each process has filled some rows and left others at 0."""
        if self.size == 1:
            return values_NA
        # As integers, of which all but one are 0: not a bit changes.
        joined = _reduced(torch.from_numpy(values_NA.view(np.int32).copy()), dist.ReduceOp.SUM)
        return joined.numpy().view(np.float32)

    def raise_on_main(self, error: CelebattrError) -> BaseException:
        """Return the exception to raise where all fail alike: only rank 0 reports it."""
        return error if self.is_main else SystemExit(int(error.exit_code))

    @contextlib.contextmanager
    def propagate_errors(self) -> Iterator[None]:
        """Raise an error of one process in all, so that none waits for it.

        Raises:
            CelebattrError: of the lowest rank that has one.
        """
        if self.size == 1:
            yield
            return
        error: CelebattrError | None = None
        try:
            yield
        except CelebattrError as caught:
            error = caught
        told = self.texts("" if error is None else f"{int(error.exit_code)} {error}")
        for rank, text in enumerate(told):
            if text:
                code, _, message = text.partition(" ")
                where = f"process {rank} of {self.size}: " if rank else ""
                raise self.raise_on_main(_kind(int(code))(where + message)) from error

    @torch.no_grad()
    def give(self, network: nn.Module) -> None:
        """Copy the weights and statistics of rank 0 to all processes."""
        if self.size == 1:
            return
        for tensor in network.state_dict().values():
            flat = tensor.contiguous()  # filters lie channels last
            dist.broadcast(flat, 0)
            tensor.copy_(flat)

    @torch.no_grad()
    def average_norms(self, *networks: nn.Module) -> None:
        """Set the batch norms' running statistics to their mean over the processes."""
        norms = [n for network in networks for n in trained_norms(network, whole=True)]
        running = [s for n in norms for s in (n.running_mean, n.running_var) if s is not None]
        if self.size == 1 or not running:
            return
        flat = _reduced(torch.cat([s.flatten() for s in running]), dist.ReduceOp.SUM) / self.size
        means = torch.split(flat, [s.numel() for s in running])
        for statistics, mean in zip(running, means, strict=True):
            statistics.copy_(mean)


@contextlib.contextmanager
def join() -> Iterator[World]:
    """Join the processes that torchrun has started; without it, yield a world of one.

    Raises:
        UsageError: see `World.here`.
        DeviceError: the others cannot be reached, or one has ended.
    """
    world = World.here()
    if world.size == 1:
        yield world
        return
    ours = not dist.is_initialized()
    try:
        if ours:
            # gloo everywhere: a machine whose GPU is missing meets the others, and all are told.
            store = rendezvous.meet(world.rank, world.size)
            store.set_timeout(PATIENCE)
            nccl = torch.cuda.is_available() and dist.is_nccl_available()
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if nccl else "gloo",
                store=store,
                rank=world.rank,
                world_size=world.size,
                timeout=PATIENCE,
            )
        yield world
    except KeyboardInterrupt:
        if ours and dist.is_initialized():  # else the others were still awaited
            _leave()
        if world.is_main:
            raise
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    except RuntimeError as error:
        if not _lost(error):
            raise
        log.info("lost the others: %s", error)
        raise world.raise_on_main(
            DeviceError(
                "another process of the run has ended or cannot be reached: its own message, or "
                "torchrun's, says why. Continue from the last checkpoint with --resume"
            )
        ) from error
    # After a failure there is nobody to take leave of, and NCCL would wait.
    if ours:
        _leave()


def bind(
    network: nn.Module, device: torch.device, batch_size: int, world: World, listener: Listener
) -> tuple[nn.Module, bool]:
    """Return the network as a step calls it; its gradients become the mean over the processes.

    Batch norms that are trained take the statistics of the
    whole batch where PyTorch can, which is on GPUs.

    Returns:
        What to call, and whether batch norms gather statistics of each process's own.
    """
    if world.size == 1:
        return network, False
    gpus = device.type == "cuda"
    listener.notice(
        f"processes  {world.size}, {'NCCL' if gpus else 'gloo'}: of a step's {batch_size} images "
        f"each takes {world.largest(batch_size)} at most"
    )
    normed = bool(trained_norms(network))
    if normed and gpus:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        listener.notice("batch norm over the images of all processes (SyncBatchNorm)")
    elif normed:
        listener.notice(
            "batch norm over each process's own images (SyncBatchNorm needs GPUs): losses differ "
            "from those of one process"
        )
    # Buffers are either the same everywhere or averaged by `World.average_norms`.
    known = inspect.signature(DistributedDataParallel).parameters
    renamed = "forward_sync_buffers" in known  # torch 2.13
    options: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    bound = DistributedDataParallel(network, [device] if gpus else None, **options)
    return bound, normed and not gpus


def trained_norms(network: nn.Module, *, whole: bool = False) -> list[_BatchNorm]:
    """Return the batch norms that gather statistics now; with `whole`, all of them."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    return [n for n in norms if whole or n.training]


@contextlib.contextmanager
def norms_at_rest(network: nn.Module) -> Iterator[None]:
    """Stop batch norms from gathering or exchanging statistics within the block."""
    norms = trained_norms(network)
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def _leave() -> None:
    """End the group and, with the last reference to it, gloo's threads.

    DDP holds the group in a cycle. A thread that lets go of a tensor while the interpreter ends
    aborts the process: https://github.com/pytorch/pytorch/pull/179291.
    """
    dist.destroy_process_group()
    gc.collect()  # a cycle ends here or at exit, which is too late


def _reduced(values: Tensor, how: Any) -> Tensor:
    dist.all_reduce(values, how)
    return values


def _kind(code: int) -> type[CelebattrError]:
    return next(k for k in CelebattrError.__subclasses__() if int(k.exit_code) == code)


def _lost(error: RuntimeError) -> bool:
    # gloo raises a plain RuntimeError; only its text tells.
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
