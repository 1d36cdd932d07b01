"""Tabulated messages of fixed atoms against the messages themselves."""

from functools import partial

import pytest
import torch

from atomlens.ops.cfconv import PairGraph, SplineGrid, use_kernels
from atomlens.ops.cfconv.backends import kernels_for
from atomlens.ops.cfconv.graph import Groups
from atomlens.ops.radial import smooth_cutoff
from atomlens.ops.tensor_layer import fixed_senders, messages, tabulated_senders

ATOMS, FEATURES, FACTORS, END = 4, 5, 7, 6.0
CPU = torch.device("cpu")


def factors(distances, speed=1.0):
    """Smooth functions w(d), (samples, K)."""
    frequencies = torch.linspace(0.3, 2.0, FACTORS, dtype=torch.float64)
    return torch.cos(speed * distances[:, None].to(torch.float64) * frequencies)


def parts(seed=0, passes=3):
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    return [draw(ATOMS, FACTORS) for _ in range(passes)], 0.5 * draw(FEATURES, FACTORS)


def pairs_of_probes(probes=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    probe = torch.arange(probes).repeat_interleave(ATOMS)
    atom = torch.arange(ATOMS).repeat(probes)
    distances = 0.1 + 1.2 * END * torch.rand(len(probe), generator=generator, dtype=torch.float64)
    return probe, atom, distances


def graph_of(probe, atom, kernels):
    narrow = probe.to(torch.int32), atom.to(torch.int32)
    return PairGraph(*narrow, kernels.group(narrow[0], int(probe.max()) + 1), kernels.group(narrow[1], ATOMS))


@pytest.mark.parametrize("kernels", ["reference", "numba"])
@pytest.mark.parametrize("fade", ["none", "smooth"])
def test_sums_are_those_of_the_messages(fade, kernels):
    heard, weight = parts()
    probe, atom, distances = pairs_of_probes()
    scale = torch.linspace(0.2, 1.7, len(probe), dtype=torch.float64)
    with use_kernels(kernels):
        own = kernels_for(CPU, torch.float64)
        tables = tabulated_senders(factors, heard, weight, SplineGrid(END, 64, fade), 1e-8, own)
        found = tables.sums(distances, atom, graph_of(probe, atom, own), scale)
    # Beyond the end the functions stay what they are, or have faded.
    at = distances.clamp(max=END)
    share = scale * (smooth_cutoff(distances, END) if fade == "smooth" else 1.0)
    joined = [torch.cat([each, torch.zeros(6, FACTORS)]) for each in heard]
    expected = sum(messages(each, factors(at), weight, share, probe + ATOMS, atom) for each in joined)[ATOMS:]
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-7)


def test_takes_as_many_knots_as_the_accuracy_needs():
    heard, weight = parts()
    own = kernels_for(CPU, torch.float64)
    sizes = [
        tabulated_senders(factors, heard, weight, SplineGrid(END, 64), accuracy, own).grid.intervals
        for accuracy in (1e-3, 1e-6, 1e-9)
    ]
    assert sizes[0] == 64
    # The fourth power of the spacing: three digits are a factor of 5.6.
    assert 3.0 < sizes[2] / sizes[1] < 11.0


def test_tables_that_would_be_too_large_are_none(monkeypatch):
    heard, weight = parts()
    own = kernels_for(CPU, torch.float64)
    fast = partial(factors, speed=400.0)
    monkeypatch.setattr(fixed_senders, "TABLE_BYTES", 2**20)
    assert tabulated_senders(fast, heard, weight, SplineGrid(END, 64), 1e-9, own) is None
    assert tabulated_senders(factors, heard, weight, SplineGrid(END, 64), 1e-6, own) is not None


def test_a_probe_without_pairs_hears_nothing():
    heard, weight = parts()
    own = kernels_for(CPU, torch.float64)
    tables = tabulated_senders(factors, heard, weight, SplineGrid(END, 64), 1e-3, own)
    none = torch.zeros(0, dtype=torch.int64)
    empty = Groups(torch.zeros(4, dtype=torch.int32), torch.zeros(0, dtype=torch.int32))
    graph = PairGraph(none.to(torch.int32), none.to(torch.int32), empty, empty)
    assert tables.sums(torch.zeros(0, dtype=torch.float64), none, graph, None).abs().sum() == 0
