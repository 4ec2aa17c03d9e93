"""What a step is made of and has made, so that it may stand for another; and what is kept of it."""
