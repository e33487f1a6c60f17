"""Why a build can fail: the ids of `BuildFailed`, with what each means, and the few that several modules raise."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.errors import BuildFailed

#: Every id a build may end with. They are stored with the build and documented, so they never change.
FAILURES: Mapping[str, str] = {
    "no_buildpack": "Nothing in the source says what kind of app it is.",
    "no_process_types": "There is no Procfile, and the buildpack cannot tell how the app is started.",
    "procfile_invalid": "A line of the Procfile is not of the form `type: command`.",
    "app_json_invalid": "app.json is no JSON, or one of the values we read has the wrong shape.",
    "package_json_invalid": "package.json is no JSON object.",
    "python_version_invalid": "What .python-version or runtime.txt asks for is no version.",
    "python_version_unsupported": "The stack's Python is older than, or quite another than, what the source asks for.",
    "lock_files_conflict": "There are lock files of several package managers.",
    "dependencies_failed": "The package manager exited with an error, or a file it needs is missing.",
    "build_script_failed": "The build script of package.json, or the installation of the project itself, failed.",
    "collectstatic_failed": "Django's collectstatic failed.",
    "dockerfile_failed": "A step of the Dockerfile failed, or BuildKit refused the file.",
    "dockerfile_missing": "app.json names a Dockerfile that is not part of the push.",
    "base_image_unavailable": "A FROM line names an image that cannot be pulled.",
    "build_timeout": "The build took longer than it may.",
    "build_out_of_memory": "A step was killed because it took more memory than it may.",
    "image_too_large": "The image is larger than it may be.",
    "source_too_large": "The source has too many files, or too many bytes.",
    "source_invalid": "The archive is damaged, of a kind that we don't read, or holds what leads out of it.",
    "source_checksum": "The archive is not the one whose checksum was given.",
    "source_gone": "The archive was uploaded too long ago.",
    "source_refused": "The archive's address is no https URL, or leads into the platform's own network.",
    "source_unavailable": "The archive could not be fetched from where it should be.",
}


def out_of_memory(what: str, memory_bytes: int) -> BuildFailed:
    return BuildFailed(
        f"{what} was killed: it took more than the {memory_bytes // 1024**2} MB of memory that a build may have.",
        hint="Let it do less at once, or raise PAAS_BUILD_MEMORY_MB on the host.",
        id="build_out_of_memory",
    )


def timed_out(seconds: float) -> BuildFailed:
    return BuildFailed(
        f"The build took longer than {seconds:.0f} seconds and was stopped.",
        hint="The log above shows how far it came. Make it shorter, or raise PAAS_BUILD_TIMEOUT on the host.",
        id="build_timeout",
    )
