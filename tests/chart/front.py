"""Addresses of the played world: names of AWS and the forge by TLS, a proxy, Services, roles."""

import http.client
import itertools
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection"}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that hangs up is no error of the test."""


def in_background(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def chunks(file):
    """The body of a request without a length."""
    while size := int(file.readline().split(b";")[0], 16):
        yield file.read(size)
        file.readline()
    file.readline()


class Forward(BaseHTTPRequestHandler):
    """Sends each request to the local server of its host, and notes the host."""

    protocol_version = "HTTP/1.1"
    routes, seen = {}, set()

    def any(self):
        host = self.headers["Host"].rsplit(":", 1)[0]
        port = self.routes.get(host)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(chunks(self.rfile))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not port:
            return self.answer(502, [], b"no such host in this world")
        self.seen.add(host)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP}
        there = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            there.request(self.command, self.path, body or None, {**headers, "Content-Length": str(len(body))})
            answer = there.getresponse()
            self.answer(answer.status, answer.getheaders(), answer.read())
        except OSError as error:
            self.answer(502, [], str(error).encode())
        finally:
            there.close()

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for key, value in headers:
            if key.lower() not in HOP:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = any

    def log_message(self, *_):
        """Quiet."""


def serve_names(address, port, routes, certificate=None):
    """Serves these hosts at an address, by TLS with a certificate. Returns the hosts asked for."""
    handler = type("Routed", (Forward,), {"routes": routes, "seen": set()})
    server = Server((address, port), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    in_background(server)
    return handler.seen


class Roles(BaseHTTPRequestHandler):
    """The credentials that EKS Pod Identity gives to a pod that shows its token."""

    token = ""

    def do_GET(self):
        known = self.headers.get("Authorization") == self.token
        keys = {"AccessKeyId": "ASIAPODIDENTITY00000", "SecretAccessKey": "secret", "Token": "session"}
        body = json.dumps({**keys, "Expiration": "2099-01-01T00:00:00Z"}).encode() if known else b"{}"
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def serve_roles(address, token):
    handler = type("RolesOf", (Roles,), {"token": token})
    in_background(Server((address, 80), handler))


def pump(source, target):
    """Copies bytes in one direction until the end."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def join(client, target):
    """Connects a client with an address, in both directions."""
    try:
        there = socket.create_connection(target, timeout=10)
    except OSError:
        client.close()
        return
    there.settimeout(None)
    threading.Thread(target=pump, args=(client, there), daemon=True).start()
    pump(there, client)
    client.close()
    there.close()


class Listener:
    """Accepts connections until it is closed."""

    def __init__(self, address, port, handle):
        self.socket = socket.create_server((address, port), backlog=64)
        self.handle = handle
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(client,), daemon=True).start()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def service(address, port, targets):
    """The port of a Service: connections go to its pods by turns."""
    turn = itertools.cycle(targets)
    return Listener(address, port, lambda client: join(client, next(turn)))


def proxy(address, port, target):
    """An HTTP proxy that connects every client to one address. Returns it and what was asked for."""
    asked = set()

    def handle(client):
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 8192:
            data = client.recv(4096)
            if not data:
                return client.close()
            head += data
        method, wanted, _ = head.split(b" ", 2)
        if method != b"CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return client.close()
        asked.add(wanted.decode())
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        join(client, target)

    return Listener(address, port, handle), asked
