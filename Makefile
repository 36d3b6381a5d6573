# The one definition of each chore. `make help` lists them; hooks and CI call them.
# Needs Python 3.11+, Rust and a C++ compiler; everything else comes from the registries.

PYTHON ?= python3
BIN    := .venv/bin
# Three test processes: two cores are enough, as many a test waits for a process or a clock.
JOBS   ?= 3
# Runs of the simulation, and the first one's seed.
SEEDS ?= 10000
FROM  ?= 0
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 15
# A run with faults: its seed, how long it commits, how many relays, where its histories stay.
SEED    ?=
SECONDS ?= 30
RELAYS  ?= 1
HISTORY ?=

.DEFAULT_GOAL := help
.PHONY: help build build-tests demo test test-rust test-python simulate chaos chaos-mutants interop lint fmt bench counts counts-write fuzz docs wheel schema golden audit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

# A Python environment of its own, rebuilt when the lock file changes.
.venv/.installed: requirements-dev.lock
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spanwire needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements-dev.lock
	@touch $@

build: .venv/.installed ## Build the extension (release) and leave the command at .venv/bin/spanwire
	@. $(BIN)/activate && export PIP_QUIET=1 && if test -x $(BIN)/spanwire; \
	  then maturin develop --release --locked --quiet --skip-install; \
	  else maturin develop --release --locked --quiet; fi

demo: build ## Run relay, simulator and two consumers; verify what arrived; say how fast
	$(BIN)/spanwire demo

test: ## Pass all tests
	@$(MAKE) --no-print-directory -j2 build build-tests
	@$(MAKE) --no-print-directory test-rust test-python

build-tests:
	cargo test --workspace --locked --quiet --no-run

test-rust:
	cargo test --workspace --locked --quiet

test-python: build
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

simulate: build ## Relays, network, store, Spanner and consumers on a virtual clock, SEEDS times (SEED=N: one, with its trace)
	$(BIN)/python tests/simulation/run.py $(if $(SEED),--seed $(SEED) --trace,--seeds $(SEEDS) --from $(FROM))

chaos: build ## Run processes under faults and judge their histories (SEED=7 SECONDS=30 RELAYS=1 HISTORY=DIR)
	@PYTHONPATH=tests $(BIN)/python -m chaos --seed $(or $(SEED),1) --seconds $(SECONDS) --relays $(RELAYS) \
	  $(if $(HISTORY),--history $(HISTORY))

chaos-mutants: build ## Plant bugs, one at a time: each must be found
	@PYTHONPATH=tests $(BIN)/python -m chaos.mutants

interop: build ## Build and compare consumers in six languages (INTEROP=--available: those whose tools are here)
	$(BIN)/python tests/interop/run.py $(INTEROP)

lint: build ## Check style, types, imports and licences; change nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest spanwire._core --ignore-disjoint-bases
	$(BIN)/lint-imports

audit: .venv/.installed ## Look up licences and known vulnerabilities (needs cargo-deny)
	cargo deny check
	$(BIN)/pip-audit -r requirements-dev.lock

fmt: .venv/.installed ## Format everything
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: build ## Measure everything beside its peers and limits
	$(BIN)/spanwire bench
	$(BIN)/python -m pytest -q benches

counts: ## Count the core's instructions per change; fail where they are 5 % more than committed (needs valgrind)
	$(PYTHON) benches/counts.py

counts-write: ## Commit to what is counted now
	$(PYTHON) benches/counts.py --write

fuzz: ## Fuzz each decoder for FUZZ_SECONDS (needs a nightly compiler and cargo-fuzz)
	cd rust/fuzz && for target in $$(cargo +nightly fuzz list --fuzz-dir .); do \
	  mkdir -p corpus/$$target && \
	  cargo +nightly fuzz run --fuzz-dir . $$target $$(ls -d corpus/$$target seeds/$$target 2>/dev/null) -- \
	    -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 || exit 1; done

docs: ## Build the documentation into site/
	@test -x .venv-docs/bin/mkdocs || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

wheel: .venv/.installed ## Build the wheel into dist/
	@rm -rf target/maturin # an editable build leaves this machine's library paths there
	. $(BIN)/activate && maturin build --release --locked --out dist

schema: ## Regenerate the Rust code of envelope.capnp (needs the capnp program)
	rust/spanwire-core/src/envelope/regenerate

golden: build ## Freeze messages and cursors that are not frozen yet: after envelope.capnp has grown
	SPANWIRE_WRITE_GOLDEN=1 cargo test -p spanwire-core --locked --quiet --test golden
	SPANWIRE_WRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/property/test_cursor.py

clean: ## Remove what was built
	cargo clean
	rm -rf .venv .venv-docs dist site rust/fuzz/target python/spanwire/_core*.so
	rm -rf examples/go/envelope $(wildcard examples/*/node_modules tests/interop/*/node_modules)
