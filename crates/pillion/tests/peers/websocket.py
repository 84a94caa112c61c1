"""A WebSocket server that echoes, and a client that checks the echo.

serve                                 prints "port N"
talk URL [--proxy HOST:PORT | --via HOST:PORT]
"""

import argparse
import os
import socket

from websockets.sync.client import connect
from websockets.sync.server import serve


def echo(connection):
    for message in connection:
        connection.send(message)


def run_server():
    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print("port", server.socket.getsockname()[1], flush=True)
        server.serve_forever()


def talk(arguments):
    options = {"max_size": None, "open_timeout": 15, "close_timeout": 15, "proxy": None}
    if arguments.proxy:
        options["proxy"] = f"http://{arguments.proxy}"
    if arguments.via:
        host, port = arguments.via.rsplit(":", 1)
        options["sock"] = socket.create_connection((host, int(port)))
    messages = ["", "text", "\u00e4\u20ac", b"\x00\xff" * 10, os.urandom(300_000)]
    with connect(arguments.url, **options) as connection:
        for message in messages:
            connection.send(message)
            received = connection.recv(timeout=15)
            assert received == message, (len(received), len(message))
        assert connection.ping().wait(15)
    print("ok", len(messages), "messages")


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command", required=True)
commands.add_parser("serve")
talking = commands.add_parser("talk")
talking.add_argument("url")
talking.add_argument("--proxy")
talking.add_argument("--via")
parsed = parser.parse_args()
run_server() if parsed.command == "serve" else talk(parsed)
