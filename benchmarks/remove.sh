#!/bin/sh
# The smallest handler of infected mail: the message is gone, that is all.
rm -f -- "$1"
