from __future__ import annotations

from autopack_client.evidence import parse_patch

PATCH = b"""diff --git a/src/old name.py b/src/new.py
similarity index 90%
rename from src/old name.py
rename to src/new.py
index 1..2 100644
--- a/src/old name.py\t
+++ b/src/new.py
@@ -3,2 +3 @@ class Client:
---- removed that looks like a header
-removed
+    retry_count = max_attempts + retry_count
@@ -9 +9,2 @@ def send(self):
-x
++++ b/not/a/path.py
+diff --git a/not/this b/not/this
\\ No newline at end of file
diff --git a/gone.py b/gone.py
deleted file mode 100644
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-bye
diff --git a/tool b/tool
old mode 100644
new mode 100755
diff --git "a/ta\\tb.bin" "b/ta\\tb.bin"
Binary files "a/ta\\tb.bin" and "b/ta\\tb.bin" differ
diff --git a/uv.lock b/uv.lock
--- a/uv.lock
+++ b/uv.lock
@@ -1 +1 @@
-a
+generated_name generated_name generated_name
"""


def test_a_patch_gives_both_ends_of_a_rename_deletions_modes_and_binaries() -> None:
    assert parse_patch(PATCH.split(b"\n")).paths == (
        "src/old name.py",
        "src/new.py",
        "gone.py",
        "tool",
        "ta\tb.bin",
        "uv.lock",
    )


def test_content_that_looks_like_a_patch_is_content() -> None:
    evidence = parse_patch(PATCH.split(b"\n"))
    assert evidence.hunk_headers == ("class Client:", "def send(self):")
    assert {"retry_count", "max_attempts", "path", "diff"} <= set(evidence.added_identifiers)
    assert "generated_name" not in evidence.added_identifiers


def test_lists_are_bounded() -> None:
    files = [f"diff --git a/f{n} b/f{n}\n@@ -0,0 +1 @@ def function{n}():\n+identifier{n}" for n in range(3_000)]
    evidence = parse_patch("\n".join(files).encode().split(b"\n"))
    assert (len(evidence.paths), len(evidence.hunk_headers), len(evidence.added_identifiers)) == (2_000, 10, 30)


def test_garbage_is_no_evidence() -> None:
    assert parse_patch([b"\xff\x00", b"@@ nonsense", b"diff --git x", b'diff --git "', b"+++ ", b""]).paths == ()


def test_evidence_goes_on_the_wire_as_it_is() -> None:
    evidence = parse_patch(PATCH.split(b"\n"))
    assert tuple(evidence.to_proto().paths) == evidence.paths


def test_each_file_has_what_belongs_to_it() -> None:
    evidence = parse_patch(PATCH.split(b"\n"))
    assert [file.path for file in evidence.files] == ["src/new.py", "gone.py", "tool", "ta\tb.bin", "uv.lock"]
    first, gone, *others = evidence.files
    assert first.hunk_headers == ("class Client:", "def send(self):")
    assert {"retry_count", "max_attempts"} <= set(first.added_identifiers)
    assert (gone.hunk_headers, gone.added_identifiers) == ((), ())
    assert [file.added_identifiers for file in others] == [(), (), ()]
    assert not any(file.added for file in evidence.files)


def test_a_new_file_is_marked_so() -> None:
    patch = b"diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+first"
    (file,) = parse_patch(patch.split(b"\n")).files
    assert (file.path, file.added, file.added_identifiers) == ("new.py", True, ("first",))


def test_files_are_bounded_and_each_is_too() -> None:
    hunks = "\n".join(f"@@ -0,0 +1 @@ def function{n}():\n+identifier{n}" for n in range(50))
    evidence = parse_patch("\n".join(f"diff --git a/f{n} b/f{n}\n{hunks}" for n in range(250)).encode().split(b"\n"))
    assert len(evidence.files) == 200
    assert {(len(file.hunk_headers), len(file.added_identifiers)) for file in evidence.files} == {(10, 30)}
    message = evidence.to_proto()
    assert [file.path for file in message.files] == [f"f{n}" for n in range(200)]
    assert len(message.files[0].added_identifiers) == 30


def test_the_hash_of_a_submodule_is_no_identifier() -> None:
    header = [b"diff --git a/lib b/lib", b"index 1..2 160000", b"--- a/lib", b"+++ b/lib", b"@@ -1 +1 @@"]
    evidence = parse_patch([*header, b"-Subproject commit " + b"ab12" * 10, b"+Subproject commit " + b"cd34" * 10])
    assert evidence.paths == ("lib",)
    assert not evidence.added_identifiers
