"""What a registered model names as its requirements."""

from importlib.metadata import version
from types import SimpleNamespace

import pytest

from slipway_template.utils import environment


def test_requirements_that_do_not_hold_here_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = SimpleNamespace(
        requires=[
            "pandas>=3.1,<4",
            "numpy; python_version >= '3'",
            "nowhere; sys_platform == 'none'",
            "pyspark>=4; extra == 'spark'",
            "deltalake[pandas] >= 1 ; extra == 'spark' or python_version >= '3'",
        ]
    )
    monkeypatch.setattr(environment, "distribution", lambda _: declared)
    assert environment.requirements() == [
        f"{name}=={version(name)}" for name in ["deltalake", "numpy", "pandas"]
    ]
