# GNU make.  Paths are relative, so the directory may have any name.
#
# The rules are short because two scripts do the work: .ci/venv (a virtual
# environment in .venv with this avcheck installed) and .ci/packages (Debian's).

# The Python to use, 3.11 or later; empty: python3, or else the first one that will do.
PYTHON ?=
export PYTHON

# For pytest and for the benchmarks, for instance: make check TESTS='tests/command/test_guard.py -x'
TESTS =
BENCH =

# For make coverage: the tests that call avcheck, or start a command that coverage measures.  The
# others run an avcheck installed elsewhere, of which it sees nothing.
MEASURED = tests/unit tests/contracts tests/command

# A process that is measured writes what was seen when it leaves by os._exit; avcheck leaves by the
# one of posix.  (A line of a .pth file is run after that of coverage, which is called a1_coverage.)
define SEE_THE_END
import sysconfig
with open(sysconfig.get_path("purelib") + "/a2_end.pth", "w") as file:
    file.write("import os, posix; posix._exit = os._exit\n")
endef
export SEE_THE_END

# For make chaos: how many messages go through each mail system, and over links that are cut.
MESSAGES = 1000

# For make load.
MINUTES = 10

# The commands run here are those of .venv, whatever the caller had set up.  Without bytecode each of
# pytest's workers would compile all tests each time.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo deb check lint test coverage campaigns
.PHONY: chaos faults rot fuzz load packages bench clean

help: ## This list
	@echo 'avcheck: asks an antivirus daemon about a mail message, then hands it on, over, or back'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1  \2/p' Makefile | awk \
	    '{ printf "  %s %-9s", $$1, $$2; $$1 = $$2 = ""; print }'
	@echo
	@echo 'Everything stays in .venv; Debian packages that are missing are named and installed, by root'
	@echo 'or by a sudo that asks no questions.  PYTHON=/usr/bin/python3.12 chooses an interpreter.'

demo: ## See it work: clean, infected, held-back and refused messages on a real clamd
	@.ci/venv
	@.venv/bin/python -m demo

deb: ## Build the Debian package: dist/avcheck_*.deb
	@.ci/packages build-essential debhelper dh-apparmor dh-python pybuild-plugin-pyproject \
	    python3-click python3-filelock python3-rich python3-setuptools
	@.ci/deb

check: ## Everything that has to be right: style, types, manual pages, all tests
	@.ci/venv test
	@.ci/packages mandoc shellcheck
	@.ci/packages --tests
	@$(MAKE) lint
	@$(MAKE) test

lint:
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	shellcheck scripts/*.sh scripts/avcheck-smtp benchmarks/*.sh .ci/* \
	    debian/avcheck.p* debian/programs/avcheck debian/programs/avcheck-smtp debian/tests/postfix \
	    tests/campaigns/packages/chroot.sh
	mandoc -T lint -W warning man/*

test:
	.venv/bin/python -m pytest $(TESTS)

coverage: ## What the tests reach, of each module; fails where that is too little
	@.ci/venv test
	@.ci/packages --tests
	rm -f .coverage .coverage.*
	@.venv/bin/python -c "$$SEE_THE_END"
	.venv/bin/python -m coverage run -m pytest $(MEASURED)
	@.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report

campaigns: ## All of the following, before a release (hours; docs/faults.md)
	@$(MAKE) faults
	@$(MAKE) rot
	@$(MAKE) fuzz
	@$(MAKE) load
	@$(MAKE) chaos
	@$(MAKE) packages

faults: ## Fail every system call of a run (half an hour)
	@.ci/venv test
	@.ci/packages --tests
	@.venv/bin/python -m tests.campaigns faults --markdown

rot: ## Spoil every byte that it gets or sends (a quarter of an hour)
	@.ci/venv test
	@.ci/packages --tests
	@.venv/bin/python -m tests.campaigns rot --markdown

fuzz: ## Feed it with bytes that nobody would think of (ten minutes)
	@.ci/venv test
	@.venv/bin/python -m pip --disable-pip-version-check install --quiet 'atheris >= 3'
	@.venv/bin/python -m tests.campaigns fuzz --markdown

load: ## Twenty runs at a time while everything around them is killed (MINUTES=10)
	@.ci/venv test
	@.ci/packages --tests
	@.venv/bin/python -m tests.campaigns load --minutes $(MINUTES) --markdown

chaos: ## Messages through each mail system in bad weather (MESSAGES=1000)
	@.ci/venv test
	@.ci/packages --tests
	@.venv/bin/python -m tests.campaigns chaos --messages $(MESSAGES) --markdown

packages: ## Build, install, upgrade, use and purge the package in bookworm and trixie
	@.ci/venv test
	@.ci/packages debootstrap
	@.venv/bin/python -m tests.campaigns packages --markdown

bench: ## Measure it against the other ways to do the same (takes a while)
	@.ci/venv test
	@.ci/packages --tests
	@.ci/packages clamav-milter clamsmtp
	@.venv/bin/python -m benchmarks $(BENCH)

clean: ## Remove everything that the above made here
	rm -rf .venv build dist avcheck.egg-info .coverage .coverage.* htmlcov
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
