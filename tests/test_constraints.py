"""`constraints.txt` is read and compared as pip would read it."""

from __future__ import annotations

from tests.constraints import FILE, REQUIREMENTS, ROOT, differences, named, reached


def test_a_requirements_file_is_read_without_options_and_comments() -> None:
    lines = ["# a comment", "-c constraints.txt", "", "pillow>=11", "pwdlib[argon2]>=0.2.1  # why"]
    assert [str(one) for one in named(lines)] == ["pillow>=11", "pwdlib[argon2]>=0.2.1"]


def test_what_a_requirement_needs_is_reached_with_its_extras() -> None:
    assert "argon2-cffi" not in reached(named(["pwdlib"]))
    assert "argon2-cffi" in reached(named(["pwdlib[argon2]"]))


def test_either_wheel_of_torch_does() -> None:
    versions = reached(named(["torch"]))
    assert "+" not in versions["torch"]
    assert not [name for name in versions if name.startswith(("nvidia-", "cuda-")) or name == "triton"]


def test_a_missing_a_stale_and_another_version_are_differences() -> None:
    assert differences("a==1\nb==1\n", "a==1\nb==1\n") == []
    assert differences("a==1\nb==1\n", "b==2\nc==1\n") == [
        "constraints.txt alone: a==1",
        "constraints.txt alone: b==1",
        "installed alone: b==2",
        "installed alone: c==1",
    ]


def test_both_requirements_files_take_it_in() -> None:
    assert FILE.is_file()
    for name in REQUIREMENTS:
        assert "-c constraints.txt" in (ROOT / name).read_text().splitlines()
