"""The errors that a user can cause: bad input, and an interruption."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user handed in cannot be used.

    The message is one sentence that says what is wrong, where, and what to do. The command line prints it and exits
    with code 2; Python callers catch it as a ``ValueError``.

    Args:
        problem: what is wrong, and what to do about it.
        file: the file it was read from.
        structure: position of the structure in that file or list, counted from 0.
        atom: position of the atom in the structure, counted from 0.
    """

    def __init__(
        self, problem: str, *, file: str | None = None, structure: int | None = None, atom: int | None = None
    ) -> None:
        self.problem = problem
        self.file = file
        self.structure = structure
        self.atom = atom
        super().__init__(str(self))

    def __str__(self) -> str:
        place = [
            self.file,
            None if self.structure is None else f"structure {self.structure}",
            None if self.atom is None else f"atom {self.atom}",
        ]
        where = ", ".join(part for part in place if part is not None)
        return f"{where}: {self.problem}" if where else self.problem

    def at(self, *, file: str | None = None, structure: int | None = None) -> InputError:
        """The same error with the place filled in where it was not known yet."""
        return InputError(
            self.problem,
            file=self.file if self.file is not None else file,
            structure=self.structure if self.structure is not None else structure,
            atom=self.atom,
        )


class Interrupted(Exception):  # noqa: N818  it is no error
    """Work was asked to stop and can be resumed; the message says how. The command line exits with code 130."""
