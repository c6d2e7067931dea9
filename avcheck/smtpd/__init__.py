"""avcheck-smtp: the second way in, an SMTP filter on standard input.

main       reads the options, and finds out how we were started
listener   accepts connections, for its children
children   the processes that serve them, one after the other
session    one connection, from the greeting to the goodbye
dialogue   what the client says, and what that asks for        events, lines, commands, content
hop        the open transaction at the next server
message    one message: what avcheck.main does with it, and the reply to it
client     the descriptors of the connection
"""
