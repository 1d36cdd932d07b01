"""Run by test_kill: train in a folder, or go on with what is there. Usage: kill_run.py FOLDER EPOCHS"""

import sys
from pathlib import Path

import torch
from toy import toy_data, toy_run, toy_split

from atomlens.training import train

torch.set_num_threads(1)
folder = Path(sys.argv[1])
data = toy_data()
config = toy_run(epochs=int(sys.argv[2]), checkpoint_seconds=0.05)
train(config, data, toy_split(data), folder, resume=(folder / "run.yaml").is_file())
