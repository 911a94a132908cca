# The newest Python from 3.11 to 3.13 that this machine has.
PYTHON ?= $(shell for v in 3.13 3.12 3.11; do \
	for p in python$$v $(HOME)/.pyenv/versions/$$v.*/bin/python3 python3; do \
		$$p -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$v')" \
			2>/dev/null && { command -v $$p; exit; }; done; done)
VENV ?= .venv
BIN := $(VENV)/bin
IMAGE ?= xgboost-mme
ARGS ?=
QUICK ?=
ONLY ?=
RESIDENT ?=
SECONDS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo serve local test soak lint bench image deploy docs notebook lock clean

help: ## say what the verbs are
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

setup: $(VENV)/.done ## install everything into .venv

$(VENV)/.done: .ci/lock/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 here: install one"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r .ci/lock/dev.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	$(BIN)/python -m container.aot
	@touch $@

demo: setup ## the whole story: train cities, serve them, invoke them cold and warm
	@$(BIN)/mme demo

serve: setup ## the container's processes, here: MME_MODEL_ROOT=models SAGEMAKER_BIND_TO_PORT=8080
	@$(BIN)/mme serve

local: setup ## a SageMaker endpoint on this machine: docs/10-local.md
	@$(BIN)/mme local $(ARGS)

test: setup ## all tests; those of the image where a Docker Engine runs
	@$(BIN)/pytest $(ARGS)

soak: setup ## ten minutes of traffic while processes are killed; its last line is the result
	@$(BIN)/python -m tests.faults.soak $(if $(SECONDS),--seconds $(SECONDS))

lint: setup ## formatting, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: setup .venv-mlserver/.done ## measure beside the peers; QUICK=1, ONLY=part, RESIDENT=models
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) \
		$(if $(RESIDENT),--resident $(RESIDENT))

# The peer that cannot share our environment. Its Python must be one that it supports, below 3.13.
.venv-mlserver/.done: .ci/lock/mlserver.txt
	for p in python3.12 $(HOME)/.pyenv/versions/3.12.*/bin/python3 python3.11 \
		$(HOME)/.pyenv/versions/3.11.*/bin/python3; do \
		$$p -c 'import ensurepip' 2>/dev/null && $$p -m venv .venv-mlserver && break; done
	@test -x .venv-mlserver/bin/pip || { echo "no Python 3.11 or 3.12 here: MLServer needs one"; exit 1; }
	.venv-mlserver/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Without attestations, which would make a list of it that SageMaker does not pull.
image: ## build the container's image
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --network host -t $(IMAGE) .

deploy: setup image ## the endpoint that mme.toml describes, on AWS: docs/13-first-deployment.md
	@$(BIN)/mme deploy $(ARGS)

docs: setup ## write the parts of docs/ that are made from the code
	@$(BIN)/python docs/generate.py

notebook: setup ## run notebooks/walkthrough.ipynb and keep its outputs
	@$(BIN)/python notebooks/execute.py

lock: ## choose versions anew and write .ci/lock/ (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
		pyproject.toml -o .ci/lock/image.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --extra dev \
		-c .ci/lock/image.txt pyproject.toml -o .ci/lock/dev.txt

clean: ## remove what the verbs have made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
