"""llama.cpp's server as the program of its image on localcluster: the flags of the ModelRuntime `llamacpp`.

The server itself is the real one, from the package xllamacpp.
"""

import argparse
import signal
import threading

import xllamacpp


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--ctx-size", type=int, default=0)
    parser.add_argument("--metrics", action="store_true")
    return parser.parse_args(argv)


def main() -> None:
    """Serve until told to stop."""
    chosen = parse()
    params = xllamacpp.CommonParams()
    params.model.path = chosen.model
    params.model_alias = {chosen.alias}
    params.hostnames = [chosen.host]
    params.port = chosen.port
    params.cpuparams.n_threads = chosen.threads
    params.n_parallel = chosen.parallel
    params.n_ctx = chosen.ctx_size
    params.endpoint_metrics = chosen.metrics
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = xllamacpp.Server(params)
    print(f"{chosen.alias} is served at {server.listening_address}", flush=True)
    stopped.wait()


if __name__ == "__main__":
    main()
