"""A real RTSP server (gst-rtsp-server) on the loopback address. Needs the virtual environment with gi.

    rtsp_server.py FILE [USER PASSWORD]       serves one H.264 MP4 at /cam; prints the port when it listens
    rtsp_server.py --live JSON                serves live cameras at /0, /1, ...; is told what to do on its standard input

A live camera sends the access units of its clips (H.264 files with access unit delimiters) over and over, at `fps`, to
each client from the clip's beginning. JSON: {"clips": [FILE, ...], "fps": 25, "cameras": 1, "frames": 0 (endless),
"audio": false, "udp": false (no TCP), "port": 0, "user": null, "password": null, "fork": false}.

Lines on standard input: "count" prints what was sent so far, [[frames of each client], ...] by camera; "silent" and
"talk"; "clip N" changes the clip; "kill" ends the server process as a crash does and "restart" starts another (both only
with "fork"), answered by a line when it listens. Its end ends the server.
"""
import json
import os
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def guard(server, factory, user, password):
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    role = Gst.Structure.new_empty("viewer")
    role.set_value("media.factory.access", True)
    role.set_value("media.factory.construct", True)
    factory.add_role_from_structure(role)


def listen(port=0):
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    return server


def attach(server):
    if server.attach(None) == 0:
        sys.exit("cannot listen")
    print(server.get_bound_port(), flush=True)


def serve_file(path, *login):
    Gst.init(None)
    server = listen()
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f'( filesrc location="{path}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )')
    if login:
        guard(server, factory, *login)
    server.get_mount_points().add_factory("/cam", factory)
    attach(server)
    GLib.MainLoop().run()


def access_units(path):
    """Parts of an Annex B file, each with its delimiter."""
    data = open(path, "rb").read()
    mark = b"\0\0\0\1\x09"
    return [mark + part for part in data.split(mark)[1:]]


class Camera:
    """One mount point; each client has a pipeline of its own."""

    def __init__(self, clips, config):
        self.clips, self.config, self.clip, self.silent = clips, config, 0, False
        self.sent = []
        self.factory = GstRtspServer.RTSPMediaFactory()
        audio = "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay1 pt=8" if config["audio"] else ""
        self.factory.set_launch("( appsrc name=src is-live=true format=time block=false max-bytes=100000000 "
                                "caps=video/x-h264,stream-format=byte-stream,alignment=au "
                                f"! rtph264pay name=pay0 pt=96 config-interval=-1 {audio} )")
        if config["udp"]:
            self.factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
        self.factory.connect("media-configure", self.on_media)

    def on_media(self, _factory, media):
        src = media.get_element().get_by_name("src")
        number = len(self.sent)
        self.sent.append(0)
        state = {"at": 0, "n": 0, "clip": self.clip, "on": True, "begun": False}
        step = int(Gst.SECOND / self.config["fps"])
        media.connect("unprepared", lambda _m: state.update(on=False))

        def push():
            if not state["on"]:
                return False
            if self.silent:
                return True
            if state["at"] == 0 and state["clip"] != self.clip:
                state["clip"] = self.clip
            units = self.clips[state["clip"]]
            buffer = Gst.Buffer.new_wrapped(units[state["at"]])
            buffer.pts = buffer.dts = state["n"] * step
            buffer.duration = step
            if src.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return False
            self.sent[number] += 1
            state["n"] += 1
            state["at"] = (state["at"] + 1) % len(units)
            if state["n"] == self.config["frames"]:
                src.emit("end-of-stream")
                return False
            return True

        def begin(_src, _length):  # from a thread of the pipeline's, again and again
            if not state["begun"]:
                state["begun"] = True
                GLib.timeout_add(int(1000 / self.config["fps"]), push)

        src.connect("need-data", begin)


def live_server(config):
    Gst.init(None)
    server = listen(config["port"])
    clips = [access_units(c) for c in config["clips"]]
    cameras = [Camera(clips, config) for _ in range(config["cameras"])]
    for i, camera in enumerate(cameras):
        if config["user"]:
            guard(server, camera.factory, config["user"], config["password"])
        server.get_mount_points().add_factory(f"/{i}", camera.factory)
    attach(server)
    return cameras


def obey(cameras, words):
    if words[0] == "count":
        print(json.dumps([c.sent for c in cameras]), flush=True)
    for c in cameras:
        if words[0] in ("silent", "talk"):
            c.silent = words[0] == "silent"
        elif words[0] == "clip":
            c.clip = int(words[1])


def run_live(config, commands):
    cameras = live_server(config)
    loop = GLib.MainLoop()

    def heard(fd, _condition):
        line = os.read(fd, 4096).decode()
        if not line:
            loop.quit()
            return False
        for words in filter(None, map(str.split, line.splitlines())):
            obey(cameras, words)
        return True

    GLib.unix_fd_add_full(GLib.PRIORITY_HIGH, commands, GLib.IOCondition.IN | GLib.IOCondition.HUP, heard)
    loop.run()


def run_forked(config):
    """The server is a child that can be killed; what takes long, loading GStreamer, was done before."""
    if not config["port"]:
        import socket
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            config["port"] = sock.getsockname()[1]

    def start():
        out, into = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(into)
            run_live(config, out)
            os._exit(0)
        os.close(out)
        return pid, into

    def kill():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pipe)

    pid, pipe = start()
    for line in sys.stdin:
        if line.startswith("kill"):
            kill()
            pid = 0
        elif line.startswith("restart"):
            if pid:
                kill()
            pid, pipe = start()
        else:
            os.write(pipe, line.encode())
    if pid:
        kill()


if __name__ == "__main__":
    if sys.argv[1] != "--live":
        serve_file(*sys.argv[1:])
    else:
        wish = {"fps": 25, "cameras": 1, "frames": 0, "audio": False, "udp": False, "port": 0, "user": None, "password": None, "fork": False,
                **json.loads(sys.argv[2])}
        if wish["fork"]:
            run_forked(wish)
        else:
            run_live(wish, 0)
