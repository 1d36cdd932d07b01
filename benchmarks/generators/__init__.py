"""Code generators weighed against each other: numba, C++, Inductor, inside a full training step."""
