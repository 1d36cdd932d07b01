"""Whether structures and labels can be believed: one file per check, one row in a registry."""
