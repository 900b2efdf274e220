"""A real RTSP server with a test picture, for the system's Python with GStreamer's bindings.

`/usr/bin/python3 rtsp_server.py PORT` says `ready` and the paths that it serves: `jpeg` and, where
there is an encoder, `h264`. Needs gir1.2-gst-rtsp-server-1.0, python3-gi and
gstreamer1.0-plugins-{base,good}, for H.264 also -ugly (x264) or -bad (openh264).
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # versions come first

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
ENCODERS = (
    ("jpeg", "jpegenc", "rtpjpegpay"),
    ("h264", "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15", "rtph264pay"),
    ("h264", "openh264enc complexity=low gop-size=15", "rtph264pay"),
)
served = []
for name, encoder, payloader in ENCODERS:
    if name in served or any(
        Gst.ElementFactory.find(each.split()[0]) is None for each in (encoder, payloader)
    ):
        continue
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball ! "
        "video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! "
        f"{encoder} ! {payloader} name=pay0 )"
    )
    factory.set_shared(True)
    server.get_mount_points().add_factory(f"/{name}", factory)
    served.append(name)
server.attach(None)
sys.stdout.write(" ".join(["ready", *served]) + "\n")
sys.stdout.flush()
GLib.MainLoop().run()
