"""Dipole, ⟨R²⟩, polarisability and scalars of a water molecule, every number on paper.

The oxygen lies at the origin and the hydrogens at (±0.8, 0.6, 0) Å, so that bonds are 1 Å long. The centre of mass is
r_0 = (0, y_0, 0) with y_0 = 1.2096 / 18.015 = 0.067144 Å.
"""

import math

import numpy as np
import pytest
import torch
from by_hand import CENTRE, faded, read_out, readout_of, water

from atomlens.data.units import from_internal

CHARGES = {8: -0.8, 1: 0.4}
SOMEWHERE = (31.0, -7.5, 12.25)  # Å


def values(tensor):
    return tensor.detach().numpy()


class TestDipole:
    def test_neutral_charges(self):
        """2 · 0.4 e · 0.6 Å = 0.48 e·Å along y, wherever the centre is; that is 0.48 / 0.2081943 = 2.3055 D."""
        found = read_out(readout_of(CHARGES, name="dipole"), water())
        np.testing.assert_allclose(values(found.atoms), [-0.8, 0.4, 0.4], rtol=1e-15)
        np.testing.assert_allclose(values(found.system), [[0.0, 0.48, 0.0]], atol=1e-15)
        np.testing.assert_allclose(values(found.derived["dipole_magnitude"]), [0.48], rtol=1e-15)
        assert from_internal(found.derived["dipole_magnitude"].item(), "D") == pytest.approx(2.3055, abs=5e-5)

    def test_missing_charge_is_shared_alike(self):
        """-0.5 and twice 0.4 add up to 0.3, of which every atom gives 0.1: -0.6, 0.3, 0.3 and 2 · 0.3 · 0.6 = 0.36."""
        found = read_out(readout_of({8: -0.5, 1: 0.4}, name="dipole"), water())
        np.testing.assert_allclose(values(found.atoms), [-0.6, 0.3, 0.3], rtol=1e-14)
        np.testing.assert_allclose(values(found.system), [[0.0, 0.36, 0.0]], atol=1e-15)

    def test_cation(self):
        """Each atom gets 1/3 e more: -7/15, 11/15, 11/15; μ_y = 2 · 11/15 · 0.6 - 1 · y_0 = 0.88 - y_0 = 0.812856."""
        batch = water(charge=1.0, shift=SOMEWHERE)
        found = read_out(readout_of(CHARGES, name="dipole"), batch)
        np.testing.assert_allclose(values(found.atoms), np.array([-7.0, 11.0, 11.0]) / 15.0, rtol=1e-14)
        assert found.atoms.sum().item() == pytest.approx(1.0, rel=1e-15)
        np.testing.assert_allclose(values(found.system), [[0.0, 0.88 - CENTRE, 0.0]], atol=1e-13)
        np.testing.assert_allclose(values(found.derived["dipole_magnitude"]), [0.812856], atol=5e-7)

    def test_free_charges(self):
        """-0.5, 0.4, 0.4 stay: μ_y = -0.5 (0 - y_0) + 0.8 (0.6 - y_0) = 0.48 - 0.3 y_0, wherever the molecule is."""
        readout = readout_of({8: -0.5, 1: 0.4}, name="dipole", conserve_charge=False)
        for shift in ((0.0, 0.0, 0.0), SOMEWHERE):
            found = read_out(readout, water(charge=1.0, shift=shift))
            np.testing.assert_allclose(values(found.atoms), [-0.5, 0.4, 0.4], rtol=1e-15)
            np.testing.assert_allclose(values(found.system), [[0.0, 0.48 - 0.3 * CENTRE, 0.0]], atol=1e-13)

    def test_scale_multiplies_charges_before_they_are_conserved(self):
        """Half of them is missing less: -0.25 and 0.2, 0.2 lack -0.05 each."""
        readout = readout_of({8: -0.5, 1: 0.4}, name="dipole")
        readout.scale.fill_(0.5)
        np.testing.assert_allclose(values(read_out(readout, water()).atoms), [-0.3, 0.15, 0.15], rtol=1e-14)

    def test_half_an_atom(self):
        """A hydrogen of weight ½ has half its charge, 0.2, and takes half a share of what is missing, 0.2 / 2.5."""
        found = read_out(readout_of(CHARGES, name="dipole"), faded(water(), 2, 0.5))
        np.testing.assert_allclose(values(found.atoms), [-0.8 + 0.08, 0.4 + 0.08, 0.2 + 0.04], rtol=1e-14)
        # Its mass halves too: r_0 = (15.999 · 0 + 1.008 (0.8, 0.6) + 0.504 (-0.8, 0.6)) / 17.511. Neutral charges
        # take no notice: μ = 0.48 (0.8, 0.6) + 0.24 (-0.8, 0.6).
        np.testing.assert_allclose(values(found.system), [[0.192, 0.432, 0.0]], atol=1e-15)


