"""An RTSP server that sends what comes on its standard input; a program for the system's Python.

`/usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT FPS gray|rgb`, raw frames on standard input.
Needs gir1.2-gst-rtsp-server-1.0, python3-gi and gstreamer1.0-plugins-{base,good,bad}; nothing of
rille.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # versions come first


def main() -> None:
    """Serve until killed."""
    port, width, height, fps, kind = sys.argv[1:6]
    size = int(width) * int(height) * (1 if kind == "gray" else 3)
    form = "gray8" if kind == "gray" else "rgb"
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( fdsrc fd=0 blocksize={size} do-timestamp=true ! rawvideoparse format={form} "
        f"width={width} height={height} framerate={fps}/1 ! videoconvert ! "
        "video/x-raw,format=I420 ! jpegenc quality=95 ! rtpjpegpay name=pay0 )"
    )
    factory.set_shared(True)
    server.get_mount_points().add_factory("/bench", factory)
    server.attach(None)
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    GLib.MainLoop().run()


main()
