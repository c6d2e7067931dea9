"""The conversation rots: somebody stands between avcheck and a real daemon, and spoils one byte.

    kinds.py      what can happen to a byte on its way, and what then arrives; pure
    middle.py     the one in the middle: passes on what is said, descriptors too, and spoils it
    places.py     avcheck and the middle, with a scanner or a mail server behind it
    sessions.py   avcheck-smtp and the middle, on either side of it
    scenes.py     which ones there are
    oracle.py     what may come of it, and what must not
    campaign.py   every byte of a conversation, each kind
    clamdscan.py  the same for clamdscan, where the scanner is shown something else
    page.py       the section of docs/faults.md

    whole.py      all of it, which is `make rot`; test_rot.py does some bytes of the replies

What nobody can notice who talks in these protocols is counted apart, because none of them has
a checksum:

- A byte of the message, or of what says how long it is, changed on the way to the scanner: that
  looks at something else, and says truly that there is nothing in there. Nobody but TLS can tell;
  clamdscan gets the same answer, which is tried for every one of them.
- A byte of the message or of an address changed on the way to the mail server: it takes what it
  got. Every mail server has the same with every other.
- The first digit of the mail server's answer to the final dot changed, if no enhanced code says
  the same again: a yes that arrives as a no makes a duplicate, and a no that arrives as a yes
  loses the message.

A reply of a scanner is another matter: it is short, known word for word, and the answer is
clean only if it arrives as it would have been said.
"""
