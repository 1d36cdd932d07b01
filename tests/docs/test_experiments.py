"""Recipes are run files that can be read."""

from pathlib import Path

import pytest

from atomlens.training import RunConfig
from atomlens.training.config import read_yaml

RECIPES = sorted((Path(__file__).parents[2] / "experiments").rglob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_is_a_run_file(path):
    values = read_yaml(path)
    values["data"]["path"] = "given on the command line"
    data = RunConfig.parse(values).data
    assert data.labels or data.name
