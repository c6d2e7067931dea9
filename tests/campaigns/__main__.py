"""A campaign, which takes minutes or an hour; exits 1 if a promise was broken.

With --markdown its section of docs/faults.md is written, with the day and the version.
"""

from __future__ import annotations

import argparse
import sys

from tests.campaigns import document
from tests.campaigns.chaos import whole as chaos
from tests.campaigns.faults import whole as faults
from tests.campaigns.fuzz import whole as fuzz
from tests.campaigns.load import whole as load
from tests.campaigns.packages import whole as packages
from tests.campaigns.rot import whole as rot

CAMPAIGNS = {
    "faults": faults,
    "rot": rot,
    "fuzz": fuzz,
    "load": load,
    "chaos": chaos,
    "packages": packages,
}


def main() -> int:
    """Carry out the campaign that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="CAMPAIGN")
    for name, campaign in CAMPAIGNS.items():
        about = str(campaign.__doc__).partition("\n")[0]
        each = names.add_parser(name, help=about, description=about)
        each.add_argument("--markdown", action="store_true", help="write it to docs/faults.md")
        each.add_argument(
            "scenes", nargs="*", metavar="SCENE", help="how names begin; all, unless one is given"
        )
        campaign.options(each)
    given = parser.parse_args()
    if given.markdown and given.scenes:
        parser.error("--markdown is for a whole campaign, not for some of its scenes")
    report = CAMPAIGNS[given.name].carry_out(given)
    if given.markdown:
        document.section(report.title, document.run_now(report.text))
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
