"""The zip of `deploy/build zip` as a Lambda function: its runtime, its URL, its queue and its schedule."""

import base64
import json
import queue
import subprocess
import time
import uuid
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

RUNTIME = "/2018-06-01/runtime/"
# As in deploy/aws/stack.yaml, in seconds.
LIMIT, SCHEDULE, BATCH = 30, 60, 10
NAMES = {
    "AWS_LAMBDA_FUNCTION_NAME": "tinqs-ci", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/tinqs-ci",
    "AWS_LAMBDA_LOG_STREAM_NAME": "one",
}


class Function:
    """One instance of the function, and what invokes it."""

    def __init__(self, dir, archive, environment, sqs):
        self.events, self.answers, self.over = queue.Queue(), {}, Event()
        self.sqs, self.queue = sqs, environment["TINQS_CI_QUEUE"].removeprefix("sqs:")
        self.failures = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        address = f"127.0.0.1:{self.http.server_port}"
        self.url = f"http://{address}/webhook"
        Thread(target=self.http.serve_forever, daemon=True).start()
        task = dir / "task"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(task)
        (task / "bootstrap").chmod(0o755)
        log = open(dir / "function.log", "wb")
        # The runtime starts it by this name, without arguments and in this directory.
        self.process = subprocess.Popen(
            [task / "bootstrap"], cwd=task, stdout=log, stderr=log,
            env={**environment, **NAMES, "AWS_LAMBDA_RUNTIME_API": address},
        )
        self.threads = [Thread(target=self.schedule), Thread(target=self.map_queue)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.process.kill()
        self.process.wait()
        self.http.shutdown()
        assert not self.failures, f"invocations that failed: {self.failures}"

    def invoke(self, event):
        """Returns the answer of the function, or None if the invocation failed."""
        id, answer = str(uuid.uuid4()), queue.Queue(1)
        self.answers[id] = answer
        self.events.put((id, event))
        verb, said = answer.get(timeout=LIMIT + 20)
        if verb != "response":
            self.failures.append(said)
            return None
        return said

    def schedule(self):
        while True:
            self.invoke({"action": "cleanup"})
            if self.over.wait(SCHEDULE):
                return

    def map_queue(self):
        """Hands messages over in batches, and deletes those that did not fail."""
        while not self.over.is_set():
            found = self.sqs.receive_message(
                QueueUrl=self.queue, MaxNumberOfMessages=BATCH, WaitTimeSeconds=1, AttributeNames=["All"]
            ).get("Messages", [])
            if not found:
                continue
            answer = self.invoke({"Records": [record(message) for message in found]}) or {}
            failed = {one["itemIdentifier"] for one in answer.get("batchItemFailures", [])}
            for message in found:
                if message["MessageId"] not in failed:
                    self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])


def record(message):
    return {
        "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"], "attributes": message["Attributes"], "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"], "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:tinqs-ci-wake",
    }


def request(path, headers, body):
    """Returns a request to the Function URL, payload version 2."""
    http = {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": ""}
    context = {"accountId": "anonymous", "apiId": "a", "domainName": "a.example.com", "http": http}
    context |= {"requestId": "id", "routeKey": "$default", "stage": "$default"}
    context |= {"time": "01/Dec/2026:00:00:00 +0000", "timeEpoch": int(time.time() * 1000)}
    return {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": headers, "requestContext": context,
        "body": base64.b64encode(body).decode(), "isBase64Encoded": True,
    }


def handler(function):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            """The runtime's next event, for which the function waits."""
            id, event = function.events.get()
            deadline = str(int((time.time() + LIMIT) * 1000))
            self.answered(200, json.dumps(event).encode(), {
                "Lambda-Runtime-Aws-Request-Id": id, "Lambda-Runtime-Deadline-Ms": deadline,
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:tinqs-ci",
            })

        def do_POST(self):
            """The function's answer, or a delivery of the forge."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith(RUNTIME):
                _, id, verb = self.path.removeprefix(RUNTIME).split("/")
                function.answers.pop(id).put((verb, json.loads(body or b"null")))
                return self.answered(202, b"")
            headers = {name.lower(): value for name, value in self.headers.items()}
            said = function.invoke(request(self.path, headers, body)) or {"statusCode": 502}
            self.answered(said["statusCode"], b"")

        def answered(self, status, body, headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing: the function has a log."""

    return Handler
