"""python smtplib-client.py HOST:PORT -- RECIPIENT...: a message from standard input, by smtplib."""

import smtplib
import sys

host, _, port = sys.argv[1].partition(":")
with smtplib.SMTP(host, int(port)) as server:
    server.sendmail("sender@example.com", sys.argv[3:], sys.stdin.buffer.read())
