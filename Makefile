# Development of the template. CI calls these targets and nothing else.
.DEFAULT_GOAL := help
.PHONY: help demo test matrix lint format bench docs clean

# uv from the machine, or a private one where there is none. `uv run` brings the rest.
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
DO := $(UV) run --quiet
# The long way round: every engine, and what is missing is a failure instead of a skip.
FULL := $(filter 1,$(SLIPWAY_FULL))
# Three files of tests at a time, in the order of tests/conftest.py: on two cores, as a sixth of
# the time is spent waiting. The page on the pitfalls is written by one process that saw them all.
WORKERS := $(if $(SLIPWAY_WRITE_DOCS),0,3)
PYTEST := $(if $(FULL),--group engines) pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
DEMO := build/demo

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  %-8s %s\n", $$1, $$2}'

$(UV):
	python3 -m venv .tools
	.tools/bin/python -m pip install --quiet uv

demo: | $(UV) ## Make a project in build/demo and walk it through its whole life
	rm -rf $(DEMO)
	@mkdir -p build
	PYTHONWARNINGS="ignore:Dirty template changes" \
	$(DO) copier copy --quiet --defaults --vcs-ref HEAD "$(CURDIR)" $(DEMO)
	@echo "Made $(DEMO). Next, in that folder: make setup demo"
	PATH="$$PATH:$(CURDIR)/.tools/bin" $(MAKE) --no-print-directory -C $(DEMO) setup demo

test: | $(UV) ## Everything: the package, rendering, a project's whole life (ARGS=… for pytest)
	$(DO) $(PYTEST) $(ARGS)

matrix: | $(UV) ## The long mode: the life of a project for every combination of answers
	SLIPWAY_FULL=1 $(DO) --group engines pytest -n $(WORKERS) --dist loadfile -m long $(ARGS)

lint: | $(UV) ## Style, likely bugs, formatting and types
	$(DO) ruff check --extend-ignore N999 .
	$(DO) ruff format --check .
	$(DO) mypy --config-file template/mypy.ini tests/conftest.py

format: | $(UV) ## Fix style and formatting
	$(DO) ruff check --fix --extend-ignore N999 .
	$(DO) ruff format .

bench: | $(UV) ## Measure against named peers, and write docs/benchmarks.md
	$(DO) python benchmarks/page.py $(ARGS)

docs: | $(UV) ## Write the reference anew, and build the site; a broken link stops it
	$(DO) python docs/reference/make.py
	$(DO) --group docs mkdocs build --quiet --strict
	@echo "Open build/site/index.html"

clean: ## Remove what the other targets made
	rm -rf build .tools .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
