"""What comes over a wire or from a camera: pictures, packets, datagrams, masks, addresses."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from tests.fuzz.target import Target
from tests.runtime.recorded import an_event, noise, worked

from rille.capture import MODULES, module_of, wire
from rille.capture.chunks import Assembler, Shape, cut
from rille.capture.ring import ShmReader, ShmWriter
from rille.downlink.rle import decode_mask, encode_mask
from rille.errors import ConfigError
from rille.images import MAX_PIXELS, decode_image
from rille.recording.foxglove import unpack
from rille.sinks.packets import decode_packet, event_packet, result_packet
from rille.sources.base import parse_uri
from rille.sources.feed import understand

Feed = Callable[[bytes], None]
_KINDS = (".jpg", ".png", ".bmp", ".tiff", ".webp")


def _pictures(folder: Path) -> Sequence[bytes]:
    smooth = cv2.resize(noise(1), (96, 64), interpolation=cv2.INTER_CUBIC)
    deep = smooth.astype(np.uint16) * 257
    made = [cv2.imencode(kind, smooth)[1].tobytes() for kind in _KINDS]
    made += [cv2.imencode(".jpg", smooth[:, :, 0])[1].tobytes()]
    return [*made, cv2.imencode(".png", deep)[1].tobytes()]


def _picture(folder: Path) -> Feed:
    def feed(data: bytes) -> None:
        pixels = decode_image(data, "picture")
        assert pixels.dtype == np.uint8 and pixels.ndim in (2, 3)
        assert 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS

    return feed


def _packets(folder: Path) -> Sequence[bytes]:
    return [result_packet(worked(1), 100, 7), event_packet(an_event(), 101, 8)]


def _packet(folder: Path) -> Feed:
    import binascii

    def feed(data: bytes) -> None:
        # Half of them with a check sum that fits, or nothing behind it would ever be read.
        if data and data[-1] & 1 and len(data) > 12:
            body = data[:4] + (len(data) - 7).to_bytes(2, "big") + data[6:-2]
            data = body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")
        decode_packet(data)

    return feed


def _chunk_corpus(folder: Path) -> Sequence[bytes]:
    return [c for n in (1, 2, 3) for c in cut(noise(n), n, 5, payload=700)]


def _chunk(folder: Path) -> Feed:
    assembler = Assembler(Shape(24, 32, 3))

    def feed(data: bytes) -> None:
        for shot in assembler.put(data):
            assert shot.pixels is None or shot.pixels.shape == (24, 32, 3)

    return feed


def _header(folder: Path) -> Feed:
    def feed(data: bytes) -> None:
        data = data[: wire.HEADER.size].ljust(wire.HEADER.size, b"\0")
        with contextlib.suppress(ValueError):
            assert wire.unpack(data).size <= wire.MAX_BODY

    return feed


def _headers(folder: Path) -> Sequence[bytes]:
    frame = wire.Header(wire.FRAME, 24, 32, 3, 24 * 32 * 3, 1, 99)
    return [frame.pack(), wire.Header(wire.TROUBLE, size=20).pack()]


def _ring_corpus(folder: Path) -> Sequence[bytes]:
    with ShmWriter("fuzz", room=24 * 32 * 3, folder=folder) as ring:
        ring.write(noise(1), captured_ns=5)
        return [next(p for p in folder.iterdir() if "fuzz" in p.name).read_bytes()]


def _ring(folder: Path) -> Feed:
    from rille.capture.ring import ring_path

    path = ring_path("fuzz", folder)

    def feed(data: bytes) -> None:
        path.write_bytes(data)
        reader = ShmReader("fuzz", folder)
        try:
            for _ in range(3):
                reader.take()
        finally:
            reader.close()

    return feed


def _message(folder: Path) -> Feed:
    def feed(data: bytes) -> None:
        with contextlib.suppress(ValueError):
            unpack("foxglove.CompressedImage", data)

    return feed


def _messages(folder: Path) -> Sequence[bytes]:
    from rille.recording.foxglove import pack

    stamp = {"seconds": 5, "nanos": 7}
    return [
        pack(
            "foxglove.CompressedImage",
            {"timestamp": stamp, "frame_id": "cam", "data": b"x" * 300, "format": "png"},
        )
    ]


def _mask(folder: Path) -> Feed:
    def feed(data: bytes) -> None:
        assert decode_mask(data).ndim == 2

    return feed


_URIS = (
    "sim://moon?view=rover&seed=7&fps=10&frames=150",
    "rtsp://user:secret@10.0.0.7:554/stream?x=1#transport=udp",
    "udpraw://:5600?size=640x480&format=gray",
    "v4l2:///dev/video0?fps=30&format=MJPG",
    "http://cam.local/video#stall_s=1",
    "csi://0?size=1280x720",
    "shm://mast?vehicle=udp://127.0.0.1:5005",
    "mcap://run.mcap?speed=2",
    "udp://10.0.0.2:5005",
)


def _uri(folder: Path) -> Feed:
    def feed(data: bytes) -> None:
        uri = parse_uri(data.decode("utf-8", "surrogateescape"))
        assert isinstance(uri.shown, str)
        if uri.scheme in MODULES:
            module_of(uri.scheme).check(uri)
        for ask in (
            lambda: uri.number("fps", None, 0.01, 1000),
            lambda: uri.size((640, 480)),
            lambda: uri.whole("keep", 5, 1, 1000),
            uri.host_port,
        ):
            with contextlib.suppress(ConfigError):
                ask()

    return feed


def _vehicle(folder: Path) -> Feed:
    def feed(data: bytes) -> None:
        understand(data)  # None where it is nothing

    return feed


_VEHICLE = {"sun_azimuth_deg": 12.5, "exposure_ms": 3.0, "pose": {"x_m": 1.0}}

STREAMS = [
    Target(name="pictures", corpus=_pictures, prepare=_picture, share=12),
    Target(name="ccsds", corpus=_packets, prepare=_packet, share=8),
    Target(name="datagrams", corpus=_chunk_corpus, prepare=_chunk, share=6),
    Target(name="capture pipe", corpus=_headers, prepare=_header, share=4),
    Target(name="shm ring", corpus=_ring_corpus, prepare=_ring, share=4),
    Target(name="foxglove", corpus=_messages, prepare=_message, share=5),
    Target(
        name="mask runs",
        corpus=lambda folder: [encode_mask(np.eye(40, dtype=np.uint8))],
        prepare=_mask,
        share=4,
    ),
    Target(
        name="vehicle",
        corpus=lambda folder: [json.dumps(_VEHICLE).encode()],
        prepare=_vehicle,
        share=5,
    ),
    Target(name="uri", corpus=lambda folder: [u.encode() for u in _URIS], prepare=_uri, share=8),
]
