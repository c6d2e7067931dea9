"""The tests; README.md beside this file is their map."""
