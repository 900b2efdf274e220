"""Choosing what of a run to send down within a number of bytes."""

from rille.downlink.pack import Selection, select
from rille.downlink.rle import decode_mask, encode_mask

__all__ = ["Selection", "decode_mask", "encode_mask", "select"]
