"""Every fault of every scene; writes docs/faults.md and exits 1 if a promise was broken."""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import campaign, strike
from tests.faults.campaign import Result
from tests.faults.scenes import SCENES, scene
from tests.servers import packages

DOC = Path("docs/faults.md")

TEXT = """# Faults

This page is written by `make faults`; do not edit it.

Each system call that avcheck makes fails once, with every error that is plausible for it, and
once each gets SIGKILL, SIGTERM, and SIGSTOP followed by SIGCONT: strace(1) does that to one
call of one run, and the next run has the next one. Servers are played. The calls before avcheck's
own first line are the interpreter's and not in the count; of those that load a module one fault in
eight is tried, and every error in reading avcheck's own. With -c
the conversation with the server does not fail; the other scenes have the same one. What a program
that avcheck starts does is not traced either. An error comes in place of the
call, which is not carried out then.

After each run it is checked that the MTA understands the status and the words as meant (0; or 75
and a 4.x.x; never a 5); that the message, unchanged, was handed on, stored or taken by the handler
once, or is still the MTA's; that nobody got it without the scanner having seen all of it; that
the infected one was not delivered; and that nothing is left in the spool directory.

- *done*: the fault did no harm, the message was handed on or stored, and the status is 0.
- *kept*: the MTA keeps the message, and nobody else has it.
- *possible duplicate*: both, which the words say: nothing can be known after the final dot.
- *killed*: by the signal, and nobody else has the message; *killed after commit*: somebody has.
- *not reached*: that run was over before it came to so many calls of that name.

{count} faults, {violations} violations.

## By scene

{scenes}

## By call

{calls}
"""


def main() -> int:
    """Run those whose names begin with the arguments, or all; all of them make the page."""
    packages.need("strace", commands=["strace"])
    command = Path(sys.executable).with_name("avcheck")
    chosen = [name for name in SCENES if not sys.argv[1:] or name.startswith(tuple(sys.argv[1:]))]
    with tempfile.TemporaryDirectory(prefix="avcheck-faults-") as name:
        directory = Path(name)

        def all_of(number: int) -> list[Result]:
            with scene(chosen[number], command, directory / str(number)) as place:
                results = []
                for result in campaign.carry_out(place, campaign.plan(place)):
                    results.append(result)
                    if result.text:
                        line = strike.line(place, result.fault)
                        print(f"{place.name}: {result.text}: {result.ended}\n  {line}", flush=True)
                print(f"{place.name}: {len(results)} faults", flush=True)
                return results

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = [each for some in pool.map(all_of, range(len(chosen))) for each in some]
    violations = sum(1 for result in results if result.text)
    print(campaign.table(results, "scene", "scene"))
    if chosen == list(SCENES):
        DOC.write_text(
            TEXT.format(
                count=len(results),
                violations=violations,
                scenes=campaign.table(results, "scene", "scene"),
                calls=campaign.table(results, "call", "row"),
            )
        )
    return 1 if violations else 0


sys.exit(main())
