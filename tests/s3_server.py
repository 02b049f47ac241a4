"""A real S3 server for tests: moto, as a process of its own on a free loopback port.

It takes any key pair, so what is refused is tested with answers of a scripted server instead.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

START = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
BUCKET = "mlpf-test"
PAGE = 50
"""Keys in a page of a listing; 1000 elsewhere."""


def environment(endpoint):
    """Return the variables that make `endpoint` the one S3 of a process."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def run_server():
    """Start a server with one bucket; yield its URL; end it by its process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
    )
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        make_bucket(url)
        yield url
    finally:
        process.stdin.close()
        process.stdout.close()
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def make_bucket(url):
    """Create the bucket, waiting until the server answers."""
    request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=test/x/us-east-1/s3/aws4")
    end = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return
