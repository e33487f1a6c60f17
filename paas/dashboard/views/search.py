"""Find apps and pages by name: `hel log` finds the logs of hello."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from paas.accounts.models import User
from paas.apps.selectors import apps_visible_to
from paas.dashboard import navigation
from paas.dashboard.navigation import Link
from paas.dashboard.requests import current_user

MOST_APPS = 8
OF_AN_APP = re.compile(r"/apps/([a-z0-9-]+)")


@require_GET
@login_required
@vary_on_headers("HX-Request")
def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "")[:60]
    here = OF_AN_APP.match(urlsplit(request.headers.get("HX-Current-URL", "")).path)
    hits = list(_hits(current_user(request), query.lower().split(), here.group(1) if here else ""))
    template = "components/results.html" if "HX-Request" in request.headers else "dashboard/search.html"
    return render(request, template, {"query": query, "hits": hits})


def _hits(user: User, words: list[str], here: str) -> Iterator[tuple[str, Link]]:
    """(the app, or nothing; the page). Pages of the app one is looking at come first, as they need one word only."""
    name, *rest = words or [""]
    apps = [app.name for app in apps_visible_to(user).filter(name__contains=name)[:MOST_APPS]]
    if here and words and apps_visible_to(user).filter(name=here).exists():
        yield from ((here, link) for link in navigation.app_pages(here) if _fits(link, words))
    for app in apps:
        pages = list(navigation.app_pages(app))
        yield from ((app, link) for link in (pages if rest else pages[:1]) if not rest or _fits(link, rest))
    yield from (("", link) for link in [*navigation.rail(user), *navigation.account()] if _fits(link, words))


def _fits(link: Link, words: list[str]) -> bool:
    return all(word in link.label.lower() for word in words)


urlpatterns = [path("search", search, name="search")]
