"""The Django project: what people asked for, and every way to ask."""

from paas.celery import celery_app

__all__ = ["celery_app"]
