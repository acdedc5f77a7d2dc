"""Talks to an echo server as CPython's blocking `socket` does; prints `ok` at the end."""

import socket
import sys
import threading

HOST, PORT = sys.argv[1], int(sys.argv[2])
SERIAL = len(sys.argv) > 3 and sys.argv[3] == "serial"


def exactly(sock, count):
    parts = []
    while count:
        part = sock.recv(min(count, 65536))
        if not part:
            raise SystemExit("the server left early")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def one_by_one():
    with socket.create_connection((HOST, PORT), timeout=60) as sock:
        for number in range(200):
            message = f"message {number} \u4e2d".encode()
            sock.sendall(message)
            assert exactly(sock, len(message)) == message


def in_bulk():
    payload = bytes(range(256)) * 8192
    with socket.create_connection((HOST, PORT), timeout=60) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(payload), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        assert exactly(sock, len(payload)) == payload
        assert sock.recv(1) == b"", "more came back than was sent"
        sender.join()


def by_lines():
    with socket.create_connection((HOST, PORT), timeout=60) as sock:
        with sock.makefile("rwb") as stream:
            for number in range(100):
                stream.write(b"line %d\n" % number)
                stream.flush()
                assert stream.readline() == b"line %d\n" % number


def into_a_buffer():
    buffer = bytearray(64)
    with socket.create_connection((HOST, PORT), timeout=60) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock.sendmsg([b"vec", b"tor"]) == 6
        while len(sock.recv(6, socket.MSG_PEEK)) < 6:
            pass
        assert sock.recv_into(buffer) == 6 and buffer[:6] == b"vector"
        sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b"after the urgent byte")
        assert exactly(sock, 21) == b"after the urgent byte"


for part in (one_by_one, in_bulk, by_lines, into_a_buffer):
    part()

if not SERIAL:
    failures = []

    def guarded():
        try:
            one_by_one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures

print("ok")
