"""Serves one model by MLflow's own scoring server. Runs in the model's environment, not in ours.

Started as ``python serve_model.py MODEL DESCRIPTOR``: the model's folder, and a listening socket,
which is inherited so that no other program can take its port meanwhile. It is what ``mlflow models
serve`` starts, without the six seconds of CPU that MLflow's command line takes: uvicorn with MLflow
3, gunicorn with older ones. A model's Python may be as old as 3.6.
"""

import os
import socket
import sys
from importlib.util import find_spec

# EX_UNAVAILABLE of sysexits.h.
LACKING = 69


def main(argv: "list[str]") -> int:
    """Serve until TERM; return the exit code."""
    model, descriptor = argv
    try:
        from mlflow.pyfunc import scoring_server

        # The app takes its model from this variable, and loads it when it is imported.
        os.environ[scoring_server._SERVER_MODEL_PATH] = model
        serve = _uvicorn if find_spec("mlflow.pyfunc.scoring_server.app") else _gunicorn
        return serve(int(descriptor))
    except ImportError as error:
        sys.stderr.write(
            f"Found: the environment that the model records has no {error.name}. Allowed: one that"
            " MLflow can serve in. Next: log the model with mlflow among its pip_requirements.\n"
        )
        return LACKING


def _uvicorn(descriptor: int) -> int:
    import uvicorn

    # The proxy uses its connections again: by default uvicorn closes them after five idle seconds,
    # maybe just while the next request is under way.
    config = uvicorn.Config(
        "mlflow.pyfunc.scoring_server.app:app", access_log=False, timeout_keep_alive=3600
    )
    # Loads the model, too.
    config.load()
    # Keras, if the model has brought it, would draw a progress bar for every request.
    if "keras" in sys.modules:
        sys.modules["keras"].config.disable_interactive_logging()
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=descriptor)])
    return 0 if server.started else 1


def _gunicorn(descriptor: int) -> int:
    from gunicorn.app.wsgiapp import run

    # One process, as MLflow starts it; with threads connections are used again here, too.
    options = ("--workers=1", "--threads=8", "--keep-alive=3600", "--timeout=3600")
    app = "mlflow.pyfunc.scoring_server.wsgi:app"
    sys.argv = ["gunicorn", f"--bind=fd://{descriptor}", *options, app]
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
