# Each target is a call of tox, which is put into .venv if it isn't there.

# sqlite, postgresql or mysql, for `make demo` and `make fuzz`.
DB ?= sqlite
ifeq (,$(filter $(DB),sqlite postgresql mysql))
$(error DB=$(DB) is none of sqlite, postgresql and mysql)
endif
# A clone of Django, PATH[@REV], to use instead of the release in base.toml.
UPSTREAM ?=
export UPSTREAM

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null \
	&& echo "$$python" && break; done)

# pyenv's shims, and tox behind them, find those versions only that this names.
# 3.8, for `make history`, is the last one: what is first is `python3`.
PYENVS := $(shell pyenv versions --bare 2>/dev/null \
	| grep -E '^3\.(8|1[234])\.[0-9]+$$' | sort -t . -k 2n,2 | sed '/^3\.8/{H;d};$${G}')
ifneq (,$(PYENVS))
empty :=
export PYENV_VERSION ?= $(subst $(empty) $(empty),:,$(PYENVS))
endif

# Quiet, but for what takes a while.
define tox
@test -d .tox/$(1) || echo 'Making the environment $(1) (once).'
@.venv/bin/tox -qq -e $(1)
endef
# With SAVE=1 what demo, history and bench print goes into README.md, results/ and the
# letters in patches/, too.
export SAVE
KIT_ENV = $(if $(SAVE),kit-postgresql,$(if $(filter sqlite,$(DB)),kit,kit-$(DB)))

.PHONY: help
help:
	@echo 'make demo [DB=postgresql]  the ticket on unpatched and on patched Django (or DB=mysql)'
	@echo 'make test                  all checks, as CI runs them'
	@echo "make test-full             Django's whole suite, compared with the base: an hour"
	@echo "make docs                  build Django's documentation; the review of what changes"
	@echo 'make clients               5,000 requests by 200 clients to uvicorn and daphne ...'
	@echo 'make fuzz [DB=postgresql]  10,000 random schedules of tasks and transactions'
	@echo 'make fuzz ALL=1            all small programs in all interleavings: 10 minutes'
	@echo 'make history               the ticket on the versions of Django since 2.2'
	@echo 'make bench                 what the series costs, against the base'
	@echo '                           (demo, history, bench: SAVE=1 writes the tables)'
	@echo "make bench ASV=PATH        the same by Django's own benchmarks: a clone of django-asv"
	@echo 'make submit UPSTREAM=PATH DISCLOSURE=WORDS [BASE=main] [TICKET=NNNNN] \'
	@echo '    [UPDATE=1] [DRY_RUN=1]'
	@echo '                           a branch in your clone of Django, and the PR text'
	@echo 'make wheel [VERSION=5.2.19]'
	@echo '                           Django with the series, to try in your own project'
	@echo 'make lint                  ruff, mypy; black, isort, flake8 on the series'
	@echo 'make checkout              make django-fork/django and django-fork/base'
	@echo 'make export                write the commits of django-fork/django to patches/'
	@echo 'make rebase VERSION=6.1.4 SHA256=...'
	@echo '                           move the series to another release of Django'
	@echo 'make clean                 remove all that the other targets made'
	@echo
	@echo 'UPSTREAM=PATH[@REV] uses a clone of Django instead of the pinned release.'

.venv/ready: requirements/tox.txt
	@test -n '$(PYTHON)' || { echo 'No Python 3.12 or newer was found: set PYTHON.' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
	    { echo 'PYTHON=$(PYTHON) is not a Python 3.12 or newer.' >&2; exit 1; }
	@echo 'Putting tox into .venv.'
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/tox.txt
	@touch $@

.PHONY: demo
demo: .venv/ready
	$(call tox,$(KIT_ENV)) -- demo --database=$(DB)

.PHONY: test
test: .venv/ready
	@echo 'One environment of tox per core at a time; each shows its output at its end.'
	@.venv/bin/tox run-parallel

.PHONY: test-full
test-full: .venv/ready
	$(call tox,full)

.PHONY: docs
docs: .venv/ready
	$(call tox,docs) -- docs_changes/test_review.py
	@echo 'The review: docs_changes/_build/review/index.html'

# `make test` has a tenth of the requests.
REQUESTS ?= 5000
CLIENTS ?= 200
.PHONY: clients
clients: export TICKET31997_REQUESTS = $(REQUESTS)
clients: export TICKET31997_CLIENTS = $(CLIENTS)
clients: .venv/ready
	$(call tox,clients)

# A number of examples, and other ones each time; or, with ALL=1, all small programs
# in all of their interleavings, and what plain sharing loses by.
EXAMPLES ?= 10000
SMALL = $(filter-out 0 no false,$(ALL))
FUZZ = $(addprefix tests_ticket31997.test_property.,\
    $(if $(SMALL),TwoTasksTests ThreeTasksTests PlainSharingTests,OwnershipTests))
.PHONY: fuzz
ifneq (,$(SMALL))
fuzz: export TICKET31997_ALL := $(SMALL)
else
fuzz: export EXAMPLES := $(EXAMPLES)
endif
fuzz: .venv/ready
	$(call tox,$(DB)) -- --scope=thread $(FUZZ)

# A clone of django-asv: `make bench` runs its benchmarks instead of ours.
ASV ?=
export ASV

.PHONY: history
history: .venv/ready
	$(call tox,kit-postgresql) -- history

.PHONY: bench
bench: .venv/ready
	$(call tox,bench)

# It never pushes, and leaves the branch that is checked out alone.
export BASE CONFIRM DISCLOSURE DRY_RUN MAX_AGE TICKET UPDATE
.PHONY: submit
submit: .venv/ready
	$(call tox,submit)

.PHONY: lint
lint: .venv/ready
	$(call tox,lint)

.PHONY: checkout
checkout: .venv/ready
	$(call tox,kit) -- checkout

.PHONY: export
export: .venv/ready
	$(call tox,kit) -- export

export VERSION SHA256 ABORT
.PHONY: wheel
wheel: .venv/ready
	$(call tox,kit) -- wheel

.PHONY: rebase
rebase: .venv/ready
	$(call tox,kit) -- rebase

.PHONY: clean
clean: .venv/ready
	$(call tox,kit) -- clean
	@rm -rf .tox .venv .mypy_cache .pytest_cache .ruff_cache django-fork/.cache \
	    django-fork/.full django-fork/.history docs_changes/_build dist
