# Everything runs inside .venv, which the first target makes from the locks. The machine needs make and Python 3.11 or 3.12.

# An experiment other than the default: make report CONFIG=presets/wandb-study.yaml
CONFIG :=
# Devices other than the experiment's: make report DEVICES="cpu-tensorflow cpu-torch"
DEVICES :=
# Statuses that make retry trains again; without it, all failed runs: make retry STATUSES="timed_out crashed"
STATUSES :=
# How long make decide may measure.
MINUTES := 15
# The folder to which make share copies a report, and the folder of which make gallery makes one page.
TO := share
FOLDER := share
# Further options for snakemake or pytest: make report ARGS=--dry-run
ARGS :=

# Jobs must find .venv's programs and no packages of another Python, and scripts their own modules and docstrings.
in_venv := PATH="$(CURDIR)/.venv/bin:$$PATH"
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONPLATLIBDIR PYTHONEXECUTABLE PYTHONOPTIMIZE PYTHONINSPECT
export PYTHON
export PYTHONNOUSERSITE := 1
# A notebook names one that only its own Python has.
export MPLBACKEND := Agg

comma := ,
space := $() $()
# A list for --config of words between spaces or commas.
listed = [$(subst $(space),$(comma),$(strip $(subst $(comma), ,$1)))]

asked = $(program) $(executor) $(if $(CONFIG)$(more),--configfile $(CONFIG) $(more)) \
    $(if $(DEVICES)$(retry),--config $(if $(DEVICES),'devices=$(call listed,$(DEVICES))') \
        $(retry)) $(ARGS) $(until)
# It ends in --quiet, which takes every word up to `--`.
snakemake = $(asked) --quiet progress rules host reason
executor = --cores 1
# A profile for the user's other workflows may bring conda or a cluster.
program = env -u SNAKEMAKE_PROFILE snakemake

.PHONY: help report decide retry runs first-gpu-run clean-superseded share gallery bundle limits packing slurm test test-slow test-browser test-environments test-conda test-machines test-slurm benchmark \
    benchmark-scale benchmark-prediction counts drills fuzz docs lint lock clean environment development

help:
	@echo 'Compare'
	@echo '  make report                 run the default experiment and write its report; CONFIG=file for another one,'
	@echo '                              DEVICES="cpu-tensorflow cpu-torch" for other devices'
	@echo '  make decide                 measure more where it decides most, for MINUTES=15'
	@echo '  make retry                  train failed runs again; STATUSES="timed_out crashed" for some of them'
	@echo '  make runs                   only train and probe what is not finished, without tables and page'
	@echo '  make first-gpu-run          a first look at an NVIDIA GPU: TensorFlow, PyTorch and JAX on it, a report and a bundle'
	@echo '  make limits                 find the largest images and batches that each device can train'
	@echo '  make packing                run it, and measure several trainings at once'
	@echo '  make slurm                  run it on a SLURM cluster (docs/slurm.md)'
	@echo '  make clean-superseded       remove the records that later runs replaced'
	@echo 'Share'
	@echo '  make bundle                 run it and pack its runs into a small zip for another machine (docs/machines.md)'
	@echo '  make share                  copy page, bundle and picture into a folder for a static site; TO=folder, default share'
	@echo '  make gallery FOLDER=x       make one page of all reports shared into the folder x'
	@echo 'Test'
	@echo '  make test                   run the tests'
	@echo '  make test-slow              run the tests that take too long for make test: limits, small versions of the benchmarks, the'
	@echo '                              notebook cells of the docs, a first GPU run …'
	@echo '  make test-browser           open reports in a real browser; needs chromium'
	@echo '  make test-environments      install each file of envs/ by itself and test it'
	@echo '  make test-conda             run the sweep with snakemake --use-conda'
	@echo '  make test-machines          exchange bundles between two clones'
	@echo '  make test-slurm             run the sweep on a one-node SLURM, which it sets up on this machine (needs root)'
	@echo '  make drills                 provoke every known fault and check what is lost; twenty minutes'
	@echo '  make fuzz                   read 5,000 mutated inputs of every format that comes from others'
	@echo '  make lint                   check style and the workflow'
	@echo 'Measure trainoff itself'
	@echo '  make benchmark              the cost of measuring, and how often equal devices are called different; half an hour'
	@echo '  make benchmark-scale        the cost of bookkeeping with up to 10,000 runs'
	@echo '  make benchmark-prediction   the error of estimates for published figures that were left out of the fit'
	@echo 'Maintain'
	@echo '  make environment            only make .venv; PYTHON=path to choose the Python'
	@echo '  make docs                   regenerate docs/reference.md, and the pictures in docs/ where chromium is installed'
	@echo '  make counts                 count the operations of new models in catalog/models.yaml; a minute each'
	@echo '  make lock                   resolve the groups of pyproject.toml and envs/*.yaml again; needs uv'
	@echo '  make clean                  remove .venv; results stay'

report: environment
	@started=$$(date +%s); $(in_venv); export PATH; \
	    $(snakemake) && \
	    python scripts/find_report.py $$started config.yaml $(CONFIG)

decide: environment
	@started=$$(date +%s); $(in_venv); export PATH; \
	    $(snakemake) && \
	    python scripts/decide.py $(MINUTES) config.yaml $(CONFIG) && \
	    $(snakemake) && \
	    python scripts/find_report.py $$started config.yaml $(CONFIG)

retry: retry = 'retry=$(if $(STATUSES),$(call listed,$(STATUSES)),failed)'
retry: report

