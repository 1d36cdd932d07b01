"""What several tests of commands share."""

KCAL = 4184 / (6.02214076e23 * 1.602176634e-19)  # eV per kcal/mol, by the N_A and e of the SI
LABELS = ("--label", "energy=E:kcal/mol", "--label", "forces=F:kcal/mol/Ang")
