"""What each command does, without its printing: plant and options in, plain results out."""
