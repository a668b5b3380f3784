from __future__ import annotations

import pytest
from autopack_kit.globs import MalformedGlob, check_globs, out_of_scope


@pytest.mark.parametrize("glob", ["", "[z-a]", "a\\", "[[:alpha:]]"])
def test_a_glob_that_cannot_match_is_named_by_its_place(glob: str) -> None:
    with pytest.raises(MalformedGlob, match="is not a gitwildmatch glob") as caught:
        check_globs(["src/", glob])
    assert (caught.value.index, caught.value.glob) == (1, glob)


def test_globs_that_compile_alone_but_not_together_are_refused() -> None:
    globs = ["src/", *(f"{number}" + "*a" * 500 for number in range(200))]
    with pytest.raises(MalformedGlob, match="too complex to be matched at once") as caught:
        check_globs(globs)
    assert len(caught.value.glob) == max(map(len, globs))


def test_a_path_is_out_of_scope_outside_of_the_scope_or_in_a_non_goal() -> None:
    paths = ["src/a.py", "docs/b.md", "src/api/c.py", "docs/b.md"]
    assert out_of_scope(paths, ["src/"], ["src/api/"]) == ("docs/b.md", "src/api/c.py")
    assert out_of_scope(paths) == ()
