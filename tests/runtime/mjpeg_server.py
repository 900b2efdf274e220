"""A camera on the network: MJPEG over HTTP, for the tests of live sources.

`python mjpeg_server.py PORT [KIND]`; KIND is "good" (default), or how it misbehaves.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

PERIOD_S = 0.03
KIND = sys.argv[2] if len(sys.argv) > 2 else "good"


def picture(number: int) -> bytes:
    """96 x 64 px whose brightness counts, modulo 200."""
    pixels = np.full((64, 96, 3), 20 + number % 200, np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


class Camera(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:  # the name that is looked for
        if KIND == "locked" and self.headers.get("Authorization") != "Basic bWU6cGE6c3M=":
            self.send_error(401)
            return
        self.send_response(404 if KIND == "missing" else 200)
        kind = "text/html" if KIND == "page" else "multipart/x-mixed-replace; boundary=frame"
        self.send_header("Content-Type", kind)
        self.end_headers()
        number = 0
        while True:
            self.send_part(number)
            number += 1
            time.sleep(PERIOD_S)

    def send_part(self, number: int) -> None:
        body = picture(number)
        if KIND == "endless":
            self.wfile.write(b"--frame\r\nX: " + b"a" * 100_000)
            return
        if KIND == "babble":
            self.wfile.write(b"nonsense\r\n" * 200)
            return
        if KIND == "huge":
            self.wfile.write(b"--frame\r\nContent-Length: 99999999999\r\n\r\n")
            return
        if KIND == "damaged" and number % 2:
            body = body[:100] + bytes(40) + b"\xff\xd9"
        length = b"" if KIND == "unmeasured" else b"Content-Length: %d\r\n" % len(body)
        self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n")
        self.wfile.write(body + b"\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: readers go away as they like."""


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Camera) as server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        server.serve_forever()
