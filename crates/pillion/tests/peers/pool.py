"""An app with a pool of connections to PostgreSQL, which is told over HTTP that its file with name and
password has changed. Each third time that this brings new credentials, it refuses them.

What it does it prints: `accept NAME`, `refuse NAME`, `back NAME` (it is told of what it uses already),
`failed WHY`, and at its end `queries N`.
"""

import http.server
import signal
import sys
import threading
import time

import psycopg

CONNECTIONS = 4
QUERIES_PER_CONNECTION = 10

file, host, port = sys.argv[1:]
lock = threading.Lock()
using = None
offered = 0
queries = 0


def say(*words):
    print(*words, flush=True)


def connect(credentials):
    name, password = credentials
    return psycopg.connect(
        host=host, port=port, user=name, password=password, dbname="postgres",
        sslmode="disable", autocommit=True,
    )


def work():
    global queries
    while True:
        if using is None:
            time.sleep(0.01)
            continue
        try:
            with connect(using) as connection:
                for _ in range(QUERIES_PER_CONNECTION):
                    connection.execute("SELECT 1")
                    with lock:
                        queries += 1
                    time.sleep(0.005)
        except psycopg.Error as error:
            say("failed", str(error).replace("\n", " "))


def take():
    """Takes on what is in the file; the status that says so."""
    global using, offered
    with open(file) as text:
        new = tuple(text.read().split())
    if new == using:
        say("back", new[0])
        return 200
    offered += 1
    if offered % 3 == 0:
        say("refuse", new[0])
        return 409
    try:
        connect(new).close()
    except psycopg.Error as error:
        say("failed", str(error).replace("\n", " "))
        return 500
    using = new
    say("accept", new[0])
    return 200


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(take())
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def end(*_):
    say("queries", queries)
    sys.exit(0)


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
signal.signal(signal.SIGTERM, end)
for _ in range(CONNECTIONS):
    threading.Thread(target=work, daemon=True).start()
say("port", server.server_port)
server.serve_forever()
