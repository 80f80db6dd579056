"""What the black-box tests share. Imports no code of ours: everything goes through the binary and its edges.

    book     what was promised, compared with the log
    binary   the built `countersign`, run as a command
    server   a server in a fresh directory: init, start, stop, kill -9
    client   its HTTP interface
    pages    the pages as a browser asks for them
    events   valid events to publish
    front    a proxy before a server, which fails as proxies do
    manual   the pages for people, and a reader who runs their commands
    nats     a real nats-server
    rooms, sources  the Rust sources as text, and what is so in them today
    side_by_side  which tests stay together when several processes run them
    waits    deadlines instead of sleeps
"""

from .binary import Finished, cli, countersign_bin
from .book import Book
from .client import Client, Key
from .events import event, heartbeat, new_id
from .front import FlakyFront
from .nats import NatsServer
from .server import Server, ServerExited
from .waits import free_port, until

__all__ = [
    "Book", "Client", "Finished", "FlakyFront", "Key", "NatsServer", "Server", "ServerExited", "cli", "countersign_bin",
    "event", "free_port", "heartbeat", "new_id", "until",
]
