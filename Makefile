# make demo, make test: the two commands. Everything else serves them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
CORPUS ?= $(or $(COTERIE_CORPUS),$(wildcard ../shared/data))
export COTERIE_CORPUS := $(CORPUS)
# The contract of the newest release; what is in it must go on working.
RELEASED = $(shell ls -v proto/released/*.binpb | tail -n 1)
PROTOS := $(wildcard proto/coterie/v1/*.proto)
# A GPU machine takes FAISS with CUDA; every other the CPU build. Never both.
FAISS := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU && echo gpu || echo cpu)
PROTOC = $(BIN)/python -m grpc_tools.protoc -I proto --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc

.PHONY: help setup demo test test-faults fuzz bench-cluster bench-detection bench-extra bench-serve docs lint format types layers proto proto-check proto-release wheel-check clean

help:
	@echo "make demo    set up, run the whole service on simulated traffic, show what it finds"
	@echo "make test    every test        make lint    format, lint, types, layers, proto, wheel"
	@echo "make test-faults  SIGKILL, full and read-only disks, damage: what was acknowledged is there, once (ROUNDS=200, SEED=)"
	@echo "make fuzz    coverage-guided, SECONDS=60 for each target (TARGETS=jsonl,proto)"
	@echo "make docs    the book, into build/book"
	@echo "make proto   regenerate        make wheel-check   the built wheel in a clean environment"
	@echo "make bench-cluster   clustering beside its peers, with SIZES=10000,50000 rows (and ENGINES=, SEEDS=, ARGS=)"
	@echo "make bench-serve     the service beside its baselines: ingest, embedding, overload, search (PARTS=, SIZE=, EXCHANGES=, ARGS=)"
	@echo "make bench-detection who is accused, beside five baselines (SCENARIOS=\"mixes null\", SEEDS=\"1 2\", WORKERS=, ARGS=)"

setup: $(STAMP)

# torch goes first and alone: resolved together with the rest, some installers take a CUDA build of gigabytes.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[server,exports,$(FAISS),dev,docs,notebooks]"
	@touch $@

demo: setup
	@$(BIN)/coterie demo $(if $(CORPUS),--corpus "$(CORPUS)")

test: setup
	$(BIN)/python -m pytest

# The peers come with the extra `bench`, which is installed here when one of them is missing.
bench-extra: setup
	@$(BIN)/python -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))' \
		evoc pynndescent matplotlib || \
		$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[server,$(FAISS),bench]"

SIZES ?= 10000,50000
bench-cluster: bench-extra
	@$(BIN)/python -m bench.cluster.run --sizes $(SIZES) --seeds $(or $(SEEDS),0) $(if $(ENGINES),--engines $(ENGINES)) $(ARGS)

# PARTS=embedding,ingest,model,overload,search; about fifteen minutes at a million on two quiet cores, a data folder of a
# million vectors not counted, which is made the first time and kept in build/bench (4 GB with its copy).
bench-serve: setup
	@$(BIN)/python -m bench.serve.run $(if $(PARTS),--parts $(PARTS)) $(if $(SIZE),--size $(SIZE)) \
		$(if $(EXCHANGES),--exchanges $(EXCHANGES)) $(ARGS)

# Hours on two cores; goes on where it was interrupted. Without a corpus it takes the built-in text.
bench-detection: bench-extra
	@$(BIN)/python -m bench.detection.run $(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

ROUNDS ?= 200
test-faults: setup
	$(BIN)/python -m pytest -m faults
	@nice -n 10 $(BIN)/python -m bench.faults.run --rounds $(ROUNDS) --seed $(or $(SEED),0) $(ARGS)

SECONDS ?= 60
fuzz: setup
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet -c constraints.txt -e ".[server,$(FAISS),fuzz]"
	@$(BIN)/python -m bench.fuzz.run --seconds $(SECONDS) $(if $(TARGETS),--targets $(TARGETS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

docs: setup
	@$(BIN)/mkdocs build --quiet --clean
	@echo "The book: build/book/index.html"

lint: setup types layers proto-check wheel-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Types are checked on an installed copy: flat folders are packages only once they are installed.
types: setup
	@rm -rf build/typed build/lib build/bdist.*
	@$(BIN)/python -m pip install --quiet --no-deps --target build/typed .
	$(BIN)/mypy -p coterie.domain -p coterie.embedder -p coterie.store -p coterie.index -p coterie.detection \
		-p coterie.client -p coterie.simulation -p coterie.figures -p coterie.exports -p coterie.console -p coterie.server

layers: setup
	$(BIN)/lint-imports

proto: setup
	$(BIN)/buf lint proto
	$(PROTOC) --python_out=proto --grpc_python_out=proto --mypy_out=quiet:proto --mypy_grpc_out=quiet:proto $(PROTOS)

# At a release: keep its contract, so that later versions are held against it.
proto-release: setup
	$(BIN)/buf build proto -o proto/released/coterie-$$($(BIN)/python -c 'from importlib.metadata import version; print(version("coterie"))').binpb

proto-check: setup
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against $(RELEASED)
	@rm -rf build/proto && mkdir -p build/proto
	@$(PROTOC) --python_out=build/proto --grpc_python_out=build/proto --mypy_out=quiet:build/proto \
		--mypy_grpc_out=quiet:build/proto $(PROTOS)
	@for f in build/proto/coterie/v1/*; do cmp "$$f" "proto/coterie/v1/$$(basename $$f)" || \
		{ echo "generated code is out of date: run 'make proto' and commit"; exit 1; }; done

# The base wheel alone, in a clean environment, must give a calling service its client.
wheel-check: setup
	@rm -rf build/wheel build/wheel-env build/lib build/bdist.* && mkdir -p build/wheel
	@$(BIN)/python -m build --wheel --outdir build/wheel . >build/wheel/log 2>&1 || { cat build/wheel/log; exit 1; }
	@$(PYTHON) -m venv build/wheel-env
	@build/wheel-env/bin/python -m pip install --quiet build/wheel/*.whl
	cd build && wheel-env/bin/python ../tests/wheel_smoke.py

clean:
	rm -rf build dist *.egg-info
