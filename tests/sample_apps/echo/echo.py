"""Repeats what it is told over TCP and UDP, on port 9000 of each, behind the version and the release that answers.

`who` is answered with the addresses that the platform told it about.
"""

import asyncio
import os
import signal

VERSION = "1"
NAME = f"{VERSION} {os.environ.get('PAAS_RELEASE', '')} "


def answer(text: bytes) -> bytes:
    if text == b"who":
        return f"{os.environ.get('PAAS_TCP_9000', '-')} {os.environ.get('PAAS_UDP_9000', '-')}".encode()
    return NAME.encode() + text


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(answer(data), address)


async def talk(reader, writer):
    while data := await reader.read(65536):
        writer.write(answer(data))
        await writer.drain()
    writer.close()


async def main():
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 9000))
    await asyncio.start_server(talk, "0.0.0.0", 9000, backlog=1024)
    print(f"echo: version {VERSION} listens on TCP and UDP 9000", flush=True)
    await stop.wait()


asyncio.run(main())
