"""One target under atheris, for python -m tests.campaigns.fuzz.worker TARGET|SABOTAGE [WORDS].

A process of its own, because libFuzzer ends the one that it runs in.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from importlib import import_module
from typing import Any


def main() -> None:
    name, *words = sys.argv[1:]
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["avcheck"]):
        from tests.campaigns.fuzz.targets import TARGETS
    with ExitStack() as broken:
        if name not in TARGETS:
            from tests.campaigns.fuzz.sabotage import SABOTAGES

            for each in SABOTAGES[name].patches:
                broken.enter_context(each)
            name = SABOTAGES[name].target
        atheris.Setup([sys.argv[0], *words], TARGETS[name].one)
        atheris.Fuzz()
    os._exit(0)


if __name__ == "__main__":
    main()
