# Works with GNU make 3.81 and newer, in a folder with any name; `make help` says what there is.
VENV ?= .venv
PY := $(VENV)/bin/python
SYSTEM := llamacpp or vllm or tmux or node or pypi or sandbox or browser
FOLDERS := agents cli mcp_servers models testing tools tui src bench examples tests
# A virtual environment that moved with its checkout is made again.
MOVED := $(shell test "$$(cat "$(VENV)/checkout" 2>/dev/null)" = "$$(pwd -P)" || echo moved)
# uv fetches no interpreter; pyright does not ask the registry for a newer pyright.
export UV_PYTHON_DOWNLOADS := never
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo test test-system attacks lint types format bench lock clean moved
.DEFAULT_GOAL := help

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo: $(VENV)/has-local  ## install, fetch the pocket model, watch an agent call tools and answer
	@$(PY) -m qianda models pull demo >/dev/null
	@$(PY) -m qianda.cli.demo

test: $(VENV)/has-dev  ## the tests that need Python and PyPI only, at most 5 minutes; ARGS="-n 0 -x -k name" for one
	@$(PY) -m pytest -q -n 2 --dist worksteal -m "not ($(SYSTEM))" $(ARGS)

test-system: $(VENV)/has-dev  ## the tests with real engines and programs; what is missing is skipped and named
	@$(PY) -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder -m "$(SYSTEM)" $(ARGS)

attacks: $(VENV)/has-dev  ## the attacks of docs/security.md; what is missing is skipped and named
	@$(PY) -m pytest -q $$(grep -o 'tests/[a-z_/]*\.py' docs/security.md | sort -u) $(ARGS)

lint: $(VENV)/has-dev  ## ruff: rules and format
	@$(PY) -m ruff check -q $(FOLDERS)
	@$(PY) -m ruff format -q --check $(FOLDERS)

types: $(VENV)/has-dev  ## pyright, strict
	@$(PY) -m pyright --pythonpath $(PY)

format: $(VENV)/has-dev  ## ruff: put the format right, and what else it can mend
	@$(PY) -m ruff format -q $(FOLDERS)
	@$(PY) -m ruff check -q --fix $(FOLDERS)

bench: $(VENV)/has-dev  ## overhead beside a hand-written loop, start-up times
	@$(PY) bench/overhead.py $(ARGS)

lock:  ## resolve the versions that CI installs anew (needs uv)
	@uv pip compile -q --universal --generate-hashes --all-extras --upgrade --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --output-file requirements/ci.lock pyproject.toml

clean:  ## remove what make made
	rm -rf .venv build dist demo src/qianda.egg-info .pytest_cache .ruff_cache .hypothesis
	find agents cli mcp_servers models testing tools tui src bench examples tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/has-local: pyproject.toml .ci/venv $(MOVED)
	@sh .ci/venv "$(VENV)" local
	@touch $@

$(VENV)/has-dev: pyproject.toml .ci/venv $(MOVED)
	@sh .ci/venv "$(VENV)" local,dev
	@touch $@ "$(VENV)/has-local"

moved:
