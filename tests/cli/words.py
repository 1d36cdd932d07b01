"""What several tests of commands share."""

KCAL = 0.0433641153087705  # eV per kcal/mol, from CODATA's e and N_A
LABELS = ("--label", "energy=E:kcal/mol", "--label", "forces=F:kcal/mol/Ang")
