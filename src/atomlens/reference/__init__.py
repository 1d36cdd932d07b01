"""Reference data: structures by name and labels by quantum chemistry."""
