"""Pages of the dashboard."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from paas.dashboard import streams, views

urlpatterns = [
    path("", views.app_list, name="apps"),
    path("-/health", views.health, name="health"),
    path("login", views.SignIn.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("apps/<str:name>", views.app_overview, name="app"),
    path("apps/<str:name>/rollback", views.roll_back, name="rollback"),
    path("apps/<str:name>/builds/<int:number>", views.build_log, name="build"),
    path("-/streams/changes", streams.changes),
    path("-/streams/apps/<str:name>/changes", streams.changes_of_app),
    path("-/streams/apps/<str:name>/builds/<int:number>", streams.build),
    path("-/streams/apps/<str:name>/releases/<int:version>", streams.release),
]
