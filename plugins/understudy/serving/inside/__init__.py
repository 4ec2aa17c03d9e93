"""Scripts that run in a model's environment, which has MLflow and the model's libraries, not us."""
