"""What several test folders share."""

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
