"""Time atomlens beside other implementations of SchNet: ``python -m benchmarks`` (docs/benchmarks.md)."""
