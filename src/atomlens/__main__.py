"""``python -m atomlens``, the same as the command ``atomlens``."""

from atomlens.cli import main

main()
