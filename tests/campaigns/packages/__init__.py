"""The Debian package, built, installed and removed in Debians of its own."""
