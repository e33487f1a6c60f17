"""The Platform API: v3 as Heroku's clients speak it, and what it lacks under the same conventions.

How a resource is added: one module in `v3/` (Heroku's resources) or `platform/` (our own). `app.py` finds it by itself;
it needs a `router`, and looks like `v3/apps.py`:

* `router = Router(tags=["Domains"])`. A path belongs to one module, with all of its methods: Django asks only the first.
  The app in a path is called `identity` (name or id), everything else by its noun: `/apps/{identity}/domains/{domain}`.
* `request: ApiRequest` comes first. `find_app(request, identity, Role.OPERATOR)` is the app, or the right 404 or 403:
  name the least role that may do this, as the pages do. `request.user` is who asks.
* Tokens: reading takes the scope `read`, everything else `write`. Another need is said once, on the router or the
  route: `auth=TokenAuth(reading=Scope.GLOBAL, writing=Scope.GLOBAL)` for what is about the account,
  `writing=Scope.READ` for a POST that changes nothing. A token for one app is refused outside of `/apps/{identity}`;
  with `for_one_app=True` it isn't, and the view looks at `request.token.app_id` itself (`visible_apps` does).
* What comes in is a `Body` of `schemas.py`, what goes out an `Answer` with exactly the fields of Heroku's schema for
  version=3; where 3.sdk has more, a subclass, chosen by `request.is_sdk`. A small function makes it from the row.
* A list is `[domain_answer(each) for each in page(request, rows, hostname="name")]`: `ranges.py` does Range, Next-Range
  and 206. No query for each row.
* Expected failures are `runtime.errors.UserError`s and are just raised; `errors.py` makes Heroku's ids of them. For a
  thing that isn't there: `raise missing("domain")`. More headers of the answer go into `request.answer_headers`.
* The view calls one service, which writes the audit event; the door, the request id and the address are bound already.
* `docs/reference/api.md` gets its lines, and `tests/unit/paas/api/` a module; the tests over all routes find it by
  themselves. In tests, `api.get("/apps")` of the fixture `api` is Alice's client, `ApiClient(user)` anybody's.
"""
