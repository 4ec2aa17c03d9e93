"""What Prometheus is told of nights, steps and champions: figures, their text, and its server."""
