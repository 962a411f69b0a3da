# Everything a newcomer types. Needs Python 3.11 or newer and make; `make help` lists the targets.
# Every path is relative, so the folder's own name may hold spaces.

PYTHON ?=
VENV := .venv
PY := $(VENV)/bin/python
RUN := requirements.txt requirements-embedded.txt
DEV := requirements-dev.txt
OTEL := requirements-otel.txt
ONCE ?=
RAILS ?=
TESTED ?=
UPGRADE ?=
ARGS ?=
JOBS ?= 2
SEED ?= 1
RUNS ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev otel demo stack test chaos check sbom tour rabbitmq bench proto lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile

setup: $(VENV)/installed-run ## install what the engine and its demo need
setup-dev: $(VENV)/installed-dev ## install what tests and checks need, too
otel: $(VENV)/installed-otel ## install what traces need (OTEL_EXPORTER_OTLP_ENDPOINT)

demo: setup ## run the whole stack, clear the sample day, keep serving; ONCE=1 stops after the result, RAILS=engine settles outside
	@$(PY) manage.py demo $(if $(ONCE),--once) $(if $(RAILS),--rails=$(RAILS)) $(ARGS)

stack: setup ## run the whole stack in the foreground
	@$(PY) manage.py stack $(ARGS)

test: setup-dev ## run every test on real embedded servers, JOBS=2 processes side by side; ARGS go to pytest
	@$(PY) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

chaos: setup-dev ## torment a stack of its own with random faults and check every invariant; SEED=1 RUNS=50 to change, RAILS=engine settles outside
	@$(PY) -m tests.chaos --seed $(SEED) --runs $(RUNS) $(if $(RAILS),--rails=$(RAILS)) $(ARGS)

check: setup-dev ## format, lint, types, import contracts, migrations, schema, then the tests; TESTED=1 where the tests have just run
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) $(VENV)/bin/lint-imports
	$(PY) manage.py check --fail-level WARNING
	SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	  $(PY) manage.py check --deploy --fail-level WARNING
	$(PY) -m bandit --quiet --recursive clearing clearing_project netting settlement -c pyproject.toml
	$(PY) $(VENV)/bin/pip-licenses --from=mixed --python=$(PY) > /dev/null
	$(PY) $(VENV)/bin/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --validate --output-file /dev/null
	$(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PY) manage.py spectacular --validate --fail-on-warn --file /dev/null
	$(if $(TESTED),,$(PY) -m pytest -n $(JOBS) --dist loadfile)

sbom: setup-dev ## write sbom.json and, of the optional traces, sbom-otel.json (CycloneDX): every package of a deployment, with its hashes
	$(PY) $(VENV)/bin/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-file sbom.json
	$(PY) $(VENV)/bin/cyclonedx-py requirements requirements-otel.txt --output-file sbom-otel.json

tour: setup ## one window from open to completed over gRPC, heard alike by a stream, NATS and a webhook
	@$(PY) manage.py tour

rabbitmq: setup-dev ## clear windows over RabbitMQ with quorum queues; needs Debian's rabbitmq-server
	@$(PY) -m tests.rabbitmq $(ARGS)

bench: setup-dev ## measure against the floors; SIZES=10000,100000 to change the sizes
	@$(PY) -m bench $(ARGS)

proto: setup-dev ## compile the files of proto/ again, after they changed
	$(PY) -m grpc_tools.protoc -I clearing/rpc/pb=proto --python_out=. --pyi_out=. --grpc_python_out=. clearing/rpc/pb/clearing.proto
	$(PY) -m grpc_tools.protoc -I settlement/rails/pb=proto --python_out=. --pyi_out=. --grpc_python_out=. settlement/rails/pb/settlement.proto
	$(PY) -m grpc_tools.protoc -I clearing/engine/pb=proto --python_out=. --pyi_out=. --grpc_python_out=. clearing/engine/pb/obligation.proto

lock: setup-dev ## pin the requirement files again, with hashes; UPGRADE=1 takes newer versions
	for name in requirements requirements-embedded requirements-dev requirements-otel requirements-setup; do \
	  $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(if $(UPGRADE),--upgrade) \
	    --custom-compile-command "make lock" $$name.in --output-file $$name.txt || exit 1; \
	done

clean: ## delete the environment, the embedded servers' data and every cache
	@if [ -x $(PY) ] && [ -d .data ]; then $(PY) manage.py stack --forget; fi
	rm -rf .data $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: each stamp is written last, so an interrupted install goes on where it stopped ----------------

$(VENV)/made:
	@python="$(PYTHON)"; \
	for name in python3.13 python3.12 python3.11 python3; do \
	  [ -n "$$python" ] && break; \
	  $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$name; \
	done; \
	[ -n "$$python" ] || { echo "No Python 3.11 or newer with venv was found (on Debian: python3-venv). Name one: make PYTHON=..." >&2; exit 1; }; \
	echo "setting up $(VENV) with $$python"; \
	if $(PY) -c '' 2>/dev/null; then "$$python" -m venv $(VENV); else "$$python" -m venv --clear $(VENV); fi
	@touch $@

# uv takes a quarter of pip's time and checks the same hashes; pip does it where uv cannot reach the index.
# Bytecode is compiled once here: without it every process of the stack starts three times as slowly.
define install
	@$(PY) -m uv pip install --quiet --compile-bytecode --python $(VENV) --require-hashes $(1) \
	  || $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes $(1)
	@touch $@
endef

$(VENV)/installed-uv: requirements-setup.txt $(VENV)/made
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.txt \
	  || echo "uv cannot be installed here: going on with pip"
	@touch $@

$(VENV)/installed-run: $(RUN) $(VENV)/installed-uv
	$(call install,$(RUN:%=-r %))

$(VENV)/installed-dev: $(DEV) $(VENV)/installed-run
	$(call install,$(DEV:%=-r %))

$(VENV)/installed-otel: $(OTEL) $(VENV)/installed-run
	$(call install,$(OTEL:%=-r %))
