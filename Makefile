# make demo   install, and study ethanol: reference data, training, test, checks, explanation -> demo/report.html
# make test   install, and run the tests
# make lint   install, and check style, types and the direction of imports
# make bench  install, the peers into .venv-bench, and time atomlens beside them -> benchmarks/results/latest.json
#             options of the benchmark: make bench BENCH="--cases 2,4 --threads 1" (.venv/bin/python -m benchmarks --help)
#             then its store beside ASE's database and HDF5 -> benchmarks/results/data.json; options: BENCH_DATA="--million"

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt

PEERS := .venv-bench/bin/python -m pip --disable-pip-version-check --quiet install --constraint benchmarks/constraints.txt

.PHONY: demo test lint format bench clean

demo: .venv/.demo
	$(BIN)/atomlens study ethanol --out demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 $(TESTS)

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev .venv-bench/.made
	$(BIN)/python -m benchmarks $(BENCH)
	$(BIN)/python -m benchmarks.data $(BENCH_DATA)

clean:
	rm -rf .venv .venv-bench demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "atomlens needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.demo: .venv/.made pyproject.toml constraints.txt
	@echo "installing atomlens into .venv (a few minutes the first time)"
	$(PIP) --editable '.[xtb,explain,ipi]'
	@touch $@

.venv/.dev: .venv/.demo pyproject.toml constraints.txt
	@echo "installing the tools for tests and checks into .venv"
	$(PIP) --editable '.[xtb,explain,ipi,baselines,tensorboard,dev]'
	@touch $@

# torch first, so that no other package chooses its build. schnetpack last and alone: what it asks for is more than what it
# imports, an old sympy among it.
.venv-bench/.made: .venv/.made benchmarks/constraints.txt
	@echo "installing schnetpack and PyTorch Geometric into .venv-bench (a few minutes the first time)"
	$(PYTHON) -m venv --clear .venv-bench
	$(PEERS) torch
	$(PEERS) torch numpy ase torch_geometric pytorch-lightning torchmetrics hydra-core h5py pyyaml matscipy fasteners dirsync \
	    torch-ema tensorboardX progressbar2 tqdm
	$(PEERS) --no-deps schnetpack
	@touch $@
