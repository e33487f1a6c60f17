"""How many of each process type."""

from __future__ import annotations

import pytest

from paas.formation.selectors import formation
from paas.formation.services import MAX_IN_ALL, MAX_QUANTITY, scale
from runtime.errors import InvalidInput
from tests.factories import make_app, make_change, make_release

pytestmark = pytest.mark.django_db
TYPES = {"web": "serve", "worker": "work", "clock": "tick"}


def test_there_is_one_of_each_until_somebody_scales():
    app = make_app()
    make_release(app, process_types=TYPES)
    assert {process.process: process.quantity for process in formation(app)} == {"web": 1, "worker": 1, "clock": 1}
    assert scale(app, {"web": 3, "worker": 0}, by=app.owner)
    assert {process.process: process.quantity for process in formation(app)} == {"web": 3, "worker": 0, "clock": 1}


def test_scaling_to_what_it_is_changes_nothing():
    app = make_app()
    make_release(app, process_types=TYPES)
    before = app.generation
    assert not scale(app, {"web": 1}, by=app.owner)
    app.refresh_from_db()
    assert app.generation == before


def test_a_scale_survives_the_next_deploy():
    app = make_app()
    make_release(app)
    scale(app, {"web": 4}, by=app.owner)
    make_release(app)
    assert [process.quantity for process in formation(app)] == [4]


@pytest.mark.parametrize(
    "wish", [{"cron": 1}, {"web": -1}, {"web": MAX_QUANTITY + 1}, dict.fromkeys(TYPES, MAX_IN_ALL // 3 + 1)]
)
def test_what_makes_no_sense_is_refused_and_nothing_is_changed(wish):
    app = make_app()
    make_release(app, process_types=TYPES)
    with pytest.raises(InvalidInput) as caught:
        scale(app, wish, by=app.owner)
    assert caught.value.hint
    assert {process.quantity for process in formation(app)} == {1}


def test_limits_come_with_the_release_and_what_it_leaves_out_is_the_default(settings):
    app = make_app()
    make_release(app, process_types=TYPES)
    make_change(app, limits={"web": {"memory_bytes": 64 << 20, "cpu_shares": 2048}, "clock": {"memory_bytes": 0}})
    sizes = {process.process: (process.memory_bytes, process.cpu_shares) for process in formation(app)}
    default = settings.ENV.app_memory_bytes
    assert sizes == {"web": (64 << 20, 2048), "worker": (default, 1024), "clock": (0, 1024)}
