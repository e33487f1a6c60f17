"""Views, one module per subject; each ends with its own `urlpatterns`, which `paas.dashboard.urls` collects.

Find the thing the caller may see, validate, call one service, present the result.
"""
