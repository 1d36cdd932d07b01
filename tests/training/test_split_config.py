from typing import get_args

import pytest

from atomlens.data.splits import SPLITS
from atomlens.errors import InputError
from atomlens.training import RunConfig, SplitConfig

DATA = {"data": {"path": "x.npz"}}


def test_a_run_file_knows_every_kind_of_split_and_every_option():
    assert set(get_args(SplitConfig.model_fields["method"].annotation)) == set(SPLITS)
    known = {name for method in SPLITS.values() for name in method.options}
    assert set(SplitConfig().options) == known
    assert all(field.description for field in SplitConfig.model_fields.values())


@pytest.mark.parametrize("method", SPLITS)
def test_options_of_a_method_are_taken_and_those_of_others_refused(method):
    fitting = {"held_out": 0.3, "block_length": 50.0, "gap": 5.0, "max_atoms": 9, "column": "split_01"}
    own = {name: value for name, value in fitting.items() if name in SPLITS[method].options}
    assert {k: v for k, v in SplitConfig.parse({"method": method, **own}).options.items() if v is not None} == own
    for name in set(fitting) - set(own):
        with pytest.raises(InputError, match=rf"split\.{name} means nothing to split\.method {method}"):
            RunConfig.parse({**DATA, "split": {"method": method, **own, name: fitting[name]}})


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"method": "formulas"}, r"split\.method"),
        ({"method": "column"}, r"needs split\.column; add it"),
        ({"method": "blocks", "file": "split.json"}, r"split\.file and split\.method blocks exclude each other"),
        ({"held_out": 1.0, "method": "formula"}, r"split\.held_out"),
        ({"gap": -1.0, "method": "blocks"}, r"split\.gap"),
    ],
)
def test_what_is_refused(split, words):
    with pytest.raises(InputError, match=words) as caught:
        RunConfig.parse({**DATA, "split": split})
    assert "\n" not in str(caught.value)


def test_a_run_file_with_every_default_written_out_reads_back(tmp_path):
    config = RunConfig.parse({**DATA, "split": {"method": "blocks", "gap": 3.0}})
    config.write(tmp_path / "run.yaml")
    assert RunConfig.read(tmp_path / "run.yaml") == config
