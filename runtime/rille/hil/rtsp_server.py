"""An RTSP server that sends what comes on its standard input; a program for the system's Python.

`/usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT FPS gray|rgb`, raw frames on standard input.
Needs gir1.2-gst-rtsp-server-1.0, python3-gi and gstreamer1.0-plugins-{base,good}; nothing of rille.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # versions come first


class Feed(threading.Thread):
    """Reads frames and gives them to whoever watches; to nobody, they are dropped."""

    def __init__(self, size: int) -> None:
        super().__init__(daemon=True)
        self._size = size
        self._source: Any = None

    def watch(self, factory: Any, media: Any) -> None:
        """Take the source of a pipeline that was made for new watchers."""
        self._source = media.get_element().get_by_name_recurse_up("bench")

    def run(self) -> None:
        """Read until the bench hangs up."""
        while True:
            data = sys.stdin.buffer.read(self._size)
            if len(data) < self._size:
                return
            source = self._source
            if source is not None:
                source.emit("push-buffer", Gst.Buffer.new_wrapped(data))


def main() -> None:
    """Serve until killed."""
    port, width, height, fps, kind = sys.argv[1:6]
    gray = kind == "gray"
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        "( appsrc name=bench is-live=true do-timestamp=true format=time max-bytes=1000000 "
        f"caps=video/x-raw,format={'GRAY8' if gray else 'RGB'},width={width},height={height},"
        f"framerate={fps}/1 ! videoconvert ! video/x-raw,format=I420 ! "
        "jpegenc quality=95 ! rtpjpegpay name=pay0 )"
    )
    factory.set_shared(True)
    feed = Feed(int(width) * int(height) * (1 if gray else 3))
    factory.connect("media-configure", feed.watch)
    server.get_mount_points().add_factory("/bench", factory)
    server.attach(None)
    feed.start()
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
