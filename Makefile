# Every target makes .venv by itself: Python 3.11 and pip are all it needs.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3))
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Two processes with two threads each on two cores wait for one another: one thread a process.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all bench docs lint mesa
.DEFAULT_GOAL := demo

demo: $(INSTALLED) mesa
	$(BIN)/robopref demo

test: $(INSTALLED) mesa
	$(BIN)/pytest -q -n auto

test-all: $(INSTALLED) mesa
	$(BIN)/pytest -q -n auto -m ""

bench: $(INSTALLED)
	$(BIN)/pip install -q transformers # one of the peers
	@for file in benchmarks/*.py; do \
		echo "== $$file"; $(BIN)/python "$$file" --quick || exit 1; \
	done

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q
	@echo "site/index.html: the documentation"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# egl_probe (wanted by robomimic) is a source package whose build needs cmake below 4. pip brings
# cmake, but only a build without isolation finds it.
$(INSTALLED): pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "robopref needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || \
		{ rm -rf $(VENV); \
		echo "cannot make $(VENV); on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install -q "cmake<4" setuptools wheel
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install -q --no-build-isolation "egl_probe==1.0.2"
	$(BIN)/pip install -q -e ".[all,dev]"
	@touch $@

# Pictures and videos need OpenGL; everything else works without it.
mesa:
	@"$(BIN)/python" -c 'import ctypes; ctypes.CDLL("libEGL.so.1")' 2>/dev/null || \
		echo "no pictures: apt-get install libegl1 libgl1-mesa-dri brings the OpenGL library"
