# SPDX-License-Identifier: Apache-2.0
# Two commands on a fresh machine: `make demo` and `make test`. Each makes the environment first.
PYTHON ?= python3
VENV := .venv
# Another venv of ROS wheels may have left these behind; they would make ours load its libraries.
RUN := env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE $(if $(ROS_DISTRO),,-u LD_LIBRARY_PATH) $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help env demo test plain rented mutants lint format bench docs clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

env: ## Everything, test dependencies and ROS 2 included, into .venv (EXTRAS=tensorrt: engines built without a GPU; EXTRAS=openvino: bfloat16 on a CPU; EXTRAS=accuracy: surfaces in benchmark/accuracy; EXTRAS=interop: Rerun, KISS-ICP, COLMAP, an S3 server; EXTRAS=docs: the documentation's builder; EXTRAS=workflows: actionlint; EXTRAS=mutants: coverage)
	@$(PYTHON) tools/setup_env.py $(EXTRAS:%=--extra %)

demo: env ## The main job on real input: cameras -> node -> recording, with a table and pictures
	@$(RUN) tools/demo $(ARGS)

test: env ## The whole test suite (ARGS="-k name" for a part)
ifeq ($(strip $(ARGS)),)
	@$(RUN) tools/run_tests.py
else
	@$(RUN) -m pytest $(ARGS)
endif

plain: ## The tests once more as on a plain ROS machine: the run-time dependencies alone, in old versions, in a venv to throw away
	@$(PYTHON) tools/plain_env.py $(ARGS)

rented: env ## Rehearse training/rented_gpu/run.sh: a clean folder, a venv with what a rented machine has, no network
	@$(RUN) tools/rented_rehearsal.py $(ARGS)

mutants: override EXTRAS += mutants
mutants: env ## Put one fault after another into copies of the package, and see which of them no test notices
	@$(RUN) tools/mutants.py $(ARGS)

lint: env ## ruff, format, types, licence lines; workflows, where EXTRAS=workflows or the machine has actionlint
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy && $(VENV)/bin/mypy benchmark/accuracy && $(VENV)/bin/mypy benchmark/performance && $(VENV)/bin/mypy benchmark/refinement && $(VENV)/bin/mypy benchmark/consumers
	@$(RUN) tools/check_headers.py
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; if command -v actionlint > /dev/null; then actionlint; \
		else echo "no actionlint (make env EXTRAS=workflows): .github/workflows is not checked"; fi

format: env ## Let ruff fix what it can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

bench: env ## What the node costs beside the engine
	@$(RUN) benchmark/node_overhead.py $(ARGS)

docs: override EXTRAS += docs
docs: env ## The documentation as a site in site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@echo "site/index.html; with search: $(VENV)/bin/python -m http.server --directory site --bind 127.0.0.1"

clean: ## Remove the environment and everything built
	rm -rf $(VENV) .venv.lock build install log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo_output site
