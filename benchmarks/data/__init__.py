"""How fast data are read and written, beside ASE's database and HDF5."""
