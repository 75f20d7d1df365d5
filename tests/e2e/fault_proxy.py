"""A proxy before an RTSP server that talks over TCP: it spoils what comes from the server as a bad network would.

What the server sends inside its connection, packets framed by '$', can be dropped, delayed, swapped with the next one, cut
short or have bytes flipped, each with a probability from a seeded generator; the dialogue itself is left alone unless
`dialogue` is given. Connections can be frozen and cut.
"""
import contextlib
import random
import select
import socket
import threading
import time


class FaultProxy:
    def __init__(self, port, seed=1, drop=0, flip=0, cut=0, swap=0, delay=0, delay_s=0.05, dialogue=0, raw=0):
        self.to, self.random = port, random.Random(seed)
        self.drop, self.flip, self.cut, self.swap, self.delay, self.delay_s = drop, flip, cut, swap, delay, delay_s
        self.dialogue, self.raw = dialogue, raw
        self.frozen, self.faults, self.pairs = threading.Event(), 0, []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.sock.accept()
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                if self.sock.fileno() < 0:
                    return
                client.close()
                continue
            self.pairs.append((client, server))
            threading.Thread(target=self.pump, args=(client, server), daemon=True).start()

    def pump(self, client, server):
        pending = b""
        with contextlib.suppress(OSError), client, server:
            while True:
                for sock in select.select([client, server], [], [], 1)[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    if sock is client:
                        server.sendall(data)
                        continue
                    out, pending = self.spoil(pending + data)
                    while self.frozen.is_set():
                        time.sleep(0.02)
                    client.sendall(out)

    def hit(self, share):
        hit = share > 0 and self.random.random() < share
        self.faults += hit
        return hit

    def flipped(self, data):
        data = bytearray(data)
        for _ in range(self.random.randint(1, 4)):
            if data:
                data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return bytes(data)

    def spoil(self, data):
        """What goes on of it, and what is not complete yet."""
        out, held = [], None
        while data:
            if data[:1] != b"$":
                cut = data.find(b"$")
                part, data = (data, b"") if cut < 0 else (data[:cut], data[cut:])
                out.append(self.flipped(part) if self.hit(self.dialogue) else part)
                continue
            if len(data) < 4 or len(data) < 4 + int.from_bytes(data[2:4], "big"):
                break
            size = 4 + int.from_bytes(data[2:4], "big")
            packet, data = data[:size], data[size:]
            if self.hit(self.drop):
                continue
            if self.hit(self.cut):
                packet = packet[:2] + (max(size - 4, 2) // 2).to_bytes(2, "big") + packet[4:4 + max(size - 4, 2) // 2]
            if self.hit(self.flip):
                packet = packet[:16] + self.flipped(packet[16:])
            if self.hit(self.raw):  # the framing itself
                packet = self.flipped(packet)
            if self.hit(self.delay):
                time.sleep(self.delay_s)
            if held is None and self.hit(self.swap):
                held = packet
                continue
            out.append(packet)
            if held is not None:
                out.append(held)
                held = None
        if held is not None:
            out.append(held)
        return b"".join(out), data

    def cut_all(self):
        """All connections end at once."""
        for pair in self.pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self.pairs.clear()

    def close(self):
        self.sock.close()
        self.frozen.clear()
        self.cut_all()
