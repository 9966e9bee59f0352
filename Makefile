# A thin wrapper: lab.py does the work, and runs without make too (python lab.py lab).
# Examples: make lab ARGS=--no-browser ; make test ARGS=tests/data ; make site ; make lab PYTHON=python3.12
PYTHON ?= python3

.PHONY: lab test site

lab test site:
	@$(PYTHON) lab.py $@ $(ARGS)
