"""The compile cache, with real processes and a really unusable folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from byoc.cache import Cache, CacheWarning


def writing(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def test_what_was_put_is_found_again_by_another_cache_on_the_same_folder(tmp_path: Path) -> None:
    key = Cache.key("model", b"\0\1", "csource 1.0")
    stored = Cache(tmp_path).put(key, "part.o", writing("object"))
    found = Cache(tmp_path).get(key, "part.o")
    assert found == stored
    assert found is not None and found.read_text() == "object" and found.suffix == ".o"


def test_an_absent_entry_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "not yet there")
    cache_key = Cache.key("a")
    assert cache.get(cache_key, "x") is None
    cache.put(cache_key, "a-x", writing("1"))
    assert cache.get(cache_key, "x") is None
    assert cache.get(Cache.key("b"), "a-x") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [(("ab", "c"), ("a", "bc")), (("a",), (b"a",)), (("a", ""), ("a",)), (("a", "b"), ("b", "a"))],
)
def test_different_parts_give_different_keys(one: tuple[str | bytes, ...], other: tuple[str | bytes, ...]) -> None:
    assert Cache.key(*one) != Cache.key(*other)


def test_a_damaged_entry_counts_as_absent_and_can_be_rebuilt(tmp_path: Path) -> None:
    cache, key = Cache(tmp_path), Cache.key("model")
    path = cache.put(key, "library.so", writing("good content"))
    path.write_text("bad! content")
    assert cache.get(key, "library.so") is None
    assert not path.exists()
    assert cache.put(key, "library.so", writing("good content")).read_text() == "good content"
    assert cache.get(key, "library.so") == path


def test_a_truncated_entry_counts_as_absent(tmp_path: Path) -> None:
    cache, key = Cache(tmp_path), Cache.key("model")
    path = cache.put(key, "library.so", writing("good content"))
    path.write_text("")
    assert cache.get(key, "library.so") is None


def test_a_failing_writer_leaves_nothing_behind_and_its_error_is_raised(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("compiler crashed")

    cache, key = Cache(tmp_path), Cache.key("model")
    with pytest.raises(RuntimeError, match="compiler crashed"):
        cache.put(key, "part.o", fails)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert cache.get(key, "part.o") is None


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\0b"])
def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no cache entry"):
        Cache(tmp_path).put(Cache.key("a"), name, writing("x"))


def test_an_unusable_folder_only_warns_and_the_work_goes_on(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    cache, key = Cache(in_the_way), Cache.key("a")
    with pytest.warns(CacheWarning, match="cannot be used"):
        path = cache.put(key, "x", writing("1"))
    assert path.read_text() == "1"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning is enough
        assert cache.put(key, "y", writing("2")).read_text() == "2"
        assert cache.get(key, "x") == path
        assert cache.engine_dir("csource", key).is_dir()
    del cache
    assert not path.exists()


@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "as another error's cause"])
def test_a_full_disk_only_warns(tmp_path: Path, wrapped: bool) -> None:
    def write(path: Path) -> None:
        if path.is_relative_to(tmp_path):
            path.write_text("ha")
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if wrapped:
                raise RuntimeError("the artifact cannot be written") from full
            raise full
        path.write_text("half no more")

    cache = Cache(tmp_path)
    with pytest.warns(CacheWarning, match="No space left"):
        assert cache.put(Cache.key("a"), "x", write).read_text() == "half no more"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_that_is_full_everywhere_only_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path) -> None:
        path.write_text("ha")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache = Cache(tmp_path / "cache")
    with pytest.warns(CacheWarning) as caught:
        assert cache.put(Cache.key("a"), "x", write) is None
    assert ["nor can the temporary folder" in str(w.message) for w in caught] == [False, True]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_fault_of_the_writer_is_raised(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        raise KeyError("not the disk's fault")

    with pytest.raises(KeyError, match="not the disk's fault"):
        Cache(tmp_path).put(Cache.key("a"), "x", write)


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path / "named"))
    assert Cache().root == tmp_path / "named"
    monkeypatch.delenv("BYOC_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache().root == tmp_path / ".cache" / "byoc"


def test_each_codegen_has_a_folder_for_its_engines(tmp_path: Path) -> None:
    cache, key = Cache(tmp_path), Cache.key("model")
    folder = cache.engine_dir("dnnl", key)
    (folder / "engine").write_text("kept")
    assert (Cache(tmp_path).engine_dir("dnnl", key) / "engine").read_text() == "kept"
    assert cache.engine_dir("csource", key) != folder
    with pytest.raises(ValueError, match="no engine folder"):
        cache.engine_dir("../dnnl", key)


HAMMER = """
import pathlib, sys
from byoc.cache import Cache
cache, key = Cache(sys.argv[1]), Cache.key("the one key")
for turn in range(150):
    content = f"{sys.argv[2]} {turn}" * 500
    path = cache.put(key, "library.so", lambda part: part.write_text(content) and None)
    assert path.read_text() == content, "an entry changed after it was put"
    found = cache.get(key, "library.so")
    assert found is not None and len(set(found.read_text().split())) >= 2, "no valid entry"
"""


def test_two_processes_may_hammer_one_key(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", HAMMER, str(tmp_path), name], stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, said
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(names) == 300
    assert not [name for name in names if name.startswith("part-")]
