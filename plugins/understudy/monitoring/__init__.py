"""What Prometheus reads about nights, steps and champions: figures, their text, and its server."""
