"""From a repository's address to a read-only checkout of one commit."""
