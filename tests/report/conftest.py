"""The made-up study, drawn once for all tests of the report."""

import importlib.util
from pathlib import Path

import pytest

from atomlens.report.style import save_figure


def _load_synthetic():
    specification = importlib.util.spec_from_file_location("report_synthetic", Path(__file__).with_name("synthetic.py"))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic():
    return _load_synthetic()


@pytest.fixture(scope="session")
def drawn(synthetic):
    """Every figure by name."""
    return synthetic.draw_all()


@pytest.fixture(scope="session")
def saved(drawn, tmp_path_factory):
    """The files of every figure by name."""
    folder = tmp_path_factory.mktemp("figures")
    return {name: save_figure(figure, folder, name) for name, figure in drawn.items()}
