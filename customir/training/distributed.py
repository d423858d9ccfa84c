"""Training in several processes that torchrun has started."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, within the context: gloo on CPUs, NCCL on GPUs."""
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"] and sys.platform == "linux":
        # All processes are on one machine. By default, gloo resolves the machine's name and listens
        # on that address.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def connects_later() -> bool:
    """Whether sockets are opened later: gloo opens all at the start, NCCL on first use."""
    return torch.cuda.is_available()


def barrier() -> None:
    """Wait until every process has reached this call."""
    distributed.barrier()


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of processes: (0, 1) outside torchrun."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def all_reduce_gradients(weights: Iterable[Tensor]) -> None:
    """Sum each weight's gradient over the processes; does nothing if there is only one."""
    if rank_and_world_size()[1] > 1:
        for weight in weights:
            if weight.grad is None:  # this process had no micro-batch
                weight.grad = torch.zeros_like(weight)
            distributed.all_reduce(weight.grad)


def broadcast(value: float) -> float:
    """The first process's value, returned in every process."""
    if rank_and_world_size()[1] == 1:
        return value
    told = torch.tensor([value], dtype=torch.float64)
    distributed.broadcast(told, 0)
    return float(told)
