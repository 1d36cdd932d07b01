"""Whether a change of weights is seen."""

import pytest
import torch

from atomlens.ops import fingerprint as module
from atomlens.ops.fingerprint import fingerprint


@pytest.fixture(params=["every bit", "norms"])
def _way(request, monkeypatch):
    if request.param == "norms":
        monkeypatch.setattr(module, "_mix", None)


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return [torch.randn(8, 8), torch.randn(5), torch.randn(3, 4, dtype=torch.float64), torch.zeros(0)]


@pytest.mark.usefixtures("_way")
def test_changes_through_data_are_seen(weights):
    before = fingerprint(weights)
    assert fingerprint(weights) == before
    versions = [tensor._version for tensor in weights]
    for tensor, entry in ((weights[0], (3, 4)), (weights[1], (0,)), (weights[2], (2, 3))):
        kept = float(tensor[entry])
        tensor.data[entry] = 1.5 * kept
        assert fingerprint(weights) != before
        tensor.data[entry] = kept
        assert fingerprint(weights) == before
    weights[0].data.neg_()
    assert fingerprint(weights) != before
    assert [tensor._version for tensor in weights] == versions  # which torch's own count does not


def test_order_counts(weights):
    pytest.importorskip("numba")
    before = fingerprint(weights)
    weights[0].data.copy_(weights[0].flip(0).clone())
    assert fingerprint(weights)[-1] != before[-1]
    weights[0].data.copy_(weights[0].flip(0).clone())
    assert fingerprint(weights)[-1] == before[-1]
    swapped = weights[0][:, 0].clone()
    weights[0].data[:, 0], weights[0].data[:, 1] = weights[0][:, 1].clone(), swapped
    assert fingerprint(weights)[-1] != before[-1]


def test_the_last_bit_counts(weights):
    pytest.importorskip("numba")
    before = fingerprint(weights)[-1]
    weights[1].data[2] = torch.nextafter(weights[1][2], torch.tensor(torch.inf))
    assert fingerprint(weights)[-1] != before


def test_another_tensor_of_the_same_numbers(weights):
    assert fingerprint(weights) != fingerprint([tensor.clone() for tensor in weights])


def test_changes_that_leave_sums_alone_are_seen():
    pytest.importorskip("numba")
    torch.manual_seed(1)
    weight = torch.eye(64)
    seen = {fingerprint([weight])[-1]}
    for _ in range(50):
        weight.data.copy_(torch.eye(64)[torch.randperm(64)])
        seen.add(fingerprint([weight])[-1])
    assert len(seen) == 51
    random = torch.randn(64, 64)
    before = fingerprint([random])[-1]
    for row in range(64):  # signs
        random.data[row].neg_()
        assert fingerprint([random])[-1] != before
        random.data[row].neg_()
    random.data[0].mul_(2.0)
    random.data[32].mul_(0.5)
    assert fingerprint([random])[-1] != before
    coarse = torch.randn(64, 64).bfloat16().float()
    before = fingerprint([coarse])[-1]
    for shift in range(1, 64):
        assert fingerprint([coarse.roll(shift, 0)])[-1] != before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_the_last_of_an_odd_number_of_short_numbers_counts(dtype):
    pytest.importorskip("numba")
    numbers = torch.ones(7, dtype=dtype)
    before = fingerprint([numbers])[-1]
    numbers.data[6] = 2
    assert fingerprint([numbers])[-1] != before