class TestSpatialExtent:
    def test_by_hand(self):
        """8 y_0² + 2 (0.8² + (0.6 - y_0)²) = 8 · 0.00450832 + 2 · 0.92393547 = 1.883938 Å² = 6.7277 bohr²."""
        expected = 8.0 * CENTRE**2 + 2.0 * (0.64 + (0.6 - CENTRE) ** 2)
        assert expected == pytest.approx(1.883938, abs=5e-7)
        for shift in ((0.0, 0.0, 0.0), SOMEWHERE):
            found = read_out(readout_of({8: 8.0, 1: 1.0}, name="electronic_spatial_extent"), water(shift=shift))
            np.testing.assert_allclose(values(found.atoms), [8.0, 1.0, 1.0], rtol=1e-15)
            np.testing.assert_allclose(values(found.system), [expected], rtol=1e-13)
        assert from_internal(expected, "bohr^2") == pytest.approx(6.7277, abs=5e-5)

    def test_charges_are_scaled_and_offset(self):
        """2 · 0.25 + 7.5 = 8 and 2 · 0.5 + 0 = 1 give the same."""
        readout = readout_of({8: 0.25, 1: 0.5}, name="electronic_spatial_extent")
        readout.charge_scale.fill_(2.0)
        readout.scale.fill_(100.0)  # of the loss alone
        readout.offsets[8] = 7.5
        np.testing.assert_allclose(values(read_out(readout, water()).atoms), [8.0, 1.0, 1.0], rtol=1e-15)


