"""Who is heard by whom as what: the terms that symmetry functions sum over."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomlens.ops.cfconv.kernels import Kernels


@dataclass(frozen=True)
class Neighbourhoods:
    """Neighbours within the cutoff as entries: a pair, heard on a channel with a weight.

    A neighbour that is a mixture of elements has one entry per element. Entries are sorted by centre, then by channel:
    those of centre i on channel e are starts[i n_channels + e] … starts[i n_channels + e + 1] - 1.
    """

    n_atoms: int
    n_channels: int
    centre: Tensor  # (entries,) int64, in rising order
    pair: Tensor  # (entries,) int64, row of the pair vectors
    channel: Tensor  # (entries,) int64
    weight: Tensor  # (entries,)
    starts: Tensor  # (atoms * channels + 1,) int32

    @classmethod
    def of(
        cls,
        vectors: Tensor,
        cutoff: float,
        centre: Tensor,
        n_atoms: int,
        n_channels: int,
        channel: Tensor | None,
        weight: Tensor,
        kernels: Kernels,
    ) -> Neighbourhoods:
        """Gather the entries of pairs within the cutoff.

        Args:
            vectors: (pairs, 3) r_j - r_i in Å.
            cutoff: in Å.
            centre: (pairs,) int64, the atom that hears.
            n_atoms: number of atoms.
            n_channels: number of channels.
            channel: (pairs,) int64, the channel of the neighbour; None: ``weight`` says it.
            weight: (pairs,) of the neighbour; without ``channel`` (pairs, channels), where zeros are left out.
            kernels: what sorts.

        Raises:
            IndexError: a pair names a centre that does not exist.
        """
        if centre.shape[0] and not 0 <= int(centre.min()) <= int(centre.max()) < n_atoms:
            raise IndexError(f"pairs name centres {int(centre.min())} to {int(centre.max())} of {n_atoms} atoms")
        inside = ~(vectors.detach().square().sum(dim=1) >= cutoff**2)  # what is not a number is not hidden
        if channel is None:
            heard = inside[:, None] & ((weight != 0) | weight.requires_grad)
            pair, channel = heard.nonzero(as_tuple=True)
            weight = weight[pair, channel]
        else:
            pair = inside.nonzero()[:, 0]
            channel, weight = channel[pair], weight[pair]
        return cls._sorted(centre[pair], pair, channel, weight, n_atoms, n_channels, kernels)

    @classmethod
    def _sorted(
        cls,
        centre: Tensor,
        pair: Tensor,
        channel: Tensor,
        weight: Tensor,
        n_atoms: int,
        n_channels: int,
        kernels: Kernels,
    ) -> Neighbourhoods:
        groups = kernels.group((centre * n_channels + channel).to(torch.int32), n_atoms * n_channels)
        if n_channels > 1 or bool((centre.diff() < 0).any()):
            order = groups.order.to(torch.int64)
            centre, pair, channel, weight = centre[order], pair[order], channel[order], weight[order]
        return cls(n_atoms, n_channels, centre, pair, channel, weight, groups.starts)

    def triples(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Entries (triples,), (triples,) of all j < k of one centre, with j among entries ``first`` … ``last`` - 1.

        Two entries of one neighbour, a mixture, are no triple.
        """
        rows = torch.arange(first, last, device=self.pair.device)
        ends = self.ends[first:last]
        later = ends - rows - 1
        j = rows.repeat_interleave(later)
        k = torch.arange(j.shape[0], device=j.device) - (later.cumsum(0) - later).repeat_interleave(later) + j + 1
        different = self.pair[j] != self.pair[k]
        return j[different], k[different]

    @property
    def ends(self) -> Tensor:
        """Where the entries of each entry's centre end, (entries,)."""
        return self.starts[self.n_channels :: self.n_channels].to(torch.int64)[self.centre]
