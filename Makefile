# Every target makes the environment it needs; Python 3.10 to 3.13 is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit bench architectures peers startup quality quality-table clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else "onyxrank needs Python 3.10 to 3.13")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY) ## Train, export, rank and race on the built-in demo shop (under 8 minutes)
	rm -rf demo
	$(BIN)/onyxrank demo --out demo

test: lint types unit ## Lint, types and all tests

lint: $(READY) ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

.PHONY: page-browser
page-browser: $(READY) ## Install a Chromium for the tests of the page, which skip without one
	for name in chromium chromium-browser google-chrome google-chrome-stable; do \
		command -v $$name && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get; then \
		apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation; \
	else \
		$(BIN)/playwright install chromium; \
	fi

unit: $(READY) ## pytest, with the engine's coverage
	$(BIN)/pytest --cov=onyxrank --cov-report=term:skip-covered --cov-fail-under=95

bench: $(READY) ## Latency and throughput beside eager PyTorch (under 10 minutes)
	$(BIN)/python benchmarks/model.py
	$(BIN)/python -m pytest benchmarks/bench_latency.py -q --benchmark-json=.bench/latency.json
	$(BIN)/python benchmarks/report.py .bench/latency.json

architectures: $(READY) ## Cross and shared-history side by side: make architectures [DATA=folder] (about 20 minutes)
	$(BIN)/python benchmarks/architectures.py $(if $(DATA),--data $(DATA))

peers: $(READY) ## The race against every peer: make peers [DATA=folder] [CROSS=bundle SHARED=bundle] (about 40 minutes)
	$(BIN)/python benchmarks/race.py $(if $(DATA),--data $(DATA)) $(if $(CROSS),--cross $(CROSS)) $(if $(SHARED),--shared $(SHARED))

startup: $(READY) ## Import time, first ranking, peak memory
	$(BIN)/python benchmarks/startup.py

quality: $(READY) ## Train, export and evaluate: make quality DATA=folder RUN=name (about 80 minutes on 2 cores)
	$(BIN)/onyxrank train --data $(DATA) --out runs/$(RUN) --base minilm --epochs 2 --max-steps 2400 --learning-rate 1e-4 \
		--warmup 0.08 --popular 1 --popularity-power 1.4 --around 0.7 --no-own-zeros --list-weight 3 --evaluations 2 \
		--validation-lists 400 --seed 0
	$(BIN)/onyxrank export runs/$(RUN) --out bundles/$(RUN) --gate-lists 128
	$(BIN)/onyxrank evaluate bundles/$(RUN) --data $(DATA)

quality-table: $(READY) ## Both architectures on all real data: make quality-table DATA=folder (many hours; goes on where it stopped)
	$(BIN)/python benchmarks/quality_table.py --data $(DATA)

clean: ## Remove everything that was made
	rm -rf $(VENV) demo .bench dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
