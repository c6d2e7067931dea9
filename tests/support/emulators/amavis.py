"""amavisd-new's scanner clients: its Perl module Amavis::AV, without its service.

The entries are those of its own amavisd.conf, with another socket.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from tests.support.emulators.asking import Answer
from tests.support.servers import packages

# Perl takes longer to load the modules than to ask.  So it is a child that asks, for each line of
# the input: the entry's name, the socket or the program that plays it, and the directory with
# parts/p001 in it, where it writes what it has to say.  That is the status (1: infected, 0: clean,
# nothing: neither), and then a name on each line.
LOOP = r"""
$| = 1;
while (my $line = <STDIN>) {
  # Perl is told to distrust its input (-T), as in the service; this is ours.
  my ($name, $where, $dir) = map(/\A(.*)\z/s, split(/\t/, $line =~ s/\n\z//r));
  if (my $child = fork // die "fork: $!") {
    waitpid($child, 0);
    print "asked\n";
    next;
  }
  open(STDIN, '<', '/dev/null') && open(STDOUT, '>', "$dir/output")
    && open(STDERR, '>', "$dir/errors") or die "$dir: $!";
  # The service would set its timers when it gets a message.
  Amavis::Util::switch_to_my_time('test');
  my ($status, $names) = ask($name, $where, $dir);
  print defined $status ? $status : '', "\n", map("$_\n", @$names);
  exit;
}
"""

DRIVER = r"""
use strict;
use warnings;
use Exporter;
use Amavis::Boot;
use Amavis::Conf;
use Amavis::Util;
use Amavis::IO::RW;
use Amavis::AV;

sub ask {
  my ($name, $socket, $dir) = @_;
  my $path = "$dir/parts/p001";
  my %entry = (
    'Sophos-SSSP' => [ ["{}", "sssp:$socket"],
      qr/^DONE OK\b/m, qr/^VIRUS\b/m, qr/^VIRUS\s*(\S*)/m ],
    'Avira SAVAPI' => [ ["*", "savapi:$socket", '10776'],
      qr/^(200|210)/m, qr/^(310|420|319)/m, qr/^(?:310|420)[,\s]*(?:.* <<< )?(.+?)(?: ; |$)/m ],
    'ClamAV-clamd-stream' => [ ["*", "clamd:$socket"],
      qr/\bOK$/m, qr/\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m ],
    'ClamAV-clamd' => [ ["CONTSCAN {}\n", $socket],
      qr/\bOK$/m, qr/\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m ],
    'DrWebD' => [ [pack('N',1) . pack('N',0x00280001) . pack('N',length($path)) . '{}/*' .
                   pack('N',0) . pack('N',0), $socket],
      qr/\A\x00[\x10\x11][\x00\x10]\x00/s, qr/\A\x00[\x00\x01][\x00\x10][\x20\x40\x80]/s,
      qr/\A.{12}(?:infected with )?([^\x00]+)\x00/s ],
    'Sophie' => [ ["{}/\n", $socket],
      qr/(?x)^ 0+ ( : | [\000\r\n]* $)/m, qr/(?x)^ 1 ( : | [\000\r\n]* $)/m,
      qr/(?x)^ [-+]? \d+ : (.*?) [\000\r\n]* $/m ],
    'F-PROT fpscand' => [ ["SCAN FILE {}/*\n", $socket],
      qr/^(0|8|64) /m,
      qr/^([1235679]|1[01345]) |<[^>:]*(?i)(infected|suspicious|unwanted)/m,
      qr/(?i)<[^>:]*(?:infected|suspicious|unwanted)[^>:]*: ([^>]*)>/m ],
    'F-Prot f-protd' => [ ["GET {}/*?-dumb%20-archive%20-packed HTTP/1.0\r\n\r\n", $socket],
      qr/(?i)<summary[^>]*>clean<\/summary>/m, qr/(?i)<summary[^>]*>infected<\/summary>/m,
      qr/(?i)<name>(.+)<\/name>/m ],
  );
  my @entry = @{$entry{$name}};
  my ($status, $output, $names) = Amavis::AV::ask_daemon(
    ['p001'], {}, $dir, $name, \&Amavis::AV::ask_daemon, @entry);
  return ($status, $names);
}
"""

# The entries are those of Debian's own configuration; sweep's is a comment there.
PROGRAM_DRIVER = r"""
use strict;
use warnings;
use Exporter;
use Amavis::Boot;
use Amavis::Conf qw(:platform :confvars :dynamic_confvars :sa :legacy_confvars);
use Amavis::Util;
use Amavis::IO::RW;
use Amavis::AV;

%ENV = (PATH => '/usr/bin:/bin');
do '/etc/amavis/conf.d/15-av_scanners' or die "no scanners: $@ $!";
my @sweep = ('Sophos', ['sweep', 'savscan'],
  '-nb -f -all -rec -ss -sc -archive -cab -mime -oe -tnef --no-reset-atime {}',
  [0,2], qr/Virus .*? found/m, qr/^>>> Virus(?: fragment)? '?(.*?)'? found/m);

sub ask {
  my ($name, $program, $dir) = @_;
  my ($entry) = grep {
    grep { m{(?:\A|/)\Q$name\E\z} } (ref $_->[1] eq 'ARRAY' ? @{$_->[1]} : $_->[1])
  } (@Amavis::Conf::av_scanners, @Amavis::Conf::av_scanners_backup, \@sweep);
  die "no entry for $name" if !$entry;
  my ($label, undef, @rest) = @$entry;
  my ($status, $output, $names) =
    Amavis::AV::run_av(['p001'], {}, $dir, $label, $program, @rest);
  return ($status, $names);
}
"""


class Amavis:
    """The module, asking about messages in the directory; usable inside a with statement."""

    def __init__(self, directory: Path) -> None:
        packages.need("amavisd-new", files=["/usr/share/perl5/Amavis/AV.pm"])
        self.directory = directory
        self._running: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Amavis:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in self._running.values():
            each.communicate()

    def ask(self, entry: str, socket: Path | str, message: bytes) -> Answer:
        """What it makes of the message, by this entry and at this socket."""
        return self._drive(DRIVER, entry, str(socket), message)

    def ask_program(self, program: Path, message: bytes) -> Answer:
        """What it makes of the message by its entry for a program of this name."""
        return self._drive(PROGRAM_DRIVER, program.name, str(program), message)

    def _drive(self, driver: str, entry: str, where: str, message: bytes) -> Answer:
        place = self.directory / "amavis"
        shutil.rmtree(place, ignore_errors=True)
        parts = place / "parts"
        parts.mkdir(parents=True)
        (parts / "p001").write_bytes(message)
        for path in (place, parts):
            path.chmod(0o755)
        perl = self._running.get(driver) or self._start(driver)
        assert perl.stdin
        assert perl.stdout
        perl.stdin.write(f"{entry}\t{where}\t{place}\n")
        perl.stdin.flush()
        assert perl.stdout.readline() == "asked\n"
        output = (place / "output").read_text()
        status, *names = output.splitlines() or [""]
        said = output + (place / "errors").read_text()
        if status == "1":
            return Answer("infected", tuple(names), said)
        return Answer("clean" if status == "0" else "failed", (), said)

    def _start(self, driver: str) -> subprocess.Popen[str]:
        self._running[driver] = subprocess.Popen(
            ["/usr/bin/perl", "-T", "-e", driver + LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._running[driver]
