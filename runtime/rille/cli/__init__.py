"""The command line: `rille VERB ...`. Data on stdout, words for people on stderr."""

from rille.cli.main import main

__all__ = ["main"]
