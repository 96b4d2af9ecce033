# Works with GNU make (3.81 and later) and BSD make. `make` alone lists the targets.
PYTHON ?= python3
RUN = .venv/bin/python
JOBS ?= 1
PYTEST = -m pytest --nbval --numprocesses=auto --dist=loadfile --no-loadscope-reorder
TESTS = $(PYTEST) --junitxml=nbval.xml
QUICK = notebooks/index.ipynb notebooks/02_configuration.ipynb notebooks/exercises/01_theory_exercises.ipynb

.PHONY: help lab test check env model notebooks translate release grade readme lint bench landscape
.PHONY: address hooks site pictures test-colab test-lowest test-latest clean

help:
	@echo 'make lab          set up, then open your copy of the lessons in JupyterLab (UPDATE=1: newer ones)'
	@echo '                  in Romanian: make lab LORA_COURSE_LANG=ro'
	@echo 'make test         set up, then run the unit tests and every cell of every notebook'
	@echo 'make check        before a commit: linters, the quick tests, one lesson, one exercise set'
	@echo ''
	@echo 'make notebooks    re-execute the notebooks in place (NB=01_theory for one)'
	@echo 'make translate    bring the translations into step with the notebooks (NB=01_theory for one)'
	@echo 'make release      make the exercise notebooks from their sources, without the solutions'
	@echo 'make grade        SUBMISSIONS=folder OPTIONS="--seed-file secret.txt"  grade a class'
	@echo 'make readme       collect the verdicts from the notebooks into docs/claims.md and README.md'
	@echo 'make site         make the site in build/site, from the stored outputs'
	@echo 'make pictures     record the pictures of README, index and site anew'
	@echo 'make lint         ruff, the notebooks included; badges and README in step'
	@echo 'make bench        run the benchmarks and store them in tests/bench/RESULTS.md'
	@echo 'make landscape    train what the stored landscape still lacks (LANDSCAPE=rank, =sample)'
	@echo 'make address      OWNER=... REPO=...  point every link at your own fork'
	@echo 'make hooks        run the linters before each git commit'
	@echo 'make test-colab   run each notebook alone on what Colab has, set-up cell and all'
	@echo 'make test-lowest  run each notebook alone with the lower bounds of pyproject.toml'
	@echo 'make test-latest  run the tests with the newest releases, in .venv-latest'
	@echo 'make clean        remove the environments and caches of this folder'

# A learner works in a copy, my_lessons/: the repository stays clean, and `git pull` never conflicts.
lab: model
	@$(RUN) .ci/lab.py $(if $(UPDATE),--update)

test: model
	$(RUN) $(TESTS)

check: model lint
	$(RUN) $(PYTEST) -m "not slow" $(QUICK) tests

# The environment: nothing to do when its stamp fits requirements.txt and pyproject.toml.
env:
	@$(PYTHON) .ci/setup_env.py

# The small model in the user's cache: nothing to do when it is there.
model: env
	@$(RUN) -m helpers.models

notebooks: model
	$(RUN) .ci/run_notebooks.py $(NB)

# DROP=1 drops the translations of cells that are gone, LANGUAGE=fr begins a language.
translate: env
	$(RUN) .ci/translate.py $(if $(DROP),--drop-obsolete) $(if $(LANGUAGE),--language $(LANGUAGE)) $(NB)

release: model
	$(RUN) .ci/release.py

grade: model
	@$(RUN) -m helpers.grading $(SUBMISSIONS) $(OPTIONS)

readme: env
	$(RUN) .ci/claims_table.py

site: env
	$(RUN) .ci/build_site.py

pictures: model
	PYTHONPATH=.ci:tests $(RUN) .ci/pictures.py

lint: env
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) .ci/address.py --check
	$(RUN) .ci/claims_table.py --check
	$(RUN) .ci/release.py --check
	$(RUN) .ci/translate.py --check

bench: model
	PYTHONPATH=.ci:tests $(RUN) -m bench

# LANDSCAPE=rank for one stage, "rank rows" for two, sample to make stored runs once more.
landscape: model
	$(RUN) .ci/landscape.py $(LANDSCAPE)

address: env
	$(RUN) .ci/address.py $(OWNER) $(REPO)
	$(RUN) .ci/translate.py

hooks: env
	$(RUN) -m pre_commit install

# NB=03_training for one notebook, JOBS=2 for two at a time, COLAB_LIST for a newer list.
test-colab: env
	$(PYTHON) .ci/setup_env.py --colab
	$(RUN) .ci/run_elsewhere.py colab --jobs $(JOBS) $(NB)

test-lowest: env
	$(PYTHON) .ci/setup_env.py --lowest
	$(RUN) .ci/run_elsewhere.py lowest --jobs $(JOBS) $(NB)
	.venv-lowest/bin/python -m pytest -n0 tests/test_models.py tests/test_params.py

test-latest:
	$(PYTHON) .ci/setup_env.py --latest
	.venv-latest/bin/python -m helpers.models
	.venv-latest/bin/python $(TESTS)

clean:
	rm -rf .venv .venv-* .venv.lock *.egg-info build nbval.xml
	rm -rf .pytest_cache .ruff_cache .hypothesis
