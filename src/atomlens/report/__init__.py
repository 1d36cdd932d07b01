"""Self-contained pages of plain dictionaries and figures."""
