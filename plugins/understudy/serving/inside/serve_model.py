"""Serves one model by MLflow's own scoring server. Runs in the model's environment, not in ours.

Started as ``python serve_model.py MODEL DESCRIPTOR``: the model's folder, and a listening socket,
which is inherited so that no other program can take its port meanwhile. It is what ``mlflow models
serve`` starts, without the six seconds of CPU that MLflow's command line takes.
"""

import os
import socket
import sys

# EX_UNAVAILABLE of sysexits.h.
LACKING = 69


def main(argv: list[str]) -> int:
    """Serve until TERM; return the exit code."""
    model, descriptor = argv
    try:
        import uvicorn
        from mlflow.pyfunc import scoring_server
    except ImportError as error:
        sys.stderr.write(
            f"Found: the environment that the model records has no {error.name}. Allowed: one that"
            " MLflow can serve in. Next: log the model with mlflow among its pip_requirements.\n"
        )
        return LACKING
    # The app takes its model from this variable, and loads it when it is imported (MLflow 3.17).
    os.environ[scoring_server._SERVER_MODEL_PATH] = model
    # The proxy uses its connections again: by default uvicorn closes them after five idle seconds,
    # maybe just while the next request is under way.
    config = uvicorn.Config(
        "mlflow.pyfunc.scoring_server.app:app", access_log=False, timeout_keep_alive=3600
    )
    # Loads the model, too.
    config.load()
    # Keras, if the model has brought it, would draw a progress bar for every request.
    if keras := sys.modules.get("keras"):
        keras.config.disable_interactive_logging()
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=int(descriptor))])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
