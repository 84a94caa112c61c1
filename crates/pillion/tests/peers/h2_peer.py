"""HTTP/2 as ordinary programs never send it.

serve              prints "port N"; answers as the path says: /trailers, /reset, …
flood KIND ADDRESS  sends rapid resets, CONTINUATION frames, pings or settings until it is stopped
malformed ADDRESS   sends heads that no library would, and says what became of each
"""

import argparse
import socket
import socketserver
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import hpack


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    refused = False


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()
        while data := self.request.recv(65536):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                if isinstance(event, h2.events.RequestReceived):
                    self.answer(event.stream_id, dict(event.headers)[":path"])
            self.flush()

    def flush(self):
        self.request.sendall(self.h2.data_to_send())

    def answer(self, stream, path):
        if path == "/reset":
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            return
        if path == "/refused" and not self.server.refused:
            self.server.refused = True
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        self.h2.send_headers(stream, [(":status", "200"), ("x-protocol", "h2")])
        if path == "/cut":
            self.h2.send_data(stream, b"only the beginn")
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            return
        self.h2.send_data(stream, b"hello", end_stream=path != "/trailers")
        if path == "/trailers":
            self.h2.send_headers(stream, [("x-sum", "5")], end_stream=True)
        if path == "/goaway":
            self.h2.close_connection()


def serve(_):
    with Server(("127.0.0.1", 0), Handler) as server:
        print("port", server.server_address[1], flush=True)
        server.serve_forever()


HEADERS = [
    (":method", "GET"),
    (":path", "/"),
    (":scheme", "http"),
    (":authority", "app"),
]


def flood(arguments):
    """Says how the flood ended: the proxy stopped it, or took all of it."""
    host, port = arguments.address.rsplit(":", 1)
    tcp = socket.create_connection((host, int(port)))
    tcp.settimeout(15)
    reader = threading.Thread(target=drain, args=(tcp,))
    config = h2.config.H2Configuration(client_side=True)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    tcp.sendall(connection.data_to_send())
    reader.start()
    try:
        for piece in FLOODS[arguments.kind](connection):
            tcp.sendall(piece)
        tcp.shutdown(socket.SHUT_WR)
        print("took all")
    except (ConnectionError, TimeoutError):
        print("stopped")
    reader.join()


def drain(tcp):
    try:
        while tcp.recv(65536):
            pass
    except (ConnectionError, TimeoutError):
        pass


def rapid_resets(connection):
    for number in range(20_000):
        stream = 2 * number + 1
        connection.send_headers(stream, HEADERS, end_stream=True)
        connection.reset_stream(stream)
        yield connection.data_to_send()


def continuations(connection):
    # HEADERS without END_HEADERS, then CONTINUATION after CONTINUATION.
    yield frame(0x1, 0x1, 1, connection.encoder.encode(HEADERS))
    for number in range(2_000):
        literal = b"\x00" + bytes([127, 0]) + b"x" * 127 + bytes([127, 128, 6]) + b"y" * 895
        yield frame(0x9, 0x0, 1, literal)


def pings(_):
    for _ in range(2_000):
        yield frame(0x6, 0x0, 0, b"pingpong") * 100


def settings(_):
    for _ in range(2_000):
        yield frame(0x4, 0x0, 0, b"\x00\x04\x00\x00\xff\xff") * 100


def frame(kind, flags, stream, payload):
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


FLOODS = {
    "rapid-resets": rapid_resets,
    "continuations": continuations,
    "pings": pings,
    "settings": settings,
}

POST = [(":method", "POST"), (":path", "/malformed"), (":scheme", "http"), (":authority", "app")]


def replaced(name, value):
    return [(key, value if key == name else known) for key, known in POST]


# What is sent, and the body after it.
MALFORMED = {
    "two lengths": (POST + [("content-length", "4"), ("content-length", "5")], b"abcd"),
    "the same length twice": (POST + [("content-length", "4"), ("content-length", "4")], b"abcd"),
    "a list of lengths": (POST + [("content-length", "4, 4")], b"abcd"),
    "a signed length": (POST + [("content-length", "+4")], b"abcd"),
    "a length that is too long": (POST + [("content-length", "5")], b"abcd"),
    "a length that is too short": (POST + [("content-length", "3")], b"abcd"),
    "a transfer coding": (POST + [("transfer-encoding", "chunked")], b"0\r\n\r\n"),
    "connection": (POST + [("connection", "x")], b""),
    "upgrade": (POST + [("upgrade", "websocket")], b""),
    "upper case": (POST + [("X-Upper", "1")], b""),
    "a line in a value": (POST + [("x", "1\r\ny: 2")], b""),
    "a line in a name": (POST + [("x: 1\r\ny", "2")], b""),
    "a line in the path": (replaced(":path", "/ HTTP/1.1\r\nx: 1"), b""),
    "a space in the path": (replaced(":path", "/a b"), b""),
    "a fragment in the path": (replaced(":path", "/a#b"), b""),
    "a relative path": (replaced(":path", "a"), b""),
    "an empty path": (replaced(":path", ""), b""),
    "a line in the method": (replaced(":method", "GET / HTTP/1.1\r\nx: y"), b""),
    "a space in the method": (replaced(":method", "GET /"), b""),
    "a line in the authority": (replaced(":authority", "a\r\nx: y"), b""),
    "a user in the authority": (replaced(":authority", "user@app"), b""),
    "a path in the authority": (replaced(":authority", "app/x"), b""),
    "no authority": ([pair for pair in POST if pair[0] != ":authority"], b""),
    "two paths": (POST + [(":path", "/other")], b""),
    "a pseudo field after another": ([("x", "1")] + POST, b""),
    "an unknown pseudo field": (POST + [(":x", "1")], b""),
}


def malformed(arguments):
    for name, (fields, body) in MALFORMED.items():
        print(f"{name}: {outcome(arguments.address, fields, body)}", flush=True)


def outcome(address, fields, body):
    """The status of the answer, or how it was refused."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as tcp:
        tcp.settimeout(15)
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
        head = connection.encoder.encode(fields)
        connection.encoder = hpack.Encoder()
        # So that the library knows of the stream: its own, proper head is never sent.
        sent = connection.data_to_send()
        connection.send_headers(1, POST, end_stream=True)
        connection.data_to_send()
        frames = frame(0x1, 0x4 if body else 0x5, 1, head)
        tcp.sendall(sent + frames + (frame(0x0, 0x1, 1, body) if body else b""))
        try:
            while data := tcp.recv(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        return dict(event.headers)[b":status"].decode()
                    if isinstance(event, h2.events.StreamReset):
                        return "reset"
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return "goaway"
            return "closed"
        except ConnectionError:
            return "closed"


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command", required=True)
commands.add_parser("serve").set_defaults(run=serve)
refusing = commands.add_parser("malformed")
refusing.add_argument("address")
refusing.set_defaults(run=malformed)
flooding = commands.add_parser("flood")
flooding.add_argument("kind", choices=FLOODS)
flooding.add_argument("address")
flooding.set_defaults(run=flood)
parsed = parser.parse_args()
parsed.run(parsed)
