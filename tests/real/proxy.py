"""A TCP proxy on loopback that can stop carrying bytes, as a network partition does."""

import contextlib
import re
import socket
from threading import Event, Lock, Thread

CHANGE = re.compile(rb"(?m)^(?:DELETE|PATCH) \S*/actions/runners/(\d+)[ ?]")


class Proxy:
    """Carries connections to a port. Connections of a partition stay open and silent until it ends."""

    def __init__(self, port):
        self.port, self.over = port, False
        # The IDs of the registrations that its clients asked to change or delete.
        self.changed = set()
        self.flows, self.open, self.lock = Event(), set(), Lock()
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over = True
        shut(self.listener)
        self.listener.close()
        self.flows.set()
        with self.lock:
            for end in self.open:
                shut(end)

    @contextlib.contextmanager
    def partition(self):
        self.flows.clear()
        try:
            yield
        finally:
            self.flows.set()

    def accept(self):
        while not self.over:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        self.flows.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self.port))
        except OSError:
            client.close()
            return
        with self.lock:
            self.open |= {client, server}
        back = Thread(target=self.carry, args=(server, client, lambda _: None), daemon=True)
        back.start()
        self.carry(client, server, self.note)
        back.join()
        with self.lock:
            self.open -= {client, server}
        client.close()
        server.close()

    def carry(self, source, target, note):
        try:
            while data := source.recv(65536):
                self.flows.wait()
                note(data)
                target.sendall(data)
            self.flows.wait()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            shut(source)
            shut(target)

    def note(self, data):
        self.changed.update(map(int, CHANGE.findall(data)))


def shut(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
