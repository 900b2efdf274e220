"""Where frames come from. A source is named by a URI: `sim://moon?seed=7`, `images://folder`."""

from rille.sources.base import Source, open_source

__all__ = ["Source", "open_source"]
