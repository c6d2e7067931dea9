"""The set-up of the live tests is that of these, too."""

from tests.live.conftest import mail_system, open_directory, opt

__all__ = ["mail_system", "open_directory", "opt"]
