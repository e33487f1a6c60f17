"""What is done with hooks: a module for each kind."""
