# The two commands for newcomers: `make demo` and `make test`. Everything lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test test-devices debian-packages runtimes docs check android-runner bench clean \
	lint types wheel built-runner

help: ## What can be made.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "latprof needs Python 3.11 or later; say which: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[collect,train-cpu,report]'
	@touch $@

$(VENV)/.developer: $(VENV)/.installed
	$(PIP) torch
	$(PIP) --editable '.[dev,docs,android,collect,farm,train-cpu,report,data,search]'
	@touch $@

$(VENV)/.runtimes: $(VENV)/.developer requirements-litert.txt
	$(PIP) --editable '.[openvino,tvm]'
	$(PIP) --no-deps --requirement requirements-litert.txt
	@touch $@

$(VENV)/.zig: $(VENV)/.developer constraints.txt
	$(PIP) ziglang
	@touch $@

demo: $(VENV)/.installed ## Measure 150 networks on this computer, learn from them, write a report.
	@mkdir -p $(DEMO)
	$(BIN)/latprof doctor || true
	$(BIN)/latprof collect --space proxyless --target cpu:onnxruntime -n 150 --ops --store $(DEMO)/lat.db
	$(BIN)/latprof train $(DEMO)/lat.db --output $(DEMO)/cpu.pack
	$(BIN)/latprof report $(DEMO)/lat.db --pack $(DEMO)/cpu.pack --output $(DEMO)/report.html
	@echo "The report: $(CURDIR)/$(DEMO)/report.html"

# With PYTEST_ARGS='--cov --cov-report=term' for what the tests cover, which takes a third longer.
# What the tests start a thousand times is compiled once, also where PYTHONDONTWRITEBYTECODE is set.
test: $(VENV)/.developer ## Run the test suite.
	$(BIN)/python -m compileall -q -j 0 latprof tests/support
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Three files at a time, which wait as much as they work: each has ports, phones, servers of its own.
test-devices: $(VENV)/.developer ## Run the tests that need Debian's packages: `make debian-packages` first.
	$(BIN)/python -m compileall -q -j 0 latprof tests/support
	$(BIN)/pytest tests/devices --numprocesses 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

debian-packages: ## Install the Debian packages that `make test-devices` needs (as root).
	apt-get update -qq
	sed '/^#/d' debian-packages.txt | xargs apt-get install -y -qq --no-install-recommends

runtimes: $(VENV)/.runtimes ## Install OpenVINO, TVM and LiteRT too, which `make test` skips otherwise (1.3 GB).

docs: $(VENV)/.developer ## Build the documents as pages: site/index.html.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Its parts run side by side: make --jobs=2 --output-sync=target check
check: lint types wheel docs built-runner ## Lint, types, documents, and the built wheel in clean environments, another project's too.

lint: $(VENV)/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.developer
	$(BIN)/mypy

wheel: $(VENV)/.developer
	rm -rf build/wheel
	$(BIN)/python -P -m build --wheel --outdir build/wheel
	$(BIN)/python tests/check_wheel.py build/wheel/*.whl
	$(BIN)/python tests/check_foreign.py build/wheel/*.whl

built-runner: $(VENV)/.zig
	$(BIN)/python tests/build_runner.py --check

android-runner: $(VENV)/.zig ## Build the programs that measure on phones and boards, with zig alone (450 MB).
	$(BIN)/python tests/build_runner.py

bench: $(VENV)/.developer ## Print the figures of the documents (a quiet machine, hours; DATA=FOLDER for public data).
	$(BIN)/python -m benchmarks $(if $(DATA),--data '$(DATA)')

clean: ## Remove what the other targets made.
	rm -rf $(VENV) $(DEMO) site build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .fuzz .coverage
