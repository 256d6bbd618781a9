# Times, sizes and operations; docs/performance.md has the last ones.
.PHONY: bench mutants
bench:
	@.venv/bin/python benchmarks/bench.py

# Which wrong lines of a project stay green; docs/verification.md has the last figures.
SEED ?= 1
MINUTES ?= 60
FILES ?= *
export SEED MINUTES FILES
mutants: .mutants/ready
	@.mutants/bin/python benchmarks/mutants.py --seed="$$SEED" --minutes="$$MINUTES" --files="$$FILES"

.mutants/ready: requirements-mutants.lock
	@python3 -m venv .mutants
	@.mutants/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@
