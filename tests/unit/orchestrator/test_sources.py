"""URLs of repositories, and what a batch may say of its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_orchestrator.adapters.git.checkout import sparse_patterns
from autopack_orchestrator.adapters.git.remotes import choose_ref, parse_refs
from autopack_orchestrator.core.sources import Checkout, Publish, RemoteSource, Workplace, problems_with_workplace
from autopack_orchestrator.core.urls import join_remote_url, parse_remote_url, problem_with_host
from autopack_orchestrator.settings import roots_of

HOSTS = frozenset({"git.example.com", "git.example.com:2222", "127.0.0.1:8080", "plain.example.com:80"})


@pytest.mark.parametrize(
    ("given", "text", "authority"),
    [
        ("https://Git.Example.com/a/b.git", "https://git.example.com/a/b.git", "git.example.com"),
        ("https://git.example.com:443/a/", "https://git.example.com/a", "git.example.com"),
        ("ssh://git@git.example.com/a.git", "ssh://git@git.example.com/a.git", "git.example.com"),
        ("ssh://git@git.example.com:2222/a.git", "ssh://git@git.example.com:2222/a.git", "git.example.com:2222"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a", "[::1]:8443"),
    ],
)
def test_a_url_has_one_spelling(given: str, text: str, authority: str) -> None:
    url = parse_remote_url(given)
    assert (url.text, url.authority) == (text, authority)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "required"),
        ("/srv/repo", "use `path`"),
        ("git@git.example.com:a/b.git", "ssh://USER@HOST/PATH"),
        ("file:///srv/repo", "use `path`"),
        ("ext::sh -c whoami", "printable ASCII characters without blanks"),
        ("git://git.example.com/a", "use https or ssh"),
        ("ftp://git.example.com/a", "use https or ssh"),
        ("https://tok3n@git.example.com/a", "credential"),
        ("https://me:tok3n@git.example.com/a", "credential"),
        ("ssh://git:tok3n@git.example.com/a", "credential"),
        ("ssh://-oProxyCommand=x@git.example.com/a", "user"),
        ("ssh://-oProxyCommand=x/a", "host"),
        ("https:///a", "host"),
        ("https://git.example.com", "path"),
        ("https://git.example.com/../a", "'..'"),
        ("https://git.example.com/a?x=1", "'?'"),
        ("https://git.example.com/a#b", "'#'"),
        ("https://git.example.com:99999/a", "port"),
        ("https://git.example.com/a\nb", "printable"),
        ("https://git.example.com/" + "a" * 3000, "2048"),
        ("https://git\u2024example.com/a", "ASCII"),
    ],
)
def test_what_is_no_safe_url_is_refused_with_the_reason_and_without_its_secret(given: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # the sentence is checked below
        parse_remote_url(given)
    assert why in str(caught.value)
    assert "tok3n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("https://git.example.com/a", True),
        ("ssh://git@git.example.com:2222/a", True),
        ("https://git.example.com:8443/a", False),
        ("https://evil-git.example.com/a", False),
        ("https://git.example.com.evil.org/a", False),
        ("http://127.0.0.1:8080/a", True),
        ("http://127.0.0.1:8081/a", False),
        ("http://git.example.com/a", False),
        ("https://169.254.169.254/latest", False),
    ],
)
def test_only_hosts_on_the_list_are_connected_to_and_plain_http_only_here(given: str, allowed: bool) -> None:
    assert (problem_with_host(parse_remote_url(given), HOSTS) is None) is allowed


def test_no_host_is_allowed_without_a_list() -> None:
    problem = problem_with_host(parse_remote_url("https://git.example.com/a"), frozenset())
    assert problem is not None
    assert "AUTOPACK_ORCHESTRATOR_REMOTE_HOSTS" in problem


def test_a_relative_submodule_stays_on_the_host_of_its_repository() -> None:
    base = parse_remote_url("https://git.example.com/team/app.git")
    assert join_remote_url(base, "../lib.git").text == "https://git.example.com/team/lib.git"
    assert join_remote_url(base, "../../other/lib").text == "https://git.example.com/other/lib"
    assert join_remote_url(base, "https://elsewhere.example.com/x").host == "elsewhere.example.com"
    with pytest.raises(ValueError, match="path of a repository"):
        join_remote_url(base, "../../../../../..")


REMOTE = RemoteSource("https://git.example.com/a")


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        (Workplace(), []),
        (Workplace(REMOTE, publish=Publish.PUSH), []),
        (Workplace(REMOTE, publish=Publish.LOCAL), ["publish"]),
        (Workplace(publish=Publish.PUSH), ["publish"]),
        (Workplace(upload_id="a" * 64, publish=Publish.NONE), []),
        (Workplace(upload_id="../../etc", publish=Publish.NONE), ["upload_id"]),
        (Workplace(upload_id="a" * 64, publish=Publish.PUSH), ["publish"]),
        (Workplace(RemoteSource("ssh://git@git.example.com/a"), publish=Publish.NONE), ["remote.credential"]),
        (Workplace(RemoteSource("https://git.example.com/a", "../x"), publish=Publish.NONE), ["remote.credential"]),
        (Workplace(RemoteSource("https://git.example.com/a", "a.hosts"), publish=Publish.NONE), ["remote.credential"]),
        (Workplace(RemoteSource("https://elsewhere/a"), publish=Publish.NONE), ["remote.url"]),
        (
            Workplace(REMOTE, publish=Publish.NONE, checkout=Checkout(copy_untracked=(".env",))),
            ["checkout.copy_untracked"],
        ),
        (
            Workplace(REMOTE, publish=Publish.NONE, checkout=Checkout(worktreeinclude=True)),
            ["checkout.worktreeinclude"],
        ),
        (Workplace(checkout=Checkout(sparse_paths=("a/b", "c/"))), []),
        (Workplace(checkout=Checkout(sparse_paths=("/a",))), ["checkout.sparse_paths[0]"]),
        (Workplace(checkout=Checkout(sparse_paths=("a", "../b"))), ["checkout.sparse_paths[1]"]),
        (Workplace(checkout=Checkout(sparse_paths=("src/*",))), ["checkout.sparse_paths[0]"]),
        (Workplace(checkout=Checkout(sparse_paths=("",))), ["checkout.sparse_paths[0]"]),
        (Workplace(checkout=Checkout(sparse_paths=("a",) * 501)), ["checkout.sparse_paths"]),
        (Workplace(checkout=Checkout(copy_untracked=(".env", "config/*.local"))), []),
        (Workplace(checkout=Checkout(copy_untracked=("",))), ["checkout.copy_untracked[0]"]),
        (Workplace(checkout=Checkout(copy_untracked=("a",) * 101)), ["checkout.copy_untracked"]),
        (Workplace(upload_id="a" * 64, publish=Publish.NONE, checkout=Checkout(lfs=True)), ["checkout.lfs"]),
    ],
)
def test_what_is_wrong_with_a_source_is_named_by_its_field(place: Workplace, fields: list[str]) -> None:
    assert [field for field, _ in problems_with_workplace(place, HOSTS)] == fields


def test_sparse_patterns_are_those_of_a_cone() -> None:
    assert sparse_patterns(["a/b/c", "a/b", "d/"]).splitlines() == ["/*", "!/*/", "/a/", "!/a/*/", "/a/b/", "/d/"]


def test_tags_go_before_branches_and_annotated_ones_to_their_commit() -> None:
    tag, commit, branch = "a" * 40, "b" * 40, "c" * 40
    listing = f"{branch}\tHEAD\n{branch}\trefs/heads/x\n{tag}\trefs/tags/x\n{commit}\trefs/tags/x^{{}}\nwarning: x\n"
    refs = parse_refs(listing.encode())
    assert choose_ref(refs, "x") == commit
    assert choose_ref(refs, "") == branch
    assert choose_ref(refs, "refs/heads/x") == branch
    assert choose_ref(refs, "y") is None


def test_roots_are_for_all_tenants_or_for_the_one_they_name() -> None:
    roots = [Path("/srv/shared"), Path("a=/srv/a"), Path("b=/srv/b")]
    assert roots_of(roots, "b") == (Path("/srv/shared"), Path("/srv/b"))
    assert roots_of(roots, "c") == (Path("/srv/shared"),)
