# Two commands matter: `make demo` and `make test`. Both do all set-up themselves; a second run is quick.

SHELL := /bin/bash
VENV ?= .venv
STAMPS := .stamps
BIN := $(VENV)/bin

# Interpreters outside PATH that tox may use; missing ones are skipped.
PYENV_ROOT ?= $(HOME)/.pyenv
UV_PYTHON_DIR ?= $(HOME)/.local/share/uv/python
INTERPRETERS := $(wildcard $(PYENV_ROOT)/versions/3.1[1-4].*/bin $(UV_PYTHON_DIR)/cpython-3.1[1-4]*/bin)
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
TOX := PATH="$(subst $(SPACE),:,$(strip $(PATH) $(INTERPRETERS)))" $(BIN)/tox

.PHONY: help demo test live bench fuzz docs lint type man package extras clean

help:  ## Say what can be made.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMPS)/venv  ## Watch real packets being judged and reported (no configuration, no root where namespaces work).
	@$(BIN)/trireme-collector demo

test: $(STAMPS)/venv $(STAMPS)/needs  ## Run everything that needs no kernel: unit tests on each Python, wheel, lint, types, docs.
	@rm -f .tox/*/report*.xml
	@status=0; \
	$(TOX) run-parallel --parallel auto --parallel-no-spinner || status=$$?; \
	$(BIN)/python .ci/summary.py --status $$status .tox/*/report*.xml

live: $(STAMPS)/venv $(STAMPS)/live  ## Run the tests against the real kernel, in network namespaces (needs root).
	@$(TOX) run -e live

bench: $(STAMPS)/venv $(STAMPS)/needs  ## Measure, side by side with the alternatives (needs root for the packet path).
	@$(TOX) run -e bench

fuzz: $(STAMPS)/venv $(STAMPS)/needs  ## Run the property tests with many fresh examples.
	@$(TOX) run -e fuzz

docs: $(STAMPS)/venv  ## Build the documentation and execute its snippets.
	@$(TOX) run -e docs

lint: $(STAMPS)/venv  ## Check style, format and the direction of imports.
	@$(TOX) run -e lint

type: $(STAMPS)/venv $(STAMPS)/needs  ## Check types.
	@$(TOX) run -e type

man: $(STAMPS)/venv  ## Write the manual pages anew, from the commands.
	@$(BIN)/python packaging/man_pages.py

package: $(STAMPS)/venv  ## Build the source archive, the wheel and their software bill of materials into dist/.
	@$(TOX) run -e package

extras: $(STAMPS)/venv  ## Install the wheel with each extra into a clean environment, on each Python that is there.
	@$(TOX) run -e extras

clean:  ## Remove everything that was made.
	rm -rf $(VENV) $(STAMPS) .tox build dist *.egg-info docs/_build .coverage* htmlcov
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# System packages: installed where root and apt-get are there, named otherwise.
$(STAMPS)/system: .ci/system-packages
	@mkdir -p $(STAMPS)
	@.ci/system-packages install
	@touch $@

# What the tests cannot do without.
$(STAMPS)/needs: $(STAMPS)/system
	@.ci/system-packages require
	@touch $@

# The servers that the live tests run: nothing else installs those.
$(STAMPS)/live: $(STAMPS)/system
	@.ci/system-packages install live
	@.ci/system-packages require live
	@touch $@

# A tox that ran before may have left a file of that name, which says where its own environment is.
$(STAMPS)/venv: $(STAMPS)/system setup.cfg pyproject.toml
	@test ! -f $(VENV) || rm -f $(VENV)
	@python=$$(.ci/system-packages python) && { test -x $(BIN)/python || "$$python" -m venv $(VENV); }
	@echo "Installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(shell .ci/system-packages extras)' 'tox>=4.25'
	@touch $@
