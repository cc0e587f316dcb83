"""Serve until standard input ends: `python -m test_provider [--apply]`; prints the port."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent import futures
from pathlib import Path

import grpc  # has no types
from pulumi.runtime.proto import provider_pb2_grpc

from . import kube
from .provider import TestProvider, replace_table

_LARGEST = 400 << 20  # bytes of a message, as of Pulumi's own plugins


def main() -> None:
    """Read the command line and the environment, and serve."""
    parser = argparse.ArgumentParser(prog="test_provider", description=__doc__)
    parser.add_argument("--apply", action="store_true", help="allow more than a preview")
    parser.add_argument("--log", type=Path, help="a file that gets a line of JSON for each change")
    options = parser.parse_args()
    address = os.environ.get("PULUMI_MLFLOW_KUBE")
    provider = TestProvider(
        apply=options.apply,
        log=options.log,
        cluster=kube.Cluster(address) if address else None,
        replace=replace_table(os.environ.get("PULUMI_MLFLOW_REPLACES")),
    )
    limits = [("grpc.max_receive_message_length", _LARGEST)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=limits)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()  # whoever started us has ended
    server.stop(None)


main()
