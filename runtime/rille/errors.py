"""Every error rille raises on purpose.

    RilleError                  exit code 1
      CheckFailedError          1  a check ran and did not hold (parity, budget, golden input)
      ConfigError (ValueError)  2  an option, key or recipe is wrong
      SourceError               3  a camera, stream, file or data set cannot be used
        SourceNotFoundError        no such scheme, device or file
        FrameDecodeError           one frame arrived but cannot be decoded
        DatasetError               a labelled data set is not in its published layout
      SinkError                 3  an output cannot be written (disk full, read-only, no encoder)
      BundleError               4  a bundle cannot be trusted or understood
        ManifestError              its manifest is missing, malformed or contradicts its files
        DigestError                a file is not the one the manifest names
        SignatureError             no key that is trusted here signed it
      BackendError              4  an inference engine cannot be used
        BackendUnavailableError    not installed, or not usable with what is installed
        InferenceError             the network ran and failed, or gave numbers that are not numbers
      SafeModeError             5  a supervised run died too often and is not started again

A message names the thing concerned first, then what is wrong, then the way out.
"""

from __future__ import annotations


class RilleError(Exception):
    """Root of the tree; `exit_code` is what the command line returns for it."""

    exit_code = 1


class CheckFailedError(RilleError):
    """A check ran and its condition did not hold."""


class ConfigError(RilleError, ValueError):
    """An option, a configuration key or a recipe is wrong."""

    exit_code = 2


class SourceError(RilleError):
    """A source of frames cannot be used."""

    exit_code = 3


class SourceNotFoundError(SourceError):
    """There is no such scheme, device or file."""


class FrameDecodeError(SourceError):
    """One frame arrived but cannot be decoded; the stream goes on.

    Attributes:
        index: the frame's index in its stream, once a source knows it.
    """

    index: int = -1


class DatasetError(SourceError):
    """A labelled data set is missing or not in its published layout."""


class SinkError(RilleError):
    """An output cannot be written."""

    exit_code = 3


class BundleError(RilleError):
    """A bundle cannot be trusted or understood."""

    exit_code = 4


class ManifestError(BundleError):
    """A bundle's manifest is missing, malformed or contradicts its files."""


class DigestError(BundleError):
    """A file in a bundle is not the one its manifest names."""


class SignatureError(BundleError):
    """A bundle is not signed by a key that is trusted here."""


class BackendError(RilleError):
    """An inference engine cannot be used."""

    exit_code = 4


class BackendUnavailableError(BackendError):
    """The engine is not installed, or not usable with what is installed."""


class InferenceError(BackendError):
    """A network failed on a frame, or its output is not finite."""


class SafeModeError(RilleError):
    """A supervised run died too often, and is not started again."""

    exit_code = 5


class OutputStuckError(InferenceError):
    """A network gives outputs that cannot be answers: constant, or the same for every picture."""


class OutputRangeError(InferenceError):
    """A network gives numbers far beyond any that it gave when it was exported."""


def nearest(word: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known word, or an empty string.

    Args:
        word: what the user wrote.
        known: the words that would have been accepted.
    """
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
