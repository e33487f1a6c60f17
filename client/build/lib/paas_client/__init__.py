"""`paas`: a client of the platform's API. It knows nothing of how that is made, and needs click and httpx alone."""

__version__ = "0.1.0"
