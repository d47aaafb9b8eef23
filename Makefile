# One folder holds everything: .venv the packages, .jupyter what Jupyter writes.

PYTHON ?= python3
VENV ?= .venv
LAB_FLAGS ?=
TEST_FLAGS ?=
# Processes of the tests: `auto` is one more than cores, four at most, and 0 one alone. Each takes about
# 1 GB, and so does the browser.
WORKERS ?= auto

VENV_PATH := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))
INSTALLED := $(VENV)/.installed
TRUSTED := .jupyter/trusted
WORKSPACES := .jupyter/lab/workspaces
# Run as a file: its package imports torch, which takes seconds.
NOTEBOOKS := $(VENV)/bin/python -P graders/notebooks.py

LECTURES := $(wildcard course/*.ipynb)
SOLUTIONS := $(wildcard solutions/*/*.ipynb)
EXERCISES := $(wildcard exercises/*/*.ipynb)

# The tensors of the course are small: one thread is quicker than several that wait for each other.
export OMP_NUM_THREADS ?= 1
# nbgrader starts alembic by its name.
export PATH := $(VENV_PATH)/bin:$(PATH)
export JUPYTER_CONFIG_DIR := $(CURDIR)/.jupyter/config
# No question about news, no look for updates or for what to build, every cell attached to the page.
export JUPYTER_CONFIG_PATH := $(CURDIR)/jupyter-config
export JUPYTER_DATA_DIR := $(CURDIR)/.jupyter/data
export JUPYTER_RUNTIME_DIR := $(CURDIR)/.jupyter/runtime
export JUPYTERLAB_SETTINGS_DIR := $(CURDIR)/.jupyter/lab/settings
export JUPYTERLAB_WORKSPACES_DIR := $(CURDIR)/$(WORKSPACES)
export IPYTHONDIR := $(CURDIR)/.jupyter/ipython
export MPLCONFIGDIR := $(CURDIR)/.jupyter/matplotlib
# What another environment may have set must not lead out of this folder. Where one is active, IPython would put its
# packages before those of .venv.
export VIRTUAL_ENV := $(VENV_PATH)
unexport JUPYTER_PATH JUPYTERLAB_DIR JUPYTER_PREFER_ENV_PATH PYTHONHOME PYTHONPATH

.PHONY: help lab test resolve setup site wheel exercises lectures format clean
.DEFAULT_GOAL := help

help:
	@echo 'make lab        open the course in JupyterLab (the first time sets up .venv)'
	@echo 'make test       check everything: style, code, notebooks, pages in a browser'
	@echo 'make resolve    can the pinned packages be had on Linux, macOS and Windows?'
	@echo 'make site       write the course as pages for any browser to site/'
	@echo 'make wheel      build a wheel into dist/, for places that have Jupyter already'
	@echo 'make exercises  generate exercises/ from solutions/'
	@echo 'make lectures   run the lectures again, store their outputs and pictures (needs Chromium)'
	@echo 'make format     bring code and notebooks into their normal form'
	@echo 'make clean      remove .venv, .jupyter and what tests leave; course files stay'

# An address, not a file: for a file, JupyterLab would take its folder as the root, and links from
# course/ to exercises/ would lead nowhere. -y: Ctrl+C ends it without a question.
lab: $(INSTALLED) $(TRUSTED) $(WORKSPACES)
	@$(VENV)/bin/jupyter-lab -y --LabApp.default_url=/lab/tree/course/index.ipynb $(LAB_FLAGS)

test: $(INSTALLED)
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --check --quiet
	@$(VENV)/bin/python -m pytest --nbval-lax --nbval-current-env \
	  -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(TEST_FLAGS)

# Whether the pinned packages can be had, as wheels, wherever the course is to run. It downloads none of them.
resolve: $(INSTALLED)
	@for system in linux aarch64-unknown-linux-gnu macos windows; do for python in 3.11.5 3.12 3.13 3.14; do \
	  MACOSX_DEPLOYMENT_TARGET=14.0 $(VENV)/bin/uv pip compile --quiet --no-config --all-extras \
	    --only-binary :all: --python-platform $$system --python-version $$python \
	    -c constraints.txt -o '$(VENV_PATH)/.resolved' pyproject.toml && echo "$$system, Python $$python: resolved" || exit 1; \
	done; done

site: $(INSTALLED)
	@$(VENV)/bin/python -m course.site site

wheel: $(INSTALLED)
	@$(VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

exercises: $(INSTALLED)
	@$(NOTEBOOKS) release exercises

lectures: $(INSTALLED)
	@$(NOTEBOOKS) execute $(LECTURES)
	@$(VENV)/bin/python -m course.explorers.pictures $(LECTURES)

format: $(INSTALLED)
	@$(VENV)/bin/ruff check --fix --quiet
	@$(VENV)/bin/ruff format --quiet
	@$(NOTEBOOKS) normalize $(LECTURES) $(SOLUTIONS)

clean:
	@rm -rf .venv .jupyter build *.egg-info .pytest_cache .ruff_cache .virtual_documents
	@rm -rf tests/browser/artefacts
	@find . -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

setup: $(INSTALLED)

# The stamp holds where the environment was made: a moved folder, like a failed or interrupted
# installation, is set up anew.
MOVED := $(if $(wildcard $(INSTALLED)),$(shell test "`cat $(INSTALLED)`" = "$(VENV_PATH)" || echo moved))

$(INSTALLED): pyproject.toml constraints.txt $(if $(MOVED),always)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' 2>/dev/null || { \
	  echo 'The course needs Python 3.11.5 or newer; name one with: make $(or $(MAKECMDGOALS),lab) PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import platform, sys; sys.exit(0 < int(platform.mac_ver()[0].partition(".")[0] or 0) < 14)' || { \
	  echo 'The course needs macOS 14 or newer, as PyTorch does.' >&2; exit 1; }
	@$(PYTHON) -c 'import platform, sys; sys.exit((platform.system(), platform.machine()) == ("Darwin", "x86_64"))' || { \
	  echo 'The course needs a Mac with Apple silicon: PyTorch has no build for Intel, nor for Rosetta.' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'This Python cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv' >&2; exit 1; }
	@rm -f $@
	@echo 'Setting up $(VENV); the first time downloads PyTorch and takes some minutes.'
	@test -z '$(MOVED)' && $(VENV)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[course,test]'
	@$(VENV)/bin/python -m compileall -q course graders  # as pip does with packages that it copies
	@echo '$(VENV_PATH)' > $@

# JupyterLab hides stored HTML in notebooks that it has not been told to trust.
$(TRUSTED): $(INSTALLED) $(LECTURES) $(SOLUTIONS) $(EXERCISES)
	@mkdir -p $(@D)
	@$(NOTEBOOKS) trust $(LECTURES) $(SOLUTIONS) $(EXERCISES)
	@touch $@

# What an address names, JupyterLab opens last: once it has waited for its workspace to be saved, which takes a
# second. What the workspace names comes at once, so the first one names the start page.
$(WORKSPACES): | $(INSTALLED)
	@$(VENV)/bin/jupyter-lab workspaces import --Application.log_level=ERROR jupyter-config/first.jupyterlab-workspace

.PHONY: always
always:
