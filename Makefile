# `make demo` runs a three-node cluster, `make test` runs the tests. Both build .venv first.
#
# PYTHON selects the interpreter, VENV the directory: make test PYTHON=python3.13 VENV=.venv313

VENV ?= .venv
PYTHON ?=
DEMO ?=
TESTS ?=
SCREENSHOTS ?= build/screenshots

# Four workers for two cores, as tests of real nodes often wait. One of them runs all tests that measure time, one after
# the other (tests/conftest.py).
PYTEST = $(VENV)/bin/pytest -n 4

.DEFAULT_GOAL := help
.PHONY: help demo test screenshots pictures commands-page lint types clean

help:
	@echo 'make demo    runs three nodes in the foreground; Ctrl-C stops them (DEMO="--nodes 5" passes options)'
	@echo 'make test    runs the tests (TESTS="tests/raft -k vote" selects some)'
	@echo 'make screenshots  takes pictures of the status page, the shell and kraft status into $(SCREENSHOTS)'
	@echo 'make pictures  takes them anew for docs/pictures'
	@echo 'make commands-page  writes docs/commands.md from the command table'
	@echo 'make lint    runs ruff'
	@echo 'make types   runs mypy'
	@echo 'make clean   removes $(VENV) and caches; the demo keeps its data in kraft-demo'

demo: $(VENV)/.run
	@exec $(VENV)/bin/kraft demo $(DEMO)

test: $(VENV)/.test
	$(PYTEST) $(TESTS)

screenshots: $(VENV)/.test
	$(VENV)/bin/pytest tests/browser/test_pictures.py tests/cluster/test_shell_picture.py \
		tests/cluster/test_status_picture.py --screenshots $(SCREENSHOTS)
	@ls $(SCREENSHOTS)

pictures: screenshots
	cp $(SCREENSHOTS)/status-*.webp $(SCREENSHOTS)/*.svg docs/pictures/

commands-page: $(VENV)/.run
	$(VENV)/bin/python tools/commands_page.py

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .tox build dist

# The marker file is touched last, so that an interrupted installation is repeated.
$(VENV)/.run: pyproject.toml
	@python=$$(sh tools/find-python "$(PYTHON)") && echo "kraft: building $(VENV) with $$python; this takes about a minute, once" && "$$python" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run pyproject.toml
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint,types]'
	@touch $@
