# A thin wrapper: lab.py does the work, and runs without make too (python lab.py lab).
# Examples: make lab ARGS=--no-browser ; make test ARGS=tests/data ; make lab PYTHON=python3.12
PYTHON ?= python3

.PHONY: lab test

lab test:
	@$(PYTHON) lab.py $@ $(ARGS)
