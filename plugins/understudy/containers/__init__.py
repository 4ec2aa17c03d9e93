"""What runs once, or again and again, beside the services of docker-compose.yaml."""
