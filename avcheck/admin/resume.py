"""avcheckctl resume: end a pause."""

from __future__ import annotations

import click

from avcheck.admin import given, hold, output


def ended(held: int | None) -> str:
    """What to say of a pause that has ended; held is what hold.remove returned."""
    if held is None:
        return "Mail was not held back."
    if held < 0:
        return "Mail is checked again.  (How many were held back was not counted.)"
    return f"Mail is checked again.  Attempts held back meanwhile: {held}"


@click.command()
@given.takes("waitfile", need=("waitfile",))
def command(site: given.Site) -> None:
    """End a pause: remove the waitfile, and say how many attempts it has held back.

    The mail system tries again by itself; Postfix sooner after `postqueue -f`.

    Exit status: 0 mail is checked again, or was not held back, 2 the waitfile is still there.
    """
    for place in hold.places(site):
        with hold.alone(place):
            output.say(ended(hold.remove(place)))
