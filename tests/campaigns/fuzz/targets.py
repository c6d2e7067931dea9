"""Every target by its name: what to do with the data, and where to begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tests.campaigns.fuzz import (
    on_envelopes,
    on_infected,
    on_options,
    on_programs,
    on_quarantine,
    on_scanners,
    on_seen,
    on_smtp,
    on_smtpd,
    on_state,
    on_words,
)


class Target:
    """one raises for data that breaks a promise; seeds are inputs to begin with.

    slow tells that each execution starts processes, so that there are only some thousands.
    """

    def __init__(
        self,
        one: Callable[[bytes], None],
        seeds: Callable[[], Iterator[bytes]],
        what: str,
        slow: bool = False,
    ) -> None:
        self.one = one
        self.seeds = seeds
        self.what = what
        self.slow = slow


TARGETS = {
    f"scan-{name}": Target(
        on_scanners.target(name),
        partial(on_scanners.seeds, name),
        f"what {name} says, whole dialogue",
    )
    for name in on_scanners.VARIANTS
} | {
    "command": Target(
        on_programs.known_program, on_programs.programs, "a scanning program's status and output"
    ),
    "command-lists": Target(on_programs.any_program, on_programs.lists, "lists of statuses"),
    "patterns": Target(
        on_programs.patterns, on_programs.expressions, "the patterns of sock and command"
    ),
    "options": Target(
        on_options.command_line,
        on_options.command_lines,
        "a command line; getopt as a second opinion",
    ),
    "config": Target(on_options.configuration, on_options.configurations, "the file of --config"),
    "where": Target(on_options.where, on_options.wheres, "addresses, and the WHERE of -s"),
    "metrics-text": Target(
        on_state.metrics_text, on_state.metrics_texts, "counters, read and written"
    ),
    "metrics-file": Target(
        on_state.metrics_file,
        on_state.metrics_files,
        "a message counted in any file, in Prometheus' eyes",
    ),
    "waitfile": Target(on_state.note, on_state.notes, "a waitfile of any bytes"),
    "attempts": Target(on_state.ledger, on_state.ledgers, "the counts of --attempts"),
    "canary": Target(
        on_state.known_answer, on_state.known_answers, "the known-answer test's result"
    ),
    "slots": Target(on_state.slot, on_state.slots_of, "the slots' files"),
    "smtp": Target(
        on_smtp.conversation, on_smtp.conversations, "what the mail server says, any message"
    ),
    "smtp-envelope": Target(
        on_envelopes.envelope, on_envelopes.envelopes, "the dialogue's commands for any addresses"
    ),
    "stuffing": Target(
        on_smtp.stuffing, on_smtp.stuffings, "any message in any pieces, as it is handed on"
    ),
    "smtpd": Target(
        on_smtpd.dialogue, on_smtpd.dialogues, "what a client says to avcheck-smtp, in any pieces"
    ),
    "smtpd-content": Target(
        on_smtpd.received_content, on_smtpd.wires, "any content over the wire, in any pieces"
    ),
    "smtpd-hop": Target(
        on_smtpd.hop, on_smtpd.hops, "what the next hop says to avcheck-smtp, any message"
    ),
    "seen": Target(on_seen.reading, on_seen.messages, "both readings of any message"),
    "printable": Target(on_words.cleaned, on_words.texts, "outside text, made printable"),
    "header": Target(on_words.added_header, on_words.headers, "the line of -h"),
    "sendmail": Target(
        on_words.by_program, on_words.endings, "a sendmail program's end, in the DSN and the log"
    ),
    "handler": Target(on_words.by_handler, on_words.endings, "a handler's end, likewise"),
    "sidecar": Target(on_quarantine.sidecar, on_quarantine.sidecars, "about.json of an entry"),
    "quarantine-log": Target(on_quarantine.log, on_quarantine.logs, "the quarantine's log"),
    "quarantine": Target(on_quarantine.stored, on_quarantine.stores, "stored, and read back"),
    "infected.sh": Target(
        on_infected.handler, on_infected.calls, "the arguments of infected.sh", slow=True
    ),
}
