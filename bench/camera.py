"""A camera for the benchmarks: GStreamer's RTSP server shows an MP4 file with H.264 in it as fast as it was taken,
and writes down when each frame leaves, before it is packed: the source's clock.

Usage: camera.py FILE PORT LOG   prints "port N" once it listens; rtsp://127.0.0.1:N/cam1 ... /cam8, each from its
first frame when somebody first asks for it. LOG gets "path frame seconds-since-1970" for each frame.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

# identity waits for each frame's time, as a sensor does; behind it nothing waits
LAUNCH = (
    "( filesrc location={path} ! qtdemux ! h264parse config-interval=-1 ! "
    "video/x-h264,alignment=au ! identity name=clock sync=true ! rtph264pay name=pay0 pt=96 )"
)


class Camera(GstRtspServer.RTSPMediaFactory):
    """One pipeline for all who look on."""

    def __init__(self, name, path, log):
        super().__init__()
        self.name, self.log = name, log
        self.set_shared(True)
        self.set_launch(LAUNCH.format(path=path))

    def do_configure(self, media):
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        clock = media.get_element().get_by_name("clock")
        clock.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self.note, [0])

    def note(self, _pad, _info, count):
        self.log.write(f"{self.name} {count[0]} {time.time():.6f}\n")
        count[0] += 1
        return Gst.PadProbeReturn.OK


def main():
    path, port, log = sys.argv[1:4]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    with open(log, "w", buffering=1, encoding="ascii") as out:
        for number in range(1, 9):
            server.get_mount_points().add_factory(f"/cam{number}", Camera(f"cam{number}", path, out))
        if server.attach(None) == 0:
            sys.exit("the port is taken")
        print(f"port {server.get_bound_port()}", flush=True)
        GLib.MainLoop().run()


main()
