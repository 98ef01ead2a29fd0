# Two commands do all the set-up themselves: `make demo` and `make test`. Nothing has to be there but Python 3.11 or
# later with venv and pip. Exact versions of every library: constraints.txt.

# The first of these that is new enough; name another with `make PYTHON=/path/to/python3.12 demo`.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$each; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
LOG := $(VENV)/install.log
# The second variable is what pip 25.3 and later read for the tools that build procmodel.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip \
	--disable-pip-version-check --no-input install --progress-bar off

# A dot for each library that is looked up, pip's own words in $(LOG). A shell loop, since awk may hold its dots back.
define installed
	@printf '%s ' '$(1)'; { $(PIP) $(2) 2>&1; echo "ended $$?"; } | tee -a $(LOG) | while IFS= read -r line; do \
		case $$line in \
			Collecting*) printf . ;; \
			'Installing collected'*) printf ' unpacking' ;; \
			ended*) echo; exit $${line#ended } ;; \
		esac; \
	done || { tail -n 30 $(LOG); echo 'Not installed; the reason stands above and in $(LOG).'; exit 1; }
endef

.DEFAULT_GOAL := help
.PHONY: help demo test servers lint types check clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## set up, then the whole job on a simulated plant (ARGS='--plant quadruple-tank')
	@$(BIN)/procmodel demo $(ARGS)

test: $(VENV)/installed-dev ## set up, then all tests (ARGS='tests/plant -x')
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

servers: ## install what tests of server historians run against (apt, npm); tests skip what is not there
	@.ci/servers

lint: $(VENV)/installed-dev ## style and common slips
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/installed-dev ## strict type check of procmodel and connectors
	@$(BIN)/mypy

check: lint types test ## all three, as CI does

clean: ## take away the environment and the caches; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find procmodel connectors tests examples experiments -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml constraints.txt
	@'$(PYTHON)' -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "Needs Python 3.11 or later with venv and pip; got '$(PYTHON)'." \
		"Install it (Debian: apt install python3-venv), or name one: make PYTHON=/path/to/python demo"; exit 1; }
	@test -x $(BIN)/python || '$(PYTHON)' -m venv $(VENV)
	@echo 'Installing into $(VENV): once, a few minutes, about 2.5 GB without a GPU.'
	$(call installed,PyTorch,torch)
	$(call installed,Libraries,-e .)
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(call installed,Test tools,-e '.[dev]')
	@touch $@
