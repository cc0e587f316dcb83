# The few commands that a person types. Each is one line into toolchain/setup.py, pulumi or the CLI.
STACK ?= local
# Of a stack in a cloud: real, test, or what can be had.
PROVIDERS ?= auto
POLICY ?= 1
SETUP := python3 toolchain/setup.py
RUN := $(SETUP) run --
CLI := $(RUN) pulumi-mlflow
LOCK := $(RUN) uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup ready up down preview refresh info env ps logs shell users verify dump restore test lint lock images-update

help: ## List these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo; echo "STACK=$(STACK) unless told otherwise: make up STACK=dev"

setup: ## Get what the stack needs: Python packages, Pulumi, and for Docker stacks plugin and engine.
	@$(SETUP) --stack $(STACK)

# To stderr: what `make env` prints is read by a shell. What changes a cloud refuses to begin without an account.
up down refresh: NEEDS := --accounts
ready:
	@$(SETUP) --quiet --stack $(STACK) $(NEEDS) >&2

up: ready ## Bring the stack up, and say how to use it.
	@$(RUN) pulumi up --yes --skip-preview -s $(STACK)
	@$(CLI) info --stack $(STACK)

down: ready ## Take it down and keep its data (in a cloud it asks: YES=1); PURGE=1 destroys data and secrets too.
	@$(CLI) down --stack $(STACK) $(if $(PURGE),--purge --yes,$(if $(YES),--yes))

preview: ## Show what `make up` would change, and what breaks a rule; JSON=plan.json writes it down.
	@$(SETUP) --quiet --stack $(STACK) preview --providers $(PROVIDERS) -- \
	  $(if $(filter-out 0,$(POLICY)),--policy-pack policy) $(if $(JSON),--json > "$(JSON)")

refresh: ready ## Read the running resources into the state.
	@$(RUN) pulumi refresh --yes --skip-preview -s $(STACK)

info: ready ## Show URL and login.
	@$(CLI) info --stack $(STACK)

env: ready ## Print what MLflow's client needs: eval "$(make env)".
	@$(CLI) env --stack $(STACK)

ps: ready ## Show the stack's parts: health, uptime, memory, CPU, restarts, ports.
	@$(CLI) ps --stack $(STACK)

logs: ready ## Show the parts' logs in order of time; ROLE=tracking for one, FOLLOW=1 waits for more.
	@$(CLI) logs --stack $(STACK) $(if $(ROLE),--role $(ROLE)) $(if $(FOLLOW),--follow)

shell: ready ## Open a shell in a container; ROLE=database for another than the server's.
	@$(CLI) shell --stack $(STACK) $(if $(ROLE),--role $(ROLE))

users: ready ## List who may log in; DO='add ada', 'remove ada' or 'rotate ada' changes it.
	@$(CLI) users $(if $(DO),$(DO),list) --stack $(STACK)

verify: ready ## Send a real training run through the front door and back.
	@$(CLI) verify --stack $(STACK)

dump: ready ## Copy database, artifacts and secrets into a folder; TO=… names it.
	@$(CLI) dump --stack $(STACK) $(if $(TO),--to "$(TO)")

restore: ready ## Replace the stack's data by the dump FROM=…; asks first, unless YES=1.
	@$(if $(FROM),,$(error FROM is missing: make restore FROM=dump/…, the folder that make dump has named))$(CLI) restore --stack $(STACK) --from "$(FROM)" $(if $(YES),--yes)

test: ## Run every check and test.
	@python3 tests/run.py

lint: ## Run the checks that need no test: style, types, generated docs.
	@python3 tests/run.py --lint

lock: ## Pin the versions that pyproject.toml allows.
	@$(SETUP) --quiet
	@$(LOCK) pyproject.toml --group dev -o requirements.lock
	@$(LOCK) -c requirements.lock images/mlflow/requirements.in -o images/mlflow/requirements.lock
	@$(LOCK) -c images/mlflow/requirements.lock images/mlflow/requirements-gcs.in \
	  -o images/mlflow/requirements-gcs.lock
	@$(LOCK) -c images/mlflow/requirements.lock -c images/mlflow/requirements-gcs.lock \
	  images/mlflow/requirements-azure.in -o images/mlflow/requirements-azure.lock
	@$(LOCK) -c images/mlflow/requirements.lock images/mlflow/requirements-metrics.in \
	  -o images/mlflow/requirements-metrics.lock
	@$(LOCK) -c images/mlflow/requirements.lock images/mlflow/requirements-redis.in \
	  -o images/mlflow/requirements-redis.lock
	@$(LOCK) policy/requirements.in -o policy/requirements.lock

# A stack that pushes no images has none to compare.
images-update: ready ## Take in newer official base images by digest, and show what is new; DRY=1 only shows it.
	@$(CLI) images-update $(if $(filter-out local dev,$(STACK)),--stack $(STACK)) $(if $(DRY),--dry-run)
