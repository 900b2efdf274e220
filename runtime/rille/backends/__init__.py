"""Inference engines: one module each, imported only when asked for."""

from rille.backends.base import Backend, open_backend, target_of

__all__ = ["Backend", "open_backend", "target_of"]
