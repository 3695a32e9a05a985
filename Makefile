# Two commands for a fresh machine: `make reproduce` and `make test`. `make help` lists the rest.

UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.uv/bin/uv)
# Optional parts of the environment, for instance EXTRAS="--extra spark".
EXTRAS ?=
RUN := $(UV) run --frozen --no-sync
DATA ?= ../shared/data
LIVE := --unit user --w-bound 4 --horizon 30 --epsilon 4 --trials 4000
# Without the plug-in for notebooks, which takes two seconds to import in every process.
# pytest keeps the assertions that it has rewritten, which takes a third of its start, unless told to write no bytecode.
unexport PYTHONDONTWRITEBYTECODE
TESTS := pytest -p no:nbval --dist worksteal
# One worker more than processors, because slow tests wait for servers, pages and disks for a fifth of their time.
WAITING := $(shell expr $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 1)
# Strict: every output of every cell is compared with the one that is stored.
NBVAL := pytest --nbval --nbval-current-env --nbval-sanitize-with notebooks/sanitise.cfg

# The first line of the README's tour.
SAY_PATH = command -v dpdau >/dev/null || echo 'So that your shell finds dpdau: export PATH="$$PWD/.venv/bin:$$PATH"'

.DEFAULT_GOAL := help
.PHONY: help setup reproduce reproduce-full check-results test test-fast check format demo lab notebooks app screenshots environment docs rpc mechanisms real-log audit audit-short bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(CURDIR)/.uv/bin/uv:
	@echo "uv is not installed: putting uv $(UV_VERSION) into .uv/"
	python3 -m pip install --quiet --target .uv "uv==$(UV_VERSION)"

setup: $(UV) ## the environment that uv.lock pins, in .venv
	@$(UV) sync --frozen --quiet --compile-bytecode $(EXTRAS)
	@$(SAY_PATH)

reproduce: setup ## run the experiments and draw their figures
	@$(RUN) dpdau experiment run
	@$(RUN) python -m experiments.real_log redraw results
	@echo "The figures lie in $(CURDIR)/results:"; ls -1 results/*.svg
	@$(SAY_PATH)

reproduce-full: setup ## the same with the trial counts of a publication, into results-full
	@$(RUN) dpdau experiment run --profile full --results results-full

check-results: setup ## run the experiments anew and compare with the tables in results
	$(RUN) dpdau experiment check

test: setup ## the whole suite, and every notebook against its stored outputs
	$(RUN) $(TESTS) -n $(WAITING)
	$(RUN) $(NBVAL) -n auto --dist loadfile notebooks

test-fast: setup ## the suite without the slow and the Spark tests
	$(RUN) $(TESTS) -n auto -m "not slow and not spark"

check: setup ## lint, format and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: setup ## rewrite the code in the house's format
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

demo: setup ## a filled store with its pages and its HTTP interface on 127.0.0.1:8000
	$(RUN) dpdau demo

lab: setup ## JupyterLab with the notebooks
	$(RUN) jupyter lab notebooks

notebooks: setup ## run the notebooks anew and store what they show
	$(RUN) jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

app: setup ## the pages alone, on the store that dpdau.toml and DPDAU_* name
	$(RUN) streamlit run workbench/app.py

screenshots: setup ## every page in light, dark and as on a phone: docs/images (needs Chromium)
	$(RUN) python -m workbench.maintenance.screenshots docs/images

environment: setup ## environment.yml from pyproject.toml and uv.lock
	$(RUN) python -m workbench.maintenance.environment > environment.yml

docs: setup ## the tables in the documentation that a command writes
	$(RUN) python -m workbench.maintenance.report

rpc: setup ## the code that is generated from workbench/rpc/dpdau.proto
	$(RUN) python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. workbench/rpc/dpdau.proto

mechanisms: setup ## every mechanism against the lower bound: results/mechanisms.json and its figures (minutes)
	$(RUN) python -m experiments.documentation.mechanism_tables compute
	$(RUN) python -m experiments.documentation.joint_table

real-log: setup ## a private year of the real logs in DATA, with OpenDP noise: results/online_retail_*
	$(RUN) python -m experiments.real_log release $(DATA) results

audit: setup ## attack mechanisms, sketches, releases and the project: results/audit* and results/attacks.* (20 minutes)
	$(RUN) dpdau experiment run --configs experiments/audits
	$(RUN) dpdau attack service --twins --full --figure results/attack_service.svg
	$(RUN) dpdau audit --live $(LIVE) --out results/audit_live.json

audit-short: setup ## the same in two minutes: fails if a promise is disproved, an attack wins or a broken twin holds
	$(RUN) dpdau audit --horizon 60 --trials 1e5
	$(RUN) dpdau audit --horizon 60 --trials 1e5 --unit user --w-bound 8
	$(RUN) dpdau audit --sketch all --trials 1e5
	$(RUN) dpdau attack --twins

bench: setup ## the speed of the data column at full size, of the service, mechanisms, sketches and experiments (several minutes)
	$(RUN) dpdau bench data
	$(RUN) dpdau bench noise
	$(RUN) dpdau bench serve
	$(RUN) dpdau bench mechanisms
	$(RUN) dpdau bench sketches
	$(RUN) dpdau bench experiments

clean: ## remove what can be made again
	rm -rf .venv .uv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