class TestPolarizability:
    """One Gaussian at 0 with γ = ½ (1/2)² = 1/8 Å⁻² and a range of 2 Å; l = m = 1 for every atom.

    fc(1/2) = 1 - 28/64 + 48/128 - 21/256 = 219/256 and fc(4/5) = 1 - 28 · 0.262144 + 48 · 0.2097152 - 21 · 0.16777216 =
    0.20308224, so s_OH = 219/256 e^(-1/8) and s_HH = 0.20308224 e^(-0.32). Both directions of each pair count, and xy
    cancels between the bonds: α = 1.4 + 4 s_OH (diag(0.64, 0.36, 0) - 1/3) + 2 s_HH (diag(1, 0, 0) - 1/3).
    """

    def test_by_hand(self):
        readout = readout_of({8: [1.0, 1.0, 1.0], 1: [0.2, 1.0, 1.0]}, name="polarizability", channels=1, range=2.0)
        bond, across = 219.0 / 256.0 * math.exp(-0.125), 0.20308224 * math.exp(-0.32)
        expected = np.diag(
            [
                1.4 + 4.0 * bond * (0.64 - 1 / 3) + 2.0 * across * (2 / 3),
                1.4 + 4.0 * bond * (0.36 - 1 / 3) - 2.0 * across / 3,
                1.4 - 4.0 * bond / 3 - 2.0 * across / 3,
            ]
        )
        np.testing.assert_allclose(np.diag(expected), [2.522694, 1.382216, 0.295090], atol=5e-7)
        found = read_out(readout, water(shift=SOMEWHERE))
        np.testing.assert_allclose(values(found.system), [expected], atol=1e-14)
        np.testing.assert_allclose(values(found.derived["isotropic_polarizability"]), [1.4], rtol=1e-14)
        # The oxygen's own tensor hears both bonds, a hydrogen's one bond and the other hydrogen.
        own = values(found.atoms)
        np.testing.assert_allclose(own[0], np.eye(3) + 2.0 * bond * (np.diag([0.64, 0.36, 0.0]) - np.eye(3) / 3))
        assert own[1, 0, 1] == pytest.approx(bond * 0.48)
        assert own[2, 0, 1] == pytest.approx(-bond * 0.48)

    def test_scalars_of_both_ends_multiply(self):
        """L_i m_j: with l = (2 of O, 0 of H) and m = (0, 3) the oxygen alone is shaped, by 2 · 3 s_OH for each bond."""
        readout = readout_of({8: [0.0, 2.0, 0.0], 1: [0.0, 0.0, 3.0]}, name="polarizability", channels=1, range=2.0)
        found = read_out(readout, water())
        strength = 6.0 * 219.0 / 256.0 * math.exp(-0.125)
        expected = 2.0 * strength * (np.diag([0.64, 0.36, 0.0]) - np.eye(3) / 3)
        np.testing.assert_allclose(values(found.atoms), [expected, np.zeros((3, 3)), np.zeros((3, 3))], atol=1e-14)

    def test_scale_and_offsets(self):
        """The scale multiplies all that is learned, offsets are added to the isotropic part."""
        settings = {"name": "polarizability", "channels": 1, "range": 2.0}
        plain = readout_of({8: [1.0, 1.0, 1.0], 1: [0.2, 1.0, 1.0]}, **settings)
        scaled = readout_of({8: [1.0, 1.0, 1.0], 1: [0.2, 1.0, 1.0]}, **settings)
        scaled.scale.fill_(3.0)
        scaled.offsets[8] = 5.0
        expected = 3.0 * read_out(plain, water()).system + 5.0 * torch.eye(3, dtype=torch.float64)
        torch.testing.assert_close(read_out(scaled, water()).system, expected)


class TestScalars:
    def test_intensive_is_the_mean(self):
        """(-10 - 2 - 2) / 3 = -14/3 eV."""
        found = read_out(readout_of({8: -10.0, 1: -2.0}, name="intensive", property="homo"), water())
        np.testing.assert_allclose(values(found.system), [-14.0 / 3.0], rtol=1e-15)
        np.testing.assert_allclose(values(found.atoms), [-10.0, -2.0, -2.0])

    def test_extensive_is_the_sum(self):
        """0.5 + 2 · 0.25 = 1, in eV."""
        readout = readout_of({8: 0.25, 1: 0.125}, name="extensive", property="zero_point_energy")
        readout.scale.fill_(2.0)
        np.testing.assert_allclose(values(read_out(readout, water()).system), [1.0])

    def test_mean_of_half_an_atom(self):
        """(-10 - 2 - ½ · 2) / 2.5 = -5.2 eV: a faded atom counts as the part of an atom that it is."""
        readout = readout_of({8: -10.0, 1: -2.0}, name="intensive", property="homo")
        np.testing.assert_allclose(values(read_out(readout, faded(water(), 1, 0.5)).system), [-5.2], rtol=1e-15)

    def test_offsets_of_a_mean_are_averaged(self):
        """(-10 + 1 + 2 (-2 - 3)) / 3 = -19/3 eV."""
        readout = readout_of({8: -10.0, 1: -2.0}, name="intensive", property="gap")
        readout.offsets[8], readout.offsets[1] = 1.0, -3.0
        np.testing.assert_allclose(values(read_out(readout, water()).system), [-19.0 / 3.0], rtol=1e-15)
