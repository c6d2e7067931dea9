"""Every scene, by its name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.campaigns.faults import scenes
from tests.campaigns.faults.scenes import Scene
from tests.campaigns.faults.session import SESSIONS, ListeningScene, SessionScene

SCENES = {**scenes.SCENES, **SESSIONS}


@contextlib.contextmanager
def scene(name: str, command: Path, directory: Path) -> Iterator[Scene]:
    """The scene of that name, set up in a new directory."""
    kind: type[Scene] = SessionScene if name in SESSIONS else Scene
    if name.endswith("listens"):
        kind = ListeningScene
    place = kind(name, command, directory)
    try:
        SCENES[name](place)
        yield place
    finally:
        place.close()
