"""What several test folders share."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch

# One thread per process: small tensors gain nothing from more, and parallel test workers would fight over the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data beside a developer's checkout."""
    folder = Path(os.environ.get("ATOMLENS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set ATOMLENS_SHARED_DATA to run this test")
    return folder


def _load_synthetic():
    specification = importlib.util.spec_from_file_location(
        "report_synthetic", Path(__file__).with_name("synthetic_study.py")
    )
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
    """The files of every figure of the study's page by name."""
    from atomlens.figures.style import save_figure

    folder = tmp_path_factory.mktemp("figures")
    return {
        name: save_figure(figure, folder, name)
        for name, figure in drawn.items()
        if name not in ("contribution_distributions", "potential_cut")
    }
