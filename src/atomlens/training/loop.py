"""The training loop: short and plain; devices and distributed training are lightning-fabric's."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

from atomlens.coverage import KEY as COVERAGE
from atomlens.coverage import Coverage
from atomlens.data.batching import BatchSource, prefetched
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import QUANTITIES, quantity
from atomlens.data.splits import Split
from atomlens.data.system import AtomicSystem
from atomlens.data.units import from_internal
from atomlens.errors import InputError, Interrupted
from atomlens.evaluation import batches_by_pairs, predict_source
from atomlens.files import check_folder
from atomlens.model import Model
from atomlens.model_file import load_model, save_model
from atomlens.ops.threads import threads_for
from atomlens.progress import Reporter, say, stop_requests, track
from atomlens.training.checkpoint import Progress, load_checkpoint, read_progress, save_checkpoint
from atomlens.training.config import RunConfig, TrainingConfig
from atomlens.training.log import Row, TrainingLog, read_log
from atomlens.training.losses import loss
from atomlens.training.memory import keep_freed_memory
from atomlens.training.prepare import Material, build_model, prepare
from atomlens.training.schedules import learning_rate
from atomlens.training.tables import STEPS_BETWEEN, refine
from atomlens.training.work import Shares, Work, batch_order, batches_ahead, run_identity

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
_VALIDATION_PAIRS = 10_000  # per batch


@dataclass(frozen=True)
class TrainingResult:
    """What came out: the best model and how it got there."""

    model: Model
    history: list[Row]  # of `training.log.COLUMNS`
    best_epoch: int
    steps: int
    seconds: float


class _LossModule(nn.Module):
    """Model and loss as one module, so that distributed training covers the gradients of forces as well."""

    def __init__(self, model: Model, weights: dict[str, float]) -> None:
        super().__init__()
        self.model, self.weights, self.scales = model, weights, model.scales

    def forward(self, work: Work) -> Tensor:
        wanted = {name: name in self.weights for name in ("forces", "stress")}
        outputs = self.model(work.batch, **wanted, differentiable=any(wanted.values()))
        return loss(outputs, work.targets, work.batch, self.weights, self.scales)


def train(
    config: RunConfig, data: Dataset, split: Split, folder: str | Path, *, resume: bool = False
) -> TrainingResult:
    """Train a model and keep the best one.

    The folder gets ``run.yaml``, ``split.json``, ``log.csv``, ``model.safetensors`` (the best so far), and a checkpoint
    from which a later call with ``resume=True`` ends at the same weights, bit for bit on the same machine.

    Args:
        config: model, references and training; its data and split entries are only written down.
        data: structures with labels in internal units.
        split: which of them train and validate.
        folder: an empty or new folder, or that of the run to resume.
        resume: go on from the checkpoint in ``folder``.

    Raises:
        InputError: a label is missing, a structure impossible, the folder holds something else, or training diverged.
        Interrupted: SIGINT or SIGTERM came; the checkpoint is written.
    """
    folder = Path(folder)
    if resume and not (folder / "run.yaml").is_file():
        raise InputError("holds no run to resume; leave --resume out", file=str(folder))
    check_folder(folder, resuming=resume)
    config = config.for_labels(data.labels, data.origin.unread)
    material = prepare(config, data, split)
    fabric = _fabric(config)
    if not resume:
        config.write(folder / "run.yaml")  # first: with it the run can be resumed, whatever comes
    if not (folder / "split.json").is_file():
        split.save(folder / "split.json")
    identity = run_identity(config, data, split)
    try:
        fabric.launch(partial(_run, config=config.training, material=material, folder=folder, identity=identity))
    except ProcessRaisedException as error:
        # The first process's bad input comes as the text of its trace; anything else is a fault to be seen whole.
        kind, _, problem = str(error).strip().splitlines()[-1].partition(": ")
        if not kind.endswith(InputError.__name__):
            raise
        raise InputError(problem) from None
    progress = read_progress(folder / CHECKPOINT, identity)
    return TrainingResult(
        model=load_model(folder / MODEL, fabric.device),
        history=read_log(folder / "log.csv"),
        best_epoch=progress.best_epoch,
        steps=progress.step,
        seconds=progress.seconds,
    )


def _fabric(config: RunConfig) -> Fabric:
    settings = config.training
    strategy = "ddp_spawn" if settings.devices > 1 else "auto"
    try:
        return Fabric(accelerator=settings.accelerator, devices=settings.devices, strategy=strategy)
    except (RuntimeError, ValueError) as error:  # lightning's MisconfigurationException is one of these
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"training.accelerator '{settings.accelerator}' cannot be used here: {reason}") from None


def _run(fabric: Fabric, config: TrainingConfig, material: Material, folder: Path, identity: str) -> None:
    """What every process of a training does."""
    with cpu_threads(config.threads), keep_freed_memory():
        _Trainer(fabric, config, material, folder, identity).run()
    if fabric.world_size > 1:
        # A process that ends while the group's threads still run is at times aborted by C++.
        fabric.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use ``count`` CPU threads (None: as many as before) inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds_per_step(config: RunConfig, systems: Sequence[AtomicSystem], repeats: int = 5) -> float:
    """The time of a training step on a batch of these structures, measured on made-up labels."""
    size = sum(len(system.numbers) for system in systems)
    rng = np.random.default_rng(0)
    data = Dataset.from_arrays(
        np.concatenate([system.numbers for system in systems]),
        np.concatenate([system.positions for system in systems]),
        np.array([len(system.numbers) for system in systems]),
        {"energy": rng.normal(size=len(systems)), "forces": rng.normal(size=(size, 3))},
    )
    model = build_model(config.model_copy(update={"references": None}), data)
    module = _LossModule(model, {"energy": 0.01, "forces": 1.0})
    work = Work(*BatchSource(data, model.cutoff, ["energy", "forces"]).batch(np.arange(len(data))), model.device)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        module(work).backward(inputs=_trained(module))
        times.append(time.perf_counter() - start)
    # The optimiser, the average and validation add about a fifth.
    return 1.2 * float(np.median(times))


def _trained(module: nn.Module) -> list[Tensor]:
    """What a backward pass is for; those of distances, which forces leave in the graph, would be computed in vain."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


