# Every target makes the environment it needs; Python 3.10 to 3.13 is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all slow test-integrations test-clients lint types unit lock docs bench architectures peers
.PHONY: load startup
.PHONY: quality broken-quantization quality-table clean example-fastapi example-flask example-batch example-search

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# A new environment, with a new pip: that of Python 3.11 takes three times as long, even where every version is locked.
environment = test -x $(1)/bin/python || { $(PYTHON) -m venv $(1) && \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile 'pip>=26'; }
# uv, where it is there, installs what is locked in seconds. Not torch: which build that is, pip has been told.
LOCKED = $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(PIP)) --no-deps -r $(LOCK)
# The versions of all else, for one system and Python; for others pip looks for some within constraints.txt, in minutes.
LOCK = requirements/$(shell $(PYTHON) -c 'import sys, sysconfig; print(sysconfig.get_platform(), "python%d.%d" % sys.version_info[:2], sep="-")').txt

$(READY): pyproject.toml constraints.txt $(wildcard requirements/*.txt)
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else "onyxrank needs Python 3.10 to 3.13")'
	$(call environment,$(VENV))
ifneq ($(wildcard $(LOCK)),)
	$(LOCKED)
	$(PIP) -c constraints.txt -c $(LOCK) torch
	$(PIP) --no-deps --no-build-isolation -e .
else
	$(PIP) -c constraints.txt -e '.[dev]'
endif
	touch $@

lock: ## Look for versions within constraints.txt anew, and lock them for this system and Python (minutes)
	rm -rf .lock
	$(call environment,.lock)
	.lock/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	mkdir -p $(dir $(LOCK))
	.lock/bin/python -m pip freeze --exclude-editable | grep -vE '^(torch|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+)==' > $(LOCK)
	rm -rf .lock

demo: $(READY) ## Train, export, rank and race on the built-in demo shop (under 8 minutes)
	rm -rf demo
	$(BIN)/onyxrank demo --out demo

test: lint types unit ## Lint, types, and the tests but for the slow ones (a third more time with COVERAGE=1)

test-all: slow ## The rest: documented blocks, examples, demo, torchrun; adapters and clients where their libraries can be installed
	for target in test-integrations test-clients; do \
		if $(MAKE) $$target-ready; then $(MAKE) $$target || exit 1; \
		else echo "$$target: not run, since not all of its libraries can be installed here"; fi; \
	done

lint: $(READY) ## ruff: lint and format; import-linter: the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

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

# Processes that share the test files between them.
WORKERS ?= 2

TESTS := $(BIN)/pytest -n $(WORKERS) --dist loadfile

unit: $(READY) $(VENV)/.page-browser ## pytest without what is slow: make unit [COVERAGE=1]
	$(TESTS) -m 'not slow' $(if $(COVERAGE),--cov --cov-report=)
ifdef COVERAGE
	$(BIN)/coverage report --skip-covered --include='engine/*' --fail-under=95
	$(BIN)/coverage report --skip-covered --include='export/*' --fail-under=90
endif

slow: $(READY) ## pytest of what is slow
	$(TESTS) -m slow

# Tried once for each environment: where it may not be installed, the tests of the page skip and say so.
$(VENV)/.page-browser: | $(READY)
	$(MAKE) page-browser || echo "no browser for the tests of the page"
	touch $@

# A library's environment: the extra of its name, and what its tests need besides.
LIBRARIES := langchain llama-index haystack

.PHONY: test-integrations-ready test-clients-ready
test-integrations-ready: $(READY) $(LIBRARIES:%=.integrations/%/.ready)

# Those of the clients' tests, by the name of their requirements.
CLIENTS := cohere langchain rerankers litellm triton

test-clients-ready: $(READY) $(CLIENTS:%=.clients/%/.ready)

test-integrations: test-integrations-ready ## The adapters in LangChain's, LlamaIndex's and Haystack's own environments
	$(BIN)/pytest -q tests/integrations/test_sentence_transformers.py
	for library in $(LIBRARIES); do \
		ONYXRANK_BUNDLE="$$($(BIN)/python examples/demo_shop.py)" .integrations/$$library/bin/python -m pytest -q \
			tests/integrations/test_$$(echo $$library | tr - _).py tests/integrations/test_documented.py || exit 1; \
	done

# The clients leave their sockets to the collector, which warns.
CLIENT_WARNINGS := -W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning

test-clients: test-clients-ready ## Clients of TEI, Cohere, Jina, vLLM and Triton, and the JDK's, unmodified, against a served bundle
	ONYXRANK_BUNDLE="$$($(BIN)/python examples/demo_shop.py)" $(BIN)/python -m pytest -q tests/clients/test_java_client.py
	for one in cohere:cohere_client cohere:hub_client cohere:haystack_clients langchain:langchain_client \
		rerankers:rerankers_client litellm:litellm_client triton:triton_client; do \
		ONYXRANK_BUNDLE="$$($(BIN)/python examples/demo_shop.py)" ONYXRANK_PYTHON=$(CURDIR)/$(BIN)/python \
			.clients/$${one%%:*}/bin/python -m pytest -q $(CLIENT_WARNINGS) tests/clients/test_$${one##*:}.py || exit 1; \
	done

.clients/%/.ready: pyproject.toml constraints.txt tests/clients/requirements/%.txt
	$(call environment,.clients/$*)
	.clients/$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . \
		-r tests/clients/requirements/$*.txt
	touch $@

.integrations/%/.ready: pyproject.toml constraints.txt tests/integrations/requirements/%.txt
	$(call environment,.integrations/$*)
	.integrations/$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]' \
		-r tests/integrations/requirements/$*.txt
	touch $@

example-fastapi: $(READY) ## A FastAPI service: make example-fastapi [PORT=8000]
	$(BIN)/python examples/fastapi_app.py $(if $(PORT),--port $(PORT))

example-flask: $(READY) ## A Flask app under gunicorn: make example-flask [PORT=8000]
	$(if $(PORT),PORT=$(PORT)) $(BIN)/gunicorn --config examples/gunicorn_flask/gunicorn.conf.py

example-batch: $(READY) ## A parquet file of requests scored: make example-batch [REQUESTS=file] [OUT=file]
	$(BIN)/python examples/batch_parquet.py $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(OUT),--out $(OUT))

example-search: $(READY) ## A search result reranked: make example-search [QUERY="words"]
	$(BIN)/python examples/rerank_search.py $(QUERY)

docs: $(READY) ## The documentation, warnings as errors: docs/_build/index.html
	$(BIN)/python -m sphinx -E -W --keep-going -n -q -b html docs docs/_build
	@echo "docs/_build/index.html"

bench: $(READY) ## Latency and throughput beside eager PyTorch (under 10 minutes; the first time it makes its model)
	$(BIN)/python benchmarks/model.py
	$(BIN)/python -m pytest benchmarks/bench_latency.py -q --benchmark-json=.bench/latency.json
	$(BIN)/python benchmarks/report.py .bench/latency.json

architectures: $(READY) ## Cross and shared-history side by side: make architectures [DATA=folder] (about 20 minutes)
	$(BIN)/python benchmarks/architectures.py $(if $(DATA),--data $(DATA))

.PHONY: gpu
gpu: $(READY) ## The engine on a GPU beside PyTorch's fp16: make gpu BUNDLES="cross shared", exported with --precision fp16
	$(BIN)/python benchmarks/gpu.py $(BUNDLES)

peers: $(READY) ## The race against every peer: make peers [DATA=folder] [CROSS=bundle SHARED=bundle] [ARGS=options] (about 40 minutes)
	$(BIN)/python benchmarks/race.py $(if $(DATA),--data $(DATA)) $(if $(CROSS),--cross $(CROSS)) $(if $(SHARED),--shared $(SHARED)) $(ARGS)

.PHONY: tune-check
tune-check: $(READY) ## tune, twice, against an exhaustive search: make tune-check BUNDLE=bundle (about 20 minutes)
	$(BIN)/python benchmarks/tune_check.py $(BUNDLE)

load: $(READY) ## The server under load: make load [BUNDLE=bundle] [VARIANT=name] (about 15 minutes)
	$(BIN)/python benchmarks/load/run.py $(if $(BUNDLE),--bundle $(BUNDLE)) $(if $(VARIANT),--variant $(VARIANT))

startup: $(READY) ## Import time, first ranking, peak memory: make startup [BUNDLE=bundle]
	$(BIN)/python benchmarks/startup.py $(BUNDLE)

quality: $(READY) ## Train, export and evaluate: make quality DATA=folder RUN=name [ARCH=cross] (about 100 minutes on 2 cores)
	$(BIN)/onyxrank train --data $(DATA) --out runs/$(RUN) --base minilm --arch $(or $(ARCH),shared-history) --recipe quality
	$(BIN)/onyxrank export runs/$(RUN) --out bundles/$(RUN) --gate-lists 1024
	$(BIN)/onyxrank evaluate bundles/$(RUN) --data $(DATA)

broken-quantization: $(READY) ## The gate refuses a run's int8 with weights of 4 bits: make broken-quantization RUN=name (about 4 minutes)
	$(BIN)/python benchmarks/broken_quantization.py runs/$(RUN); test $$? = 3

quality-table: $(READY) ## Both architectures on all real data: make quality-table DATA=folder (many hours; goes on where it stopped)
	$(BIN)/python benchmarks/quality_table.py --data $(DATA)

.PHONY: fuzz
fuzz: $(READY) ## Damaged requests over every route, and damaged calls in process: make fuzz [REQUESTS=100000] (minutes)
	for way in "" --calls; do \
		$(BIN)/python tests/fuzz/fuzz.py "$$($(BIN)/python examples/demo_shop.py)" --requests $(or $(REQUESTS),100000) $$way || exit 1; \
	done

.PHONY: results
results: $(READY) ## The index of benchmarks/results, and the figures in README and docs that come from it
	$(BIN)/python benchmarks/results_index.py

clean: ## Remove everything that was made
	rm -rf $(VENV) demo .bench .clients .examples .integrations .lock docs/_build docs/_generated dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
