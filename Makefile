# Two commands do everything: `make demo` runs the mesh with the shop, `make test` proves it.
PYTHON ?= $(shell tools/find-python)
BIN := .venv/bin
ARGS ?=

.PHONY: demo test check unit mesh realistic soak setup clean lock licences audit

demo: setup            ## the shop inside the mesh, on this machine; ARGS=--check prints PASS/FAIL lines
	$(BIN)/python -m lateen.cli.main demo $(ARGS)

test: setup check unit mesh   ## everything that must hold

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock requirements-dev.lock tools/setup
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
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not mesh and not soak" tests || { echo "FAILED BESIDE OTHERS, now alone:"; \
	$(BIN)/pytest -q --last-failed --last-failed-no-failures none -m "not mesh and not soak" tests; }

mesh: setup            ## tests on a real skiff with a real mesh, one after the other, in a network of their own
	tools/isolated $(BIN)/pytest -q -m "mesh and not soak" tests

realistic: setup       ## the same, and the demo, on clusters as unreliable as a busy one; SKIFF_SEED=n draws other chances
	SKIFF_REALISTIC=1 tools/isolated $(BIN)/pytest -q -m "mesh and not soak" tests
	SKIFF_REALISTIC=1 tools/isolated $(BIN)/python -m lateen.cli.main demo --check

soak: setup            ## what takes minutes each: kills, long load, a mesh among hostile neighbours
	tools/helm
	tools/isolated $(BIN)/pytest -q -s -m soak tests
	SOAK_MINUTES=$(or $(SOAK_MINUTES),10) tools/isolated $(BIN)/pytest -q -s -m mesh tests/mesh/test_soak.py

COMPILE := $(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	--no-annotate --no-header --strip-extras --allow-unsafe

lock: setup            ## pin what pyproject.toml allows, with hashes: what runs, and what builds and tests it
	$(COMPILE) --extra schemas -o requirements.lock pyproject.toml
	$(COMPILE) --extra schemas --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	$(MAKE) licences

licences: setup        ## LICENSES.md: whose work comes with what runs
	$(BIN)/python tools/licences.py > LICENSES.md

audit: setup           ## known holes in the pinned packages; needs the advisories of PyPI, and says so without them
	$(BIN)/pip-audit --strict --disable-pip --requirement requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