class _Trainer:
    def __init__(self, fabric: Fabric, config: TrainingConfig, material: Material, folder: Path, identity: str) -> None:
        self.fabric, self.config, self.folder, self.identity = fabric, config, folder, identity
        # A copy of its own: torch hands a model's weights to other processes as shared memory.
        self.model, self.weights = copy.deepcopy(material.model).to(fabric.device), material.weights
        self.train_source, self.validation_source = material.train, material.validation
        self.averaged, self.best = copy.deepcopy(self.model), copy.deepcopy(self.model)
        optimizer = _optimizer(config, self.model)
        self.loss_module, self.optimizer = fabric.setup(_LossModule(self.model, self.weights), optimizer)
        self.progress = Progress()
        self._intervals: list[int] = []  # of the tables, when they were last measured
        self._order = batch_order(config, self.train_source, fabric.world_size)
        self._shares = Shares(self.train_source, self._order, fabric.global_rank, fabric.device)
        self._ahead = batches_ahead(config, fabric.device)
        if (folder / CHECKPOINT).is_file():
            self.progress = load_checkpoint(folder / CHECKPOINT, self._modules(), self.optimizer.optimizer, identity)
        self._batches = self._order.epoch(self.progress.epoch)
        self._started = time.monotonic() - self.progress.seconds
        self._saved = time.monotonic()

    def run(self) -> None:
        """Train to the end, or to an interruption."""
        lead = self.fabric.is_global_zero
        log = None
        if lead:
            rows, board = self.progress.rows, self.config.tensorboard
            log = TrainingLog(self.folder, self._validated, rows, tensorboard=board)
        total = self.config.epochs * len(self._batches)
        with stop_requests() as stopping, track("training", total, "steps", self.progress.step) as bar:
            while not self._finished():
                left = self._batches[self.progress.batch :]
                with closing(prefetched(self._shares.works(left), self._ahead)) as works:
                    self._epoch(bar, works, stopping)
                row = self._close_epoch(bar)
                if log is not None:
                    log.append(row)
                if time.monotonic() - self._saved >= self.config.checkpoint_seconds:
                    self._save()
        self._save()
        if lead:
            self._note_coverage()
        if log is not None:
            log.close()

    def _finished(self) -> bool:
        stale = self.config.patience is not None and self.progress.stale >= self.config.patience
        return self.progress.epoch >= self.config.epochs or stale or self._share_done() >= 1.0

    def _epoch(self, bar: Reporter, works: Iterator[tuple[Work, float]], stopping: Callable[[], bool]) -> None:
        progress, settings = self.progress, self.config
        while progress.batch < len(self._batches) and self._share_done() < 1.0:
            if progress.step % STEPS_BETWEEN == 0:
                self._refine()
            progress.loss_sum += self._step(*next(works))
            progress.batch += 1
            progress.step += 1
            bar.advance()
            if self._agreed(stopping()):
                self._save()
                raise Interrupted(f"stopped at step {progress.step}; resume with --resume --out {self.folder}")
            if time.monotonic() - self._saved >= settings.checkpoint_seconds:
                self._save()

    def _refine(self) -> None:
        """Fit the tables to the weights; every process finds the same, for their weights are."""
        intervals = refine(self.model, self.progress.step)
        refine(self.averaged, self.progress.step)
        if self._intervals not in ([], intervals) and self.fabric.is_global_zero:
            say(f"step {self.progress.step}: tables of filters now have {', '.join(map(str, intervals))} intervals")
        self._intervals = intervals

    def _agreed(self, value: bool) -> bool:
        """The first process's answer, so that all processes do the same."""
        return bool(self.fabric.broadcast(value)) if self.fabric.world_size > 1 else value

    def _step(self, work: Work, factor: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.progress.step, self._share_done())
        self.optimizer.zero_grad()
        with self._threads(work.batch.numbers.shape[0]):
            loss = self.loss_module(work) * factor
            self.fabric.backward(loss, inputs=_trained(self.model))
            if self.config.gradient_clip is not None:
                self.fabric.clip_gradients(
                    self.loss_module, self.optimizer, max_norm=self.config.gradient_clip, error_if_nonfinite=False
                )
            self.optimizer.step()
            self._average()
        return float(self.fabric.all_reduce(loss.detach(), reduce_op="mean"))  # type: ignore[arg-type]

    def _threads(self, atoms: int) -> AbstractContextManager[None]:
        """One thread for steps too small to share out, unless the user has said how many."""
        if self.config.threads is not None:
            return nullcontext()
        return threads_for(atoms * self.model.representation.n_features**2)

    @torch.no_grad()
    def _average(self) -> None:
        # The average forgets quickly at first, so that it does not drag the random initial weights along.
        step = self.progress.step
        keep = min(self.config.averaging, (1 + step) / (10 + step)) if self.config.averaging else 0.0
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1.0 - keep)

    def _close_epoch(self, bar: Reporter) -> Row:
        progress = self.progress
        found = self._validate()
        loss = found["validation_loss"]
        if not np.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {progress.epoch + 1}; lower training.learning_rate and start anew "
                f"({MODEL} holds the best model until the last checkpoint)"
            )
        row = {
            "epoch": float(progress.epoch + 1),
            "step": float(progress.step),
            "seconds": round(self._seconds(), 3),
            "learning_rate": learning_rate(self.config, progress.step, self._share_done()),
            "train_loss": progress.loss_sum / max(progress.batch, 1),
            **found,
        }
        better = loss < progress.best_loss
        if better:
            progress.best_loss, progress.best_epoch = loss, progress.epoch + 1
            self.best.load_state_dict(self.averaged.state_dict())
        progress.stale = 0 if better else progress.stale + 1
        progress.epoch, progress.batch, progress.loss_sum, progress.rows = progress.epoch + 1, 0, 0.0, progress.rows + 1
        self._batches = self._order.epoch(progress.epoch)
        bar.note(_describe(row))
        bar.expect(max(progress.step, round(progress.step / self._share_done())))
        return row

    @property
    def _validated(self) -> list[str]:
        """Quantities whose errors are watched: those trained on; energies mean nothing while forces alone are."""
        return list(self.weights)

    def _validate(self) -> Row:
        """Loss and errors of the averaged weights on the validation structures, shared out over processes."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        indices = np.arange(len(self.validation_source))[rank::world]
        names, scales = self._validated, self.model.scales
        wanted = {name: name in self.weights for name in ("forces", "stress")}
        sums = torch.zeros(2 + 2 * len(names), dtype=torch.float64)  # loss, structures; off, components by quantity
        for rows in batches_by_pairs(self.validation_source, indices, _VALIDATION_PAIRS):
            work = Work(*self.validation_source.batch(rows), self.fabric.device)
            with torch.no_grad():
                outputs = self.averaged(work.batch, **wanted)
            found = [float(loss(outputs, work.targets, work.batch, self.weights, scales)) * len(rows), len(rows)]
            for name in names:
                known = torch.isfinite(work.targets[name])
                off = (outputs[name] - work.targets[name])[known].abs()
                found += [float(off.sum()), off.numel()]
            sums += torch.tensor(found, dtype=torch.float64)
        total = self.fabric.all_reduce(sums.to(self.fabric.device), reduce_op="sum")
        mean_loss, count, *pairs = total.tolist()  # type: ignore[union-attr]
        errors = {
            f"validation_{name}_mae": off / components
            for name, off, components in zip(names, pairs[::2], pairs[1::2], strict=True)
            if components
        }
        return {"validation_loss": mean_loss / count, **errors}

    def _save(self) -> None:
        self.progress.seconds = self._seconds()
        if self.fabric.is_global_zero:
            if self.progress.best_epoch:
                self._save_best()
            save_checkpoint(
                self.folder / CHECKPOINT, self.progress, self._modules(), self.optimizer.optimizer, self.identity
            )
        self._saved = time.monotonic()

    def _save_best(self) -> None:
        kept = copy.deepcopy(self.best)
        kept.provenance = {**self.model.provenance, "best_epoch": self.progress.best_epoch}
        if "energy" not in self.weights and {"forces", "stress"} & set(self.weights):
            self._fit_constant(kept)
        save_model(kept, self.folder / MODEL)

    def _note_coverage(self) -> None:
        """Write into the model's file what it saw; not at every checkpoint, for that takes seconds to measure."""
        model = load_model(self.folder / MODEL, self.fabric.device)
        seen = Coverage.of(model, self.train_source, self.validation_source, title="coverage")
        model.provenance[COVERAGE] = seen.to_dict()
        save_model(model, self.folder / MODEL)

    def _fit_constant(self, model: Model) -> None:
        """Forces leave the energy's constant open (ρ = 0, thesis 5.2.3): give every atom the share that fits best."""
        data = self.train_source.data
        found = predict_source(model, self.train_source, np.arange(len(data)), forces=False)["energy"]
        sizes = data.n_atoms.astype(np.float64)
        known = data.known(["energy"])
        sizes, left = sizes[known], (data.labels["energy"] - found)[known]
        shift = float(sizes @ left / (sizes @ sizes))
        model.energy_readout.shift(shift)

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "averaged": self.averaged, "best": self.best}

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _share_done(self) -> float:
        """How much of the training is done, by steps or by time, whichever is farther."""
        batches = len(self._batches)  # with a budget of atoms or pairs, other epochs have more or fewer
        done = (self.progress.epoch * batches + self.progress.batch) / (self.config.epochs * batches)
        if self.config.max_minutes is None:
            return done
        spent = self._seconds() / (60.0 * self.config.max_minutes)
        # Clocks of processes differ, and their learning rates must not.
        return max(done, float(self.fabric.broadcast(spent)) if self.fabric.world_size > 1 else spent)


def _optimizer(config: TrainingConfig, model: Model) -> torch.optim.Optimizer:
    parameters, rate = model.parameters(), config.learning_rate
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, rate, momentum=config.momentum, weight_decay=config.weight_decay, foreach=True
        )
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=config.weight_decay, fused=True)
    return torch.optim.Adam(parameters, rate, fused=True)


def _describe(row: Row) -> str:
    """Validation errors in the units of the field, short enough for a narrow terminal."""
    parts = []
    for column, value in row.items():
        name = column.removeprefix("validation_").removesuffix("_mae")
        if name in QUANTITIES:
            kind = quantity(name)
            short = _SHORT.get(name, name.replace("_", " "))
            parts.append(f"{short} {from_internal(value, kind.shown or kind.unit):.3g} {kind.shown or kind.unit}")
    return f"MAE {', '.join(parts)}"


_SHORT = {"energy": "E", "forces": "F", "dipole_magnitude": "|μ|", "dipole": "μ", "isotropic_polarizability": "α"}
