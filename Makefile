# make suites   measure the bundled suites and compare them with the committed baselines
# make test     the harness's own tests
# make lint     ruff and mypy
# make clean    remove the environment, caches and prepared artefacts; downloads, reports and baselines stay
#
# PYTHON=python3.12   another interpreter, 3.11 or newer; an environment of another version is made anew
# ARGS='-k digits'    more arguments for pytest

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# Hundreds of processes start: without kept bytecode each compiles the harness anew.
export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR:
.PHONY: suites test lint clean

suites: $(VENV)/.suites
	$(BIN)/python -m suites.fetch
	@before=$$(readlink reports/latest); \
	unavailable=; \
	if [ -n "$$CXX" ]; then command -v "$$CXX"; else command -v g++ || command -v clang++ || command -v c++; \
	fi >/dev/null || { \
	    cure="apt-get install g++"; [ -z "$$CXX" ] || cure="unset CXX, which names no program here: $$CXX"; \
	    echo "make suites: no C++ compiler, so the compiled cases are left out (to have them: $$cure)"; \
	    unavailable="--allow-unavailable=compiled --allow-unavailable=aotinductor"; \
	}; \
	code=0; $(BIN)/python -m pytest suites/ $$unavailable $(ARGS) || code=$$?; \
	if [ "$$(readlink reports/latest)" != "$$before" ] && [ -e reports/latest/index.html ]; then \
	    echo "make suites: the report is $(CURDIR)/reports/$$(readlink reports/latest)/index.html"; \
	else \
	    echo "make suites: nothing was run, so there is no report"; \
	fi; \
	exit $$code

test: $(VENV)/.dev
	$(BIN)/python -m suites.fetch
	@# What measures for real has the machine to itself. 5 says that ARGS selected none of them, an error where both say so.
	none=$(if $(strip $(ARGS)),5,0); beside=0; alone=0; \
	$(BIN)/python -m pytest tests/ -n 2 --dist loadfile --no-loadscope-reorder -m "not alone" $(ARGS) || beside=$$?; \
	[ $$beside -eq 0 ] || [ $$beside -eq $$none ] || exit $$beside; \
	$(BIN)/python -m pytest tests/ -m alone $(ARGS) || alone=$$?; \
	[ $$beside -eq 0 ] && [ $$alone -eq $$none ] || exit $$alone

lint: $(VENV)/.dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist .harness/artefacts

# The stamps are older than what they depend on when an installation is stale. An environment knows its folder: a copy
# of it elsewhere would import the sources that it was made for.
ifneq ($(shell cat $(VENV)/.root 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.root
endif
# And it has one Python: installing for another that the command line names would leave the old one in its place.
CLEAR :=
version = $(shell $(1) -c 'import platform; print(platform.python_version())' 2>/dev/null)
ifeq ($(origin PYTHON),command line)
ifneq ($(call version,$(PYTHON)),$(call version,$(BIN)/python))
.PHONY: $(VENV)/.root
CLEAR := --clear
endif
endif

$(VENV)/.root:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: $(PYTHON) is missing or older than Python 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "make: $(PYTHON) can't make environments (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(CLEAR) $(VENV)
	@echo "$(CURDIR)" > $@

$(VENV)/.suites: $(VENV)/.root pyproject.toml constraints.txt
	$(PIP) --editable '.[suites]'
	@touch $@

$(VENV)/.dev: $(VENV)/.root pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.suites
