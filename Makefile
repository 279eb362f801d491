# One front door. `make` alone lists the targets.
SHELL := /bin/bash
VENV := .venv
PYTHON := $(VENV)/bin/python
NATIVE_SOURCES := $(shell find rust bpf -type f) Cargo.toml Cargo.lock
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.native ## everything the other targets need; done once, then reused

$(VENV)/.packages: pyproject.toml tools/setup
	@tools/setup
	@touch $@

$(VENV)/.native: $(VENV)/.packages $(NATIVE_SOURCES)
	@echo "building the native module and the eBPF objects"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) PATH="$(CURDIR)/$(VENV)/bin:$$PATH" PIP_QUIET=1 $(VENV)/bin/maturin develop --release --locked --quiet >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log >&2; exit 1; }
	@touch $@

demo: setup ## play the seven-node system on this machine (needs root)
	@exec $(VENV)/bin/trimaran lab demo examples/seven-nodes/stack.yaml

$(VENV)/.peers: tools/setup
	@tools/setup peers
	@touch $@

test: setup check $(VENV)/.peers ## every test (needs root)
	@[ "$$(id -u)" = 0 ] || { echo "trimaran: make test needs root (network namespaces, eBPF); make test-pure does not." >&2; exit 2; }
	@$(PYTHON) -m pytest

test-pure: setup ## the tests that need no root
	@$(PYTHON) -m pytest tests/unit tests/sim tests/health tests/proxy

soak: setup ## a million simulated lives of virtual routers [RUNS=…] (needs no root)
	@TRIMARAN_SIM_RUNS=$(or $(RUNS),1000000) $(PYTHON) -m pytest -q -s tests/sim/test_vrrp_soak.py -k many

check: setup ## linters, types, the house rules (needs no root)
	@$(VENV)/bin/ruff check python tests bench
	@$(VENV)/bin/ruff format --check python tests bench
	@$(VENV)/bin/mypy
	@$(VENV)/bin/stubtest --mypy-config-file pyproject.toml trimaran._native
	@cargo fmt --check
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo test --quiet --workspace --locked --exclude trimaran-native
	@$(PYTHON) -m pytest -q tests/unit/test_house.py

format: setup ## put the code in its form
	@$(VENV)/bin/ruff check --fix python tests bench
	@$(VENV)/bin/ruff format python tests bench
	@cargo fmt

nginx-tests: setup ## nginx's own tests: DIR=a checkout of nginx/nginx-tests [FILES=…]
	@[ -n "$(DIR)" ] || { echo "trimaran: make nginx-tests DIR=path of a checkout of nginx/nginx-tests" >&2; exit 2; }
	@$(PYTHON) tools/nginx-tests $(DIR) $(FILES)

wheel: setup ## dist/*.whl, with the eBPF objects inside
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/maturin build --release --locked --out dist

clean: ## forget everything built
	rm -rf $(VENV) target dist lab-report python/trimaran/_native*.so

.PHONY: help setup demo test test-pure check soak format nginx-tests wheel clean
