"""avcheckctl resume: end a pause."""

from __future__ import annotations

import shlex

import click

from avcheck.admin import deferred, output, pausing, sites
from avcheck.printable import printable


def ended(held: int | None) -> str:
    """What to say of a pause that has ended; held is what pausing.remove returned."""
    if held is None:
        return "Mail was not held back."
    if held < 0:
        return "Mail is checked again.  (How many were held back was not counted.)"
    return f"Mail is checked again.  Attempts held back meanwhile: {held}"


def again(site: sites.Site) -> str:
    """How what was held back is tried again."""
    if site.postfix is not None:
        return f"Postfix tries again by itself; at once after: {deferred.flush(site.directory)}"
    return "The mail system tries again by itself; Postfix at once after: postqueue -f"


def command_line(places: list[pausing.Place]) -> str:
    """The command that ends the pause."""
    return " && ".join(
        f"avcheckctl resume -w {shlex.quote(printable(place.waitfile))}" for place in places
    )


@click.command()
@output.json_option
@sites.takes("waitfile", need=("waitfile",))
def command(site: sites.Site, as_json: bool) -> None:
    """End a pause: remove the waitfile, and say how many attempts it has held back.

    The mail system tries again by itself; Postfix at once after `postqueue -f`.

    Exit status: 0 mail is checked again, or was not held back, 2 the waitfile is still there.
    """
    counts = {}
    for place in pausing.places(site):
        with pausing.alone(place):
            counts[place] = pausing.remove(place)
        if not as_json:
            output.say(ended(counts[place]))
    if as_json:
        output.as_json(
            [
                {
                    "waitfile": printable(place.waitfile),
                    "paused": count is not None,
                    "held": count or 0,
                }
                for place, count in counts.items()
            ]
        )
    elif any(counts.values()):  # -1 too: it was not counted
        output.say(again(site))
