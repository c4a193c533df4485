"""Namesakes of SciPy's modules: functions that SciPy's own cannot hand to nodes. They take arrays and nodes alike."""
