import pytest
import yaml

from atomlens.config import set_by_path, template
from atomlens.errors import InputError
from atomlens.training import RunConfig

DATA = {"data": {"path": "x.npz"}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**DATA, "trainig": {}}, "unknown configuration key 'trainig'; did you mean 'training'"),
        ({**DATA, "training": {"epoch": 3}}, "unknown configuration key 'training.epoch'; did you mean 'epochs'"),
        (
            {**DATA, "model": {"representation": {"name": "schnett"}}},
            "unknown representation 'schnett'; did you mean 'schnet'",
        ),
        ({**DATA, "model": {"representation": {"name": "schnet", "cutof": 4}}}, "'cutof'; did you mean 'cutoff'"),
        ({**DATA, "model": {"readouts": [{"name": "enrgy"}]}}, "unknown readout 'enrgy'; did you mean 'energy'"),
        ({**DATA, "training": {"epochs": -1}}, "training.epochs"),
        ({**DATA, "training": {"batch_size": "many"}}, "training.batch_size"),
        ({**DATA, "references": {"unit": "Hartee", "values": {}}}, "unknown unit"),
        ({**DATA, "references": {"unit": "eV", "values": {"Xx": 1}}}, "no chemical symbol"),
        ({}, "'data' is missing"),
    ],
)
def test_wrong_settings_are_one_clear_sentence(values, words):
    with pytest.raises(InputError, match=words) as caught:
        RunConfig.parse(values)
    assert "\n" not in str(caught.value)


def test_a_run_file_says_every_default_and_reads_back(tmp_path):
    config = RunConfig.parse({**DATA, "training": {"epochs": 7}})
    config.write(tmp_path / "run.yaml")
    assert RunConfig.read(tmp_path / "run.yaml") == config
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["training"]["learning_rate"] == 1e-3


def test_the_template_is_a_run_file():
    text = template(RunConfig).replace("path: null", "path: x.npz", 1)
    assert RunConfig.parse(yaml.safe_load(text)) == RunConfig.parse(DATA)
    assert all("#" in line for line in text.splitlines() if line.startswith("  ") and line.endswith(("null", "true")))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "just words"])
def test_no_run_file(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(InputError, match=r"run\.yaml: (holds no settings|is not valid YAML)"):
        RunConfig.read(tmp_path / "run.yaml")


def test_missing_run_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        RunConfig.read(tmp_path / "none.yaml")


def test_paths_set_nested_values_and_refuse_to_go_through_plain_ones():
    values = {"a": {"b": 1}}
    set_by_path(values, "a.c.d", 2)
    assert values == {"a": {"b": 1, "c": {"d": 2}}}
    with pytest.raises(InputError, match="'b' holds no settings"):
        set_by_path(values, "a.b.c", 3)
