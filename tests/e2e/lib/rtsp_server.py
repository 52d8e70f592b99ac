"""A camera for tests: GStreamer's RTSP server shows an MP4 file with H.264 in it as fast as it was taken,
without decoding it.

Usage: rtsp_server.py FILE [PORT]   prints "port N" once it listens; the stream is rtsp://127.0.0.1:N/cam
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def camera(path):
    """One pipeline for all who look on."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(
        f"( filesrc location={path} ! qtdemux ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )"
    )
    return factory


def main():
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[2] if len(sys.argv) > 2 else "0")
    server.get_mount_points().add_factory("/cam", camera(sys.argv[1]))
    if server.attach(None) == 0:
        sys.exit("the port is taken")
    print(f"port {server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()


main()
