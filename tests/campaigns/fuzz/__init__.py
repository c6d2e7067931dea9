"""Fuzzing: bytes that nobody would think of, and what must be true whatever they are.

A target is a function one(data), which raises where a promise would be broken; targets.py
lists them.  `make fuzz` (python -m tests.campaigns fuzz) runs them all under coverage-guided
mutation (atheris), `make check` plays the kept corpus, and what hypothesis makes of it.

    corpus/TARGET/      inputs that together reach what is known to be reachable
    corpus/TARGET/found-*   inputs that broke something, once

One notation is used in all of them (notation.py), so that a corpus file can be read and edited.
"""
