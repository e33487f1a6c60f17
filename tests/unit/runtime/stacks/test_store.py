from __future__ import annotations

import dataclasses

import pytest

from runtime.builder.api import HostSettings
from runtime.errors import InvalidInput
from runtime.images import Image, assemble
from runtime.registry import Registry
from runtime.stacks import debian13
from runtime.stacks.store import StackStore, base_level, build_level, run_level
from tests.unit.runtime.registry.registry_app import RegistryApp, transport_for


class Silence:
    def step(self, text: str) -> None:
        raise AssertionError(f"nothing should be made: {text}")

    def line(self, text: str) -> None:
        raise AssertionError(f"nothing should be made: {text}")

    def check(self) -> None: ...


def test_keys_are_stable_and_no_two_stacks_share_one():
    keys = [level(language).key for language in debian13.LANGUAGES for level in (run_level, build_level)]
    assert keys == [level(language).key for language in debian13.LANGUAGES for level in (run_level, build_level)]
    assert len(set(keys)) == len(keys)


def test_a_package_more_makes_another_stack_and_another_build_stack(monkeypatch):
    before = run_level("python").key, build_level("python").key, run_level("node").key, base_level().key
    python = debian13.LANGUAGES["python"]
    changed = {**debian13.LANGUAGES, "python": dataclasses.replace(python, run=(*python.run, "more"))}
    monkeypatch.setattr(debian13, "LANGUAGES", changed)
    after = run_level("python").key, build_level("python").key, run_level("node").key, base_level().key
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True, True]


def test_a_build_stack_lies_on_its_run_stack():
    assert [level.name for level in build_level("python").all] == ["base", "python", "python-build"]


def test_a_language_that_needs_nothing_at_run_time_runs_on_the_base():
    assert run_level("go") == base_level()
    assert [level.name for level in build_level("go").all] == ["base", "go-build"]


def test_a_language_nobody_knows_is_refused_with_those_we_know():
    with pytest.raises(InvalidInput, match="python"):
        run_level("cobol")


def test_a_stack_the_registry_has_is_not_made(tmp_path):
    registry = Registry("http://registry.test", transport=transport_for(RegistryApp()))
    level = run_level("python")
    image = assemble(Image.empty(), [], entrypoint=["/paas/launcher"])
    registry.put_image(level.repository, image, level.key)
    store = StackStore(registry, work_dir=tmp_path / "never", host=HostSettings())
    assert store.find("node") is None
    stack = store.run_stack("python", Silence())
    assert (stack.digest, stack.repository, stack.language) == (image.digest, "stacks/debian-13-python", "python")
    assert not (tmp_path / "never").exists()
