"""What all tests share: how hard Hypothesis looks, what the optional libraries are told, and no skips in CI."""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# Read by the libraries when they are imported, here or in a subprocess of a test.
os.environ.setdefault("MPLBACKEND", "Agg")          # draw without a screen
os.environ.setdefault("JAX_ENABLE_X64", "1")        # an oracle in float32 is none
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The default draws the same examples on every run, so a red test is the change's doing and not the dice's;
# `pytest --hypothesis-profile=deep` throws new dice each time, and many more of them.
# No verdict depends on the clock of the machine.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("fixed", unhurried, derandomize=True, max_examples=50)
settings.register_profile("deep", unhurried, derandomize=False, max_examples=2000)
settings.load_profile("fixed")

FEW_CASES = 4  # of one test, which are all run whatever the sample is

# Measurements, not tests; they import rivals that the tests do without.
collect_ignore = ["benchmarks"]


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    """Where native libraries are cached while the tests run: nothing of the user's is read or written."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def private_cache(cache_folder):
    """For modules that build native code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_folder))
        yield cache_folder


class SkipsAreFailures:
    """Turns what was skipped or expected to fail into a failure: in CI each test must run and pass."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self):
        return self.refuse((yield))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self):
        return self.refuse((yield))

    @staticmethod
    def refuse(report):
        """Returns the report, made a failure if it is a skip; an expected failure is a skip with `wasxfail`."""
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            if hasattr(report, "wasxfail"):
                reason = f"Expected to fail: {report.wasxfail}"
                del report.wasxfail
            report.outcome = "failed"
            report.longrepr = f"{reason} (in CI a skip is a failure)"
        return report


def pytest_addoption(parser):
    parser.addoption("--sample", type=int, default=1, metavar="N", help="of tests with many cases run every Nth case")


def pytest_collection_modifyitems(config, items):
    """A sample leaves tests of few cases as they are; of those of many it keeps every Nth."""
    every = config.getoption("sample")
    if every > 1:
        seen, dropped = Counter(), []
        for item in items:
            test = getattr(item, "originalname", item.name), item.path
            seen[test] += 1
            if seen[test] > FEW_CASES and seen[test] % every:
                dropped.append(item)
        config.hook.pytest_deselected(items=dropped)
        gone = set(dropped)
        items[:] = [item for item in items if item not in gone]


def pytest_configure(config):
    # A plugin of its own, because a conftest's hooks are not called for the doctests outside its folder.
    if os.environ.get("CI"):
        config.pluginmanager.register(SkipsAreFailures(), "skips-are-failures")
