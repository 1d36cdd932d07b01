"""Checkpoints: all that a run needs to go on as if nothing had happened, as safetensors with a JSON header."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from atomlens.errors import InputError
from atomlens.files import replacing


@dataclass
class Progress:
    """Where a run stands; the order of examples follows from seed and epoch, so positions are enough."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # batches done in this epoch
    rows: int = 0  # of the log
    seconds: float = 0.0  # spent training, over all sessions of the run
    loss_sum: float = 0.0  # over this epoch's steps
    best_loss: float = float("inf")
    best_epoch: int = 0
    stale: int = 0  # epochs since the best one


def save_checkpoint(
    path: Path, progress: Progress, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, identity: str
) -> None:
    """Write modules (by a name for each), optimiser and progress in one step; ``identity`` names the run's settings."""
    tensors = {
        f"{part}/{name}": tensor for part, module in modules.items() for name, tensor in module.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in state.items()}
    values = asdict(progress)
    values["best_loss"] = None if progress.best_loss == float("inf") else progress.best_loss
    header = {"identity": identity, "progress": json.dumps(values)}
    with replacing(path) as temporary:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata=header
        )


def read_progress(path: Path, identity: str) -> Progress:
    """Where the run of a checkpoint stands.

    Raises:
        InputError: the checkpoint is damaged, or belongs to other settings or data.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            header = opened.metadata()
        values = json.loads(header["progress"])
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"is a damaged checkpoint ({error}); start the run anew in another folder", file=str(path)
        ) from None
    if header["identity"] != identity:
        raise InputError(
            "belongs to a run with other settings or data; resume with the run.yaml of its folder, or start elsewhere",
            file=str(path),
        )
    values["best_loss"] = float("inf") if values["best_loss"] is None else values["best_loss"]
    return Progress(**values)


def load_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, identity: str
) -> Progress:
    """Restore what `save_checkpoint` wrote.

    Raises:
        InputError: see `read_progress`.
    """
    progress = read_progress(path, identity)
    tensors = load_file(path)
    for part, module in modules.items():
        module.load_state_dict(_below(tensors, f"{part}/"))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _below(tensors, "optimizer/").items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