# Nothing is installed if nothing is left to do.
runs: until = --until train probe_device
runs:
	@locks/install.sh base
	@$(in_venv); export PATH; \
	    if planned=$$($(asked) --dry-run 2>&1) && ! echo "$$planned" | grep -Eq '^(train|probe_device) '; then exit; fi; \
	    $(MAKE) --no-print-directory environment && $(snakemake)

# One framework after another into the same results, since their GPU libraries do not fit into one .venv. The last start makes the page
# and the bundle of all. It trains nothing and needs none of these libraries.
first-gpu-run: CONFIG = presets/first-gpu-run.yaml
first-gpu-run: DEVICES = cuda cuda-torch cuda-jax
first-gpu-run:
	@python=$$(locks/install.sh --python) && "$$python" -E scripts/check_place.py gpu
	@for device in $(subst $(comma), ,$(DEVICES)); do \
	    $(MAKE) --no-print-directory runs CONFIG="$(CONFIG)" DEVICES=$$device || exit 1; \
	done
	@started=$$(date +%s); $(in_venv); export PATH; \
	    $(snakemake) -- all bundle && \
	    python scripts/find_report.py $$started config.yaml $(CONFIG)

# Of every experiment below results/, and of CONFIG, whose results may be elsewhere.
clean-superseded:
	rm -rf results/superseded results/*/superseded
ifneq ($(CONFIG),)
	@results=$$($(in_venv) python scripts/find_report.py --folder config.yaml $(CONFIG)) && rm -rf "$$results/superseded"
endif

share: environment
	@$(in_venv); export PATH; \
	    $(snakemake) -- all bundle && \
	    python scripts/share_report.py $(TO) config.yaml $(CONFIG)

gallery: environment
	@$(in_venv) python scripts/share_report.py --gallery $(FOLDER)

bundle: environment
	@$(in_venv); export PATH; \
	    $(snakemake) -- bundle

limits: environment
	@$(in_venv); export PATH; \
	    $(snakemake) -- collect_limits

packing: more = presets/packing.yaml
packing: environment
	@started=$$(date +%s); $(in_venv); export PATH; \
	    $(snakemake) && \
	    python scripts/find_report.py $$started config.yaml $(CONFIG)

slurm: executor = --workflow-profile profiles/slurm
slurm: program = snakemake
slurm: environment
	@locks/install.sh slurm
	@started=$$(date +%s); $(in_venv); export PATH; \
	    $(snakemake) && \
	    python scripts/find_report.py $$started config.yaml $(CONFIG)

test: development
	@$(in_venv) python -m pytest -n 2 --dist worksteal $(ARGS)

# All slow tests that have no target of their own, so that none is forgotten.
own_targets := browser environments conda machines slurm
test-slow: development
	@$(in_venv) python -m pytest -m slow $(own_targets:%=--ignore=tests/test_%.py) $(ARGS)

test-browser: development
	@$(in_venv) python -m pytest -m slow tests/test_browser.py $(ARGS)

test-environments: development
	@$(in_venv) python -m pytest -m slow tests/test_environments.py $(ARGS)

test-conda: development
	@$(in_venv) python -m pytest -m slow tests/test_conda.py $(ARGS)

test-machines: development
	@$(in_venv) python -m pytest -m slow tests/test_machines.py $(ARGS)

test-slurm: development
	@locks/install.sh slurm
	@$(in_venv) python -m pytest -m slow tests/test_slurm.py $(ARGS)

benchmark: environment
	@$(in_venv); export PATH; \
	    python benchmarks/harness.py $(ARGS); harness=$$?; \
	    python benchmarks/turns.py $(wildcard docs/measurements/*-equal-turns*.json docs/measurements/*-known-turns*.json); turns=$$?; \
	    python benchmarks/false_alarms.py $(wildcard results/tables/windows.parquet) && exit $$((harness + turns))

benchmark-scale: environment
	@$(in_venv) python benchmarks/scale.py $(ARGS)

benchmark-prediction: environment
	@$(in_venv) python benchmarks/prediction.py $(ARGS)

counts: environment
	@$(in_venv) python scripts/count_layers.py

drills: development
	@$(in_venv) python tests/drills.py $(ARGS)
	@$(in_venv) python -m pytest -q --hypothesis-profile=volume tests/test_properties.py tests/test_datasets.py

fuzz: development
	@$(in_venv) python tests/fuzz $(ARGS)

docs: development
	@$(in_venv) python scripts/write_reference.py
	@$(in_venv) python tests/take_pictures.py

lint: development
	@$(in_venv) ruff check
	@$(in_venv) ruff format --check
	@$(in_venv) snakefmt --check Snakefile rules
	@$(in_venv) snakemake --lint

environment:
	@locks/install.sh base
	@parts=$$(.venv/bin/python scripts/lock_parts.py --devices "$(DEVICES)" config.yaml $(CONFIG)) && \
	    for part in $$parts; do locks/install.sh $$part || exit 1; done

development: environment
	@locks/install.sh dev

# Base first: the other groups of pyproject.toml follow its versions, and JAX for GPUs those of JAX.
lock:
	@for part in base build dev cuda torch torch-cpu jax jax-cuda slurm trackers conda; do \
	    case $$part in base | conda) others= ;; jax-cuda) others="base jax" ;; *) others=base ;; esac; \
	    UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	        --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	        $$(for other in $$others; do echo --constraints locks/$$other.txt; done) \
	        --group pyproject.toml:$$part --output-file locks/$$part.txt || exit 1; \
	done
	@$(MAKE) --no-print-directory environment
	@.venv/bin/python scripts/pin_environments.py

clean:
	rm -rf .venv
