"""A network in the place of one that is spoilt, from the nearest bytes that are whole."""

from __future__ import annotations

from rille.bundle import Bundle
from rille.bundle.restore import restored
from rille.errors import DigestError, RilleError
from rille.network import Network


def mended(network: Network, *, reread: bool = False) -> Network:
    """Load a network again: from memory, else from where its bundle came, else the other slot's.

    Args:
        network: goes on as it is; may be in use by another thread.
        reread: do not try its bytes in memory.

    Returns:
        A network that gave its golden answers; of another bundle where it came from the other slot.

    Raises:
        RilleError: nothing whole is left, or it does not work.
    """
    assert network.bundle is not None
    if not reread:
        try:
            return network.again()
        except RilleError:
            # Bytes can change after they were verified, too, while an engine is made of them.
            if _whole(network.bundle):
                raise
    return network.again(restored(network.bundle))


def _whole(bundle: Bundle) -> bool:
    """Return whether all of a bundle's bytes in memory are those that were verified."""
    try:
        for name in bundle.files:
            bundle.verify(name)
    except DigestError:
        return False
    return True


def replaces(fresh: Network, network: Network) -> bool:
    """Return whether `fresh` holds another bundle, so that it cannot just be adopted."""
    assert fresh.bundle is not None
    assert network.bundle is not None
    return fresh.bundle.digest != network.bundle.digest
