"""gunicorn's settings for both of our servers; what differs between them is in the Procfile.

The application is loaded before the fork, so that master and worker share its memory (20 MB less for each server).
"""

import gc

preload_app = True
worker_class = "gthread"
workers = 1
control_socket_disable = True  # it would lie in the home directory of whoever started it
accesslog = None
loglevel = "warning"


def when_ready(_server: object) -> None:
    """What is there now stays: the collector must not touch, and so copy, shared pages."""
    gc.collect()
    gc.freeze()
