# Times, sizes and operations; docs/performance.md has the last ones.
.PHONY: bench
bench:
	@.venv/bin/python benchmarks/bench.py
