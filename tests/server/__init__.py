"""Tests of the processes and the command line."""
