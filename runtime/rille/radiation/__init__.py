"""Bits that flip in memory while networks fly: finding them, and getting rid of them.

An engine packs the weights into a layout of its own when it is built, and works with that copy: a
checksum over the bundle's bytes says nothing about it, and a wrong answer to a golden image says
nothing about the bytes. So both are looked at, and engines are built anew now and then.
"""
