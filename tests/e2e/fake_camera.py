"""An RTSP server in a hundred lines that answers as it is told: for what no real server can be made to do.

It sends the pictures of an Annex B clip over the connection itself ('$'-framed), a NAL unit a packet.
"""
import re
import socket
import threading
import time

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"


def pictures(clip):
    """NAL units of each access unit; every one begins with a delimiter."""
    units = [u for u in re.split(b"\0\0\0?\1", clip.read_bytes()) if u]
    out = []
    for u in units:
        if u[0] & 31 == 9:
            out.append([])
        out[-1].append(u)
    return out


class FakeCamera:
    """`answer(method, number of the connection)` may give (status line, header lines, body) in place of the usual answer.
    `packets(i, units)` gives the RTP packets of picture i."""

    def __init__(self, clip, answer=None, sdp=SDP + VIDEO, packets=None, fps=25):
        self.pictures, self.answer, self.sdp, self.fps = pictures(clip), answer, sdp, fps
        self.packets = packets or (lambda i, units: list(self.rtp(units, i)))
        self.connections = self.requests = self.seq = 0
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        threading.Thread(target=self.accept, daemon=True).start()

    def rtp(self, units, i, time_of=lambda i: i * 3600, payload=96):
        for k, unit in enumerate(units):
            self.seq += 1
            marker = 0x80 if k == len(units) - 1 else 0
            yield (bytes([0x80, marker | payload]) + (self.seq & 0xffff).to_bytes(2, "big")
                   + (time_of(i) & 0xffffffff).to_bytes(4, "big") + b"\0\0\0\7" + unit)

    def accept(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client, self.connections), daemon=True).start()

    def serve(self, client, number):
        try:
            with client, client.makefile("rb") as said:
                while self.one_request(client, said, number):
                    pass
        except OSError:
            pass

    def one_request(self, client, said, number):
        line = said.readline()
        if not line:
            return False
        method, cseq = line.split(b" ")[0].decode(), "0"
        while (line := said.readline()).strip():
            if line.lower().startswith(b"cseq:"):
                cseq = line.split(b":")[1].strip().decode()
        self.requests += 1
        status, headers, body = (self.answer and self.answer(method, number)) or self.usual(method)
        if isinstance(body, str):
            body = body.encode()
        lines = [f"RTSP/1.0 {status}", f"CSeq: {cseq}", *headers]
        if body and not any(h.startswith("Content-Length") for h in headers):
            lines.append(f"Content-Length: {len(body)}")
        client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        if method == "PLAY" and status.startswith("200"):
            threading.Thread(target=self.play, args=(client,), daemon=True).start()
        return method != "TEARDOWN"

    def usual(self, method):
        if method == "OPTIONS":
            return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"], ""
        if method == "DESCRIBE":
            return "200 OK", ["Content-Type: application/sdp", f"Content-Base: {self.url}/"], self.sdp
        if method == "SETUP":
            return "200 OK", ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 7"], ""
        return "200 OK", ["Session: 7"], ""

    def play(self, client):
        try:
            i = 0
            while True:
                for packet in self.packets(i, self.pictures[i % len(self.pictures)]):
                    client.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
                i += 1
                time.sleep(1 / self.fps)
        except OSError:
            pass

    def close(self):
        self.sock.close()
