"""A run killed at any moment and resumed ends at the weights of an uninterrupted run, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from atomlens.training.log import read_log

SCRIPT = Path(__file__).with_name("kill_run.py")
EPOCHS = "60"
KILLS = 5


def start(folder):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), EPOCHS], env=environment, stderr=subprocess.PIPE, text=True
    )


def finish(folder):
    process = start(folder)
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints


def signs_of_life(folder):
    """What changes when the run has got anywhere new."""
    log = folder / "log.csv"
    return len(log.read_text().splitlines()) if log.is_file() else 0


def kill_while_training(folder, delay):
    before = signs_of_life(folder)
    process = start(folder)
    while signs_of_life(folder) <= before and process.poll() is None:
        time.sleep(0.005)
    time.sleep(delay)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return was_running


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    seed = random.SystemRandom().randrange(10**6)  # other moments each time; printed so that a failure can be repeated
    print("seed of the moments:", seed)
    moments = random.Random(seed)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(whole)
    seconds = read_log(whole / "log.csv")[-1]["seconds"]
    kills = [kill_while_training(broken, moments.uniform(0.0, seconds / (KILLS + 1))) for _ in range(KILLS)]
    assert sum(kills) >= KILLS - 1  # on a fast machine the last moment may come after the end
    finish(broken)
    for file in ("model.safetensors", "checkpoint.safetensors"):
        expected, found = load_file(whole / file), load_file(broken / file)
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(values, found[name], err_msg=f"{file} {name}")
    rows = [read_log(folder / "log.csv") for folder in (whole, broken)]
    for row in rows[0] + rows[1]:
        row.pop("seconds")
    assert rows[0] == rows[1]
