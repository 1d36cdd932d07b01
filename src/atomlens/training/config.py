"""Everything that a run file can say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from atomlens.config import Config, nearest
from atomlens.data.splits.registry import check_options
from atomlens.data.units import ENERGY, to_internal
from atomlens.errors import InputError
from atomlens.files import write_text
from atomlens.model import ModelConfig
from atomlens.readouts import AtomNetworkConfig, readouts_for


class DataConfig(Config):
    """Where structures and labels come from."""

    path: str | None = Field(
        None,
        description="extended XYZ, ASE database, numpy archive or atomlens store; with name, that data set's official "
        "files, or null to download them",
    )
    name: str | None = Field(None, description="a data set by its name (atomlens data list)")
    variant: str = Field(
        "", description="of a named data set, another reading of the same files (atomlens data info NAME)"
    )
    store: str | None = Field(
        None,
        description="folder that the data are imported into, once, and read from ever after; null: no store is made",
    )
    labels: dict[str, str] | None = Field(
        None, description="quantity: 'KEY:UNIT' in the file; null: all known ones whose units the file states"
    )
    position_unit: str | None = Field(None, description="unit of positions and cell if not the format's own (Å)")
    rare_elements: int | None = Field(
        None,
        ge=2,
        description="leave out structures with elements that fewer structures than this have; null: keep all",
    )
    check: Literal["refuse", "warn", "off"] = Field(
        "refuse",
        description="what to do where labels are wrong beyond doubt (atomlens data check): stop, tell, or not look",
    )

    @field_validator("check", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """YAML reads ``off`` as false."""
        return "off" if value is False else value

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.path is None and self.name is None:
            raise InputError("the data have neither path nor name; say data.path or data.name")
        return self

    @property
    def place(self) -> str:
        """What messages call the data: the file, or the name."""
        return self.path or str(self.name)


class SplitConfig(Config):
    """How the structures are shared out."""

    method: Literal["random", "formula", "isomers", "trajectories", "blocks", "size", "column"] = Field(
        "random", description="what the test set is held out by (docs/splits.md)"
    )
    train: int = Field(1000, ge=1, description="structures to learn from")
    validation: int = Field(200, ge=1, description="structures that choose the best model")
    test: int | None = Field(None, ge=1, description="structures to judge it; null: all that are left, or held out")
    seed: int = Field(0, ge=0, description="of everything drawn")
    held_out: float | None = Field(
        None, gt=0, lt=1, description="share of the structures that is held out, not of random and column; null: 0.2"
    )
    block_length: float | None = Field(
        None,
        gt=0,
        description="of blocks, in steps of the column frame, or frames of the file; null: 20 autocorrelation times",
    )
    gap: float | None = Field(None, ge=0, description="between blocks of different use; null: 5 autocorrelation times")
    max_atoms: int | None = Field(None, ge=1, description="of structures that size learns from; null: by held_out")
    column: str | None = Field(None, description="of a published split: 1 for train, 2 for test, 0 for neither")
    file: str | None = Field(None, description="a split.json to use instead of drawing one")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        check_options(self.method, self.options)
        if self.file is not None and self.method != "random":
            raise InputError(f"split.file and split.method {self.method} exclude each other; leave one of them out")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """Those of the methods, None where they are not set."""
        return {name: getattr(self, name) for name in ("held_out", "block_length", "gap", "max_atoms", "column")}


class ReferencesConfig(Config):
    """Free-atom energies; the mean that is left per atom is fitted on top."""

    unit: str | None = Field(None, description="of the values, such as Ha")
    values: dict[str, float] | None = Field(None, description="energy of a free atom by chemical symbol")
    from_data: bool = Field(False, description="take those that came with a data set of a name, in place of values")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.from_data is (self.values is not None or self.unit is not None):
            raise InputError("references need either unit and values, or from_data: true")
        if self.from_data:
            return self
        if self.values is None or self.unit is None:
            raise InputError("references lack their unit or their values; give both")
        for name in self.values:
            if name not in atomic_numbers:
                raise InputError(f"'{name}' is no chemical symbol; {nearest(name, list(atomic_numbers))}")
        to_internal(self.unit, ENERGY, "energy")
        return self

    def in_ev(self) -> dict[int, float]:
        """Energies in eV by atomic number.

        Raises:
            InputError: they are to be taken from the data, and were not yet (`RunConfig.with_references`).
        """
        if self.unit is None or self.values is None:
            raise InputError("references are to come from the data, which have none; give unit and values")
        factor = to_internal(self.unit, ENERGY, "energy")
        return {atomic_numbers[name]: factor * value for name, value in self.values.items()}


class TrainingConfig(Config):
    """How the loss is minimised."""

    loss: dict[str, float] | None = Field(
        None,
        description="weight by quantity, one left out has none; null: 1 for each label, but energy 0.01 beside forces "
        "(ρ of thesis eq. 5.7) and no stress",
    )
    epochs: int = Field(300, ge=1, description="passes over the training set")
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="stop, with the learning rate annealed, after this time (not repeatable bit for bit)",
    )
    batch_size: int = Field(32, ge=1, description="structures per step, over all devices")
    batch_atoms: int | None = Field(
        None, ge=1, description="atoms per step at most, over all devices, in place of batch_size; null: no such limit"
    )
    batch_pairs: int | None = Field(
        None,
        ge=1,
        description="directed pairs of neighbours per step at most, over all devices, in place of batch_size; null: no "
        "such limit",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="sgd is stochastic gradient descent with momentum, as the thesis trains DTNN"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0, description="of adamw and sgd")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate")
    schedule: Literal["cosine", "exponential", "constant"] = Field(
        "cosine",
        description="of the learning rate; cosine has a warm-up, exponential is the thesis' 0.96 per 100,000 steps",
    )
    warmup: float = Field(0.02, ge=0, lt=1, description="share of a cosine schedule spent raising the learning rate")
    averaging: float = Field(
        0.999, ge=0, lt=1, description="decay of the weight average that is validated and kept; 0: none"
    )
    gradient_clip: float | None = Field(10.0, gt=0, description="largest norm of the gradient; null: no limit")
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better model; null: never"
    )
    precision: Literal["float32", "float64"] = Field("float32", description="of the weights")
    seed: int = Field(0, ge=0, description="of initial weights and of the order of examples")
    checkpoint_seconds: float = Field(30.0, ge=0, description="longest time that an interruption can cost")
    accelerator: Literal["cpu", "gpu", "auto"] = Field("cpu", description="what to compute on")
    devices: int = Field(1, ge=1, description="how many of them, in one process each")
    threads: int | None = Field(None, ge=1, description="CPU threads per process; null: as torch chooses")
    prefetch: int | None = Field(
        None,
        ge=0,
        description="batches that a thread assembles ahead of the present one; null: 2 for a GPU, none on CPUs, whose "
        "threads are busy",
    )
    tensorboard: bool = Field(True, description="also log for TensorBoard, where it is installed")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.batch_atoms is not None and self.batch_pairs is not None:
            raise InputError("training.batch_atoms and training.batch_pairs exclude each other; set only one of them")
        return self


class RunConfig(Config):
    """A run file: data, split, model, references and training."""

    data: DataConfig
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    atom_networks: AtomNetworkConfig = Field(
        AtomNetworkConfig(), description="of readouts that are chosen by the labels, where model.readouts is left out"
    )
    references: ReferencesConfig | None = Field(None, description="free-atom energies; null: fit an offset per element")
    training: TrainingConfig = TrainingConfig()

    @classmethod
    def read(cls, path: str | Path) -> RunConfig:
        """Read a YAML run file.

        Raises:
            InputError: the file is missing or no YAML mapping, or a key or value in it is wrong.
        """
        return cls.parse(read_yaml(path), file=str(path))

    def for_labels(self, labels: Iterable[str], unread: Sequence[str] = ()) -> RunConfig:
        """The same run with readouts chosen by the labels, where the run names none.

        Labels that have a weight in the loss are learned, or else those that the run names. Of labels that a file
        brought along the energy is, where it is there.

        Args:
            labels: quantities that the data label.
            unread: keys of the file that were not taken for labels, for the message.

        Raises:
            InputError: no readout predicts any of them.
        """
        if "readouts" in self.model.model_fields_set:
            if self.atom_networks != AtomNetworkConfig():
                raise InputError("atom_networks is for readouts chosen by the labels; set these in model.readouts")
            return self
        found = list(labels)
        weighed = [name for name in found if (self.training.loss or {}).get(name)]
        if weighed:
            found = weighed
        elif self.data.labels is None and "energy" in found:
            found = ["energy"]
        readouts = readouts_for(found, self.atom_networks)
        if not readouts:
            others = f"; other keys of the file: {', '.join(unread)}" if unread else ""
            raise InputError(
                f"no readout predicts a label of the data (labels: {', '.join(found) or 'none'}{others}); "
                "name a quantity, its key and its unit, such as energy=KEY:kcal/mol",
                file=self.data.place,
            )
        model = ModelConfig(representation=self.model.representation, readouts=readouts)
        return self.model_copy(update={"model": model, "atom_networks": AtomNetworkConfig()})

    def write(self, path: str | Path) -> None:
        """Write with every default spelled out."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as a mapping.

    Raises:
        InputError: it is missing, or no YAML mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}); check the path", file=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"is not valid YAML ({reason}); correct it", file=str(path)) from None
    if not isinstance(values, dict):
        raise InputError("holds no settings (a YAML mapping is needed); see docs/run-files.md", file=str(path))
    return values
