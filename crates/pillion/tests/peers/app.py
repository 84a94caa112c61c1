"""An app that knows nothing of Pillion: an HTTP server on a free port.

--raw        listens on a second port too, where it does not speak HTTP
--wait FILE  GET /slow is answered once this file exists
"""

import argparse
import http.server
import os
import signal
import socket
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--raw", action="store_true")
parser.add_argument("--wait")
arguments = parser.parse_args()


def say(*words):
    print(*words, flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"hello from the app"
        if self.path == "/slow":
            say("slow began")
            while not os.path.exists(arguments.wait):
                time.sleep(0.01)
            body = b"slow but complete"
            say("slow done")
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_raw():
    listener = socket.create_server(("127.0.0.1", 0))
    say("raw", listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"this is no HTTP\n")
        connection.close()


def stop(*_):
    say("sigterm")
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
if arguments.raw:
    threading.Thread(target=serve_raw, daemon=True).start()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
say("pid", os.getpid())
say("http", server.server_address[1])
server.serve_forever()
