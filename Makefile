# make demo: set everything up and run the main job · make test: set everything up and pass the tests
SHELL := /bin/bash
export OMP_NUM_THREADS ?= 1
RUN ?= runs/demo

.PHONY: setup demo test lint slow clean

setup:
	@scripts/setup.sh >/dev/null

demo:
	@python=$$(scripts/setup.sh) && "$$python" -m wavesim demo --out $(RUN)

test:
	@python=$$(scripts/setup.sh) && "$$python" -m ruff check . && "$$python" -m ruff format --check . && \
	  "$$python" -m mypy && "$$python" -m pytest -n 2 --dist loadfile --durations 20

slow:
	@python=$$(scripts/setup.sh) && "$$python" -m pytest -m slow

lint:
	@python=$$(scripts/setup.sh) && "$$python" -m ruff check --fix . && "$$python" -m ruff format . && \
	  "$$python" -m mypy

# The results in runs/ stay.
clean:
	rm -rf .venv build dist
