"""A gRPC server with every kind of call, and a client that makes each and checks what comes back.

serve                                     prints "port N"
call ADDRESS [--authority HOST:PORT]      one line for each call
"""

import argparse
import concurrent.futures
import queue
import time

import grpc

SERVICE = "pillion.test.Echo"


def unary(request, context):
    context.set_trailing_metadata((("x-trailer", "end"),))
    context.send_initial_metadata((("x-initial", "begin"),))
    return request[::-1]


def split(request, context):
    for at in range(len(request)):
        yield request[at : at + 1]


def join(requests, context):
    return b"".join(requests)


def chat(requests, context):
    for request in requests:
        yield b"re: " + request


def fail(request, context):
    context.set_trailing_metadata((("x-detail", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today \u00e4")


def hang(request, context):
    while context.is_active():
        time.sleep(0.01)
    return b""


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Split": grpc.unary_stream_rpc_method_handler(split),
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
}


def serve():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, HANDLERS),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("port", port, flush=True)
    server.wait_for_termination()


def check(name, got, expected):
    assert got == expected, (name, got, expected)
    print(name, "ok")


def error(call):
    try:
        call()
    except grpc.RpcError as failure:
        return failure
    raise AssertionError("the call did not fail")


def call(arguments):
    options = [("grpc.enable_http_proxy", 0)]
    if arguments.authority:
        options.append(("grpc.default_authority", arguments.authority))
    channel = grpc.insecure_channel(arguments.address, options)
    path = f"/{SERVICE}/"

    response, made = channel.unary_unary(path + "Unary").with_call(b"abc", timeout=15)
    check("unary", response, b"cba")
    check("initial metadata", dict(made.initial_metadata()).get("x-initial"), "begin")
    check("trailers", dict(made.trailing_metadata()).get("x-trailer"), "end")

    large = bytes(range(256)) * 8192
    response = channel.unary_unary(path + "Unary")(large, timeout=15)
    check("a large message", response, large[::-1])

    pieces = list(channel.unary_stream(path + "Split")(b"stream", timeout=15))
    check("server stream", pieces, [b"s", b"t", b"r", b"e", b"a", b"m"])

    words = (b"%d," % number for number in range(100))
    joined = channel.stream_unary(path + "Join")(words, timeout=15)
    check("client stream", joined, b"".join(b"%d," % number for number in range(100)))

    # Each answer is awaited before the next question: both directions are open at once.
    chat_in_turns(channel.stream_stream(path + "Chat"))

    failure = error(lambda: channel.unary_unary(path + "Fail")(b"", timeout=15))
    check("status", failure.code(), grpc.StatusCode.FAILED_PRECONDITION)
    check("message", failure.details(), "not today \u00e4")
    check("trailers of a failure", dict(failure.trailing_metadata()).get("x-detail"), "because")

    failure = error(lambda: channel.unary_unary(path + "Hang")(b"", timeout=0.3))
    check("deadline", failure.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    failure = error(lambda: channel.unary_unary(path + "Nothing")(b"", timeout=15))
    check("unknown method", failure.code(), grpc.StatusCode.UNIMPLEMENTED)


def chat_in_turns(method):
    said = queue.SimpleQueue()
    answers = method(iter(said.get, None), timeout=15)
    heard = []
    for number in range(20):
        said.put(b"%d" % number)
        heard.append(next(answers))
    said.put(None)
    check("both ways", heard + list(answers), [b"re: %d" % number for number in range(20)])


def refused(arguments):
    channel = grpc.insecure_channel(arguments.address, [("grpc.enable_http_proxy", 0)])
    failure = error(lambda: channel.unary_unary(f"/{SERVICE}/Unary")(b"", timeout=15))
    print(failure.code().name, failure.details())


parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command", required=True)
commands.add_parser("serve").set_defaults(run=lambda _: serve())
calling = commands.add_parser("call")
calling.add_argument("address")
calling.add_argument("--authority")
calling.set_defaults(run=call)
refusing = commands.add_parser("refused")
refusing.add_argument("address")
refusing.set_defaults(run=refused)
parsed = parser.parse_args()
parsed.run(parsed)
