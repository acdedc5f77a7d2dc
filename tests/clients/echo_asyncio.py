"""Talks to an echo server as CPython's `asyncio` streams and protocols do; prints `ok` at the end."""

import asyncio
import sys

HOST, PORT = sys.argv[1], int(sys.argv[2])
SERIAL = len(sys.argv) > 3 and sys.argv[3] == "serial"


async def one_by_one(name):
    reader, writer = await asyncio.open_connection(HOST, PORT)
    for number in range(100):
        message = f"{name} says {number}\n".encode()
        writer.write(message)
        await writer.drain()
        assert await reader.readline() == message
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def in_bulk():
    payload = bytes(range(256)) * 4096
    reader, writer = await asyncio.open_connection(HOST, PORT)

    async def send():
        writer.write(payload)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    assert await reader.readexactly(len(payload)) == payload
    assert await reader.read() == b""
    await sending
    writer.close()
    await writer.wait_closed()


class Protocol(asyncio.Protocol):
    def __init__(self, done):
        self.done = done
        self.got = b""

    def connection_made(self, transport):
        self.transport = transport
        transport.writelines([b"call", b"back", b"s"])

    def data_received(self, data):
        self.got += data
        if self.got == b"callbacks":
            self.transport.close()

    def connection_lost(self, error):
        self.done.set_result((self.got, error))


async def with_callbacks():
    done = asyncio.get_running_loop().create_future()
    await asyncio.get_running_loop().create_connection(lambda: Protocol(done), HOST, PORT)
    assert await done == (b"callbacks", None)


async def main():
    await one_by_one("first")
    await in_bulk()
    await with_callbacks()
    if not SERIAL:
        await asyncio.gather(*(one_by_one(f"client {number}") for number in range(50)))
    print("ok")


asyncio.run(asyncio.wait_for(main(), 90))
