"""What decides over mail in the settings of Postfix and clamd, and which check looks at it."""

from __future__ import annotations

import pytest

from avcheck.admin import checks

# What of the configuration our service, its way in and its way back depend on: the check that
# looks at it, or why none does.
LOOKED_AT = {
    # master.cf, the service
    "type, private, wakeup": "(Postfix refuses or ignores what is wrong)",
    "unprivileged, chroot": "pipe_columns",
    "maxproc": "pipe_concurrency",
    "flags=": "pipe_flags",
    "user=": "pipe_user",
    "null_sender=": "pipe_null_sender",
    "argv=": "program",
    "size=, chroot=, directory=": "pipe_attributes",
    "eol=": "(it changes nothing where it is not set)",
    "-o SERVICE_time_limit": "pipe_time_limit",
    "-o pipe_delivery_status_filter": "safety_net",
    "a service twice": "pipe_once",
    # the ways in
    "content_filter": "front_doors",
    "-o content_filter": "front_doors",
    "smtpd_proxy_filter": "front_doors",
    "default_transport": "front_doors",
    "receive_override_options": "filter_mappings",
    "FILTER in access and header tables": "filter_tables",
    "smtpd_milters, non_smtpd_milters": "(a milter cannot take the filter away)",
    "internal_mail_filter_classes": "(notices of Postfix's own: docs/postfix.md, section 10)",
    "message_size_limit": "message_size",
    "bounce_size_limit": "bounces",
    "soft_bounce": "soft_bounce",
    "transport_rate_delay, destination_rate_delay": "queue_runs",
    "smtpd_client_event_limit_exceptions": "queue_runs",
    "whatever smtpd(8) refuses to start with": "front_answers",
    "maximal_queue_lifetime, bounce_queue_lifetime": "queue_lifetime",
    "defer_transports, master_service_disable": "queue_runs",
    "SERVICE_destination_recipient_limit": "pipe_recipients",
    "SERVICE_destination_concurrency_limit": "(maxproc is the smaller one: pipe_concurrency)",
    "command_time_limit": "pipe_time_limit",
    "daemon_timeout": "(18000 s; longer than any limit that is sensible)",
    "transport_maps": "(by recipient; docs/postfix.md, section 14)",
    "queue_minfree": "(Postfix refuses mail, and loses none)",
    "when it was read": "postfix_reloaded",
    # the way in by SMTP
    "smtp_fallback_relay": "smtp_client",
    "smtp_*_checks, smtp_generic_maps, smtp_line_length_limit": "smtp_client",
    "smtp_tls_security_level": "smtp_client",
    "smtp_reply_filter, smtp_delivery_status_filter": "smtp_client",
    "smtp_data_done_timeout, smtpd_proxy_timeout": "smtp_times",
    "local_transport, virtual_transport, relay_transport": "front_doors",
    # the way back
    "-o content_filter on the way back": "reinjection_loop",
    "-o receive_override_options": "reinjection_mappings",
    "-o cleanup_service_name": "reinjection_size",
    "-o message_size_limit": "reinjection_size",
    "-o mynetworks, inet_interfaces": "reinjection_private",
    "-o smtpd_*_restrictions": "reinjection_answers",
    "-o smtpd_tls_security_level": "reinjection_answers",
    "-o smtpd_discard_ehlo_keywords": "reinjection_answers",
    "-o smtpd_authorized_xforward_hosts": "xforward",
    "-o local_header_rewrite_clients": "(a header is completed; no mail is lost)",
    "smtputf8_autodetect_classes": "smtputf8",
    # clamd.conf
    "MaxFileSize, MaxScanSize, StreamMaxLength": "clamd_limits",
    "MaxFileSize equal to MaxScanSize": "clamd_equal_sizes",
    "MaxRecursion, MaxFiles": "clamd_alerts",
    "AlertExceedsMax, AlertEncrypted": "clamd_alerts",
    "ScanMail to ScanOneNote": "clamd_looks_inside",
    "ExcludePath": "clamd_leaves_nothing_out",
    "ExcludePUA, DetectPUA": "(what is unwanted is a policy, and no virus)",
    "MaxScanTime": "clamd_scan_time",
    "MaxThreads": "clamd_threads",
    "TemporaryDirectory": "clamd_room",
    "DatabaseDirectory, OfficialDatabaseOnly": "scanner_signatures",
    "LocalSocketMode, LocalSocketGroup": "scanner_socket",
    "User": "scanner_account",
    "TCPSocket, TCPAddr": "scanner_answers",
    "SelfCheck": "clamd_self_check",
    "when it was read by clamd": "clamd_restarted",
    "what it really does": "scanner_largest",
    "with archives": "scanner_encrypted",
    "MaxQueue, IdleTimeout, ReadTimeout": "(mail waits, and avcheck says so)",
    "MaxEmbeddedPE, MaxHTMLNormalize, PCREMaxFileSize": "(parts of a file; avcheckctl probe)",
    "HeuristicAlerts": "scanner_encrypted",
    "VirusEvent": "(a program of the administrator's own)",
}  # fmt: skip


@pytest.mark.parametrize("option", LOOKED_AT)
def test_each_option_is_looked_at_or_there_is_a_reason(option: str) -> None:
    check = LOOKED_AT[option]
    names = {each.__name__ for each in checks.CHECKS}
    assert check in names or (check.startswith("(") and check.endswith(")"))
