# Two commands do everything: `make demo` runs the mesh with the shop, `make test` proves it.
PYTHON ?= $(shell tools/find-python)
BIN := .venv/bin
ARGS ?=

.PHONY: demo test check unit mesh setup clean lock golden

demo: setup            ## the shop inside the mesh, on this machine; ARGS=--check prints PASS/FAIL lines
	$(BIN)/python -m lateen.cli.main demo $(ARGS)

test: setup check unit mesh   ## everything that must hold

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock tools/setup
	PYTHON="$(PYTHON)" tools/setup
	@touch $@

check: setup           ## format, lint, types, layers, sizes, words
	$(BIN)/ruff format --check src tests tools
	$(BIN)/ruff check src tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/sizes.py
	$(BIN)/python tools/words.py

# Real Envoys and clusters share two cores here: what fails beside others is tried once more alone, loudly. Twice is a failure.
unit: setup            ## all tests but those that start a whole mesh
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not mesh" tests || { echo "FAILED BESIDE OTHERS, now alone:"; \
	$(BIN)/pytest -q --last-failed --last-failed-no-failures none -m "not mesh" tests; }

mesh: setup            ## tests on a real skiff with a real mesh, one after the other, in a network of their own
	tools/isolated $(BIN)/pytest -q -m mesh tests

lock: setup            ## pin what pyproject.toml allows
	$(BIN)/pip-compile -q --extra dev --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-annotate --no-header --strip-extras --allow-unsafe -o requirements.lock pyproject.toml
	sed -i '/^lateen @ /d' requirements.lock # itself, by the path of this machine

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
