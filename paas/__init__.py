"""The Django project: what people asked for, and every way to ask."""
