"""The tests: pytest and Hypothesis. A package, so that they can share helpers; `benchmarks` only measures."""
