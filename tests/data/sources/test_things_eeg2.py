"""Downloads of a miniature THINGS-EEG2 from a server that misbehaves."""

import hashlib
import io
import json
import shutil
import zipfile

import pytest

from helpers import raw_recordings, web
from helpers.zipped import zip_folder
from img2eeg_jax.data import layout
from img2eeg_jax.data.sources import http, things_eeg2
from img2eeg_jax.errors import InputError

SUBJECTS = (1, 3)


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """The data set as it shall lie on disk. Not to be changed."""
    data_dir = tmp_path_factory.mktemp("things") / "data"
    raw_recordings.write_images(data_dir, {"training": 3, "test": 2})
    for subject in (*SUBJECTS, 2):
        raw_recordings.write_raw(data_dir, sessions=(1, 2), subject=subject)
        folder = data_dir / "preprocessed_data" / layout.subject_name(subject)
        folder.mkdir(parents=True)
        for partition in layout.PARTITIONS:
            content = f"{subject} {partition}".encode() * 3000
            (folder / f"preprocessed_eeg_{partition}.npy").write_bytes(content)
    return data_dir


@pytest.fixture(scope="session")
def files(original):
    """Name at a mirror → content."""
    images = original / "image_set"
    found = {
        "image_set/training_images.zip": zip_folder(
            images / "training_images", "training_images/"
        ),
        "image_set/test_images.zip": zip_folder(images / "test_images"),
        "image_set/image_metadata.npy": (images / "image_metadata.npy").read_bytes(),
    }
    for kind in ("preprocessed_data", "raw_data"):
        for folder in (original / kind).iterdir():
            top = "" if kind == "raw_data" else f"{folder.name}/"
            found[f"{kind}/{folder.name}.zip"] = zip_folder(folder, top)
    return found


@pytest.fixture
def server(files):
    with web.serving() as server:
        server.files = {f"/mirror/{name}": body for name, body in files.items()}
        yield server


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


@pytest.fixture
def hosts(server, files):
    """OSF and Figshare, at the server."""
    names = sorted(name for name in files if name.startswith("preprocessed_data/"))
    # A folder, and two pages.
    pages = {
        "/osf/": {
            "data": [
                {
                    "attributes": {"kind": "folder", "name": "more"},
                    "relationships": {
                        "files": {"links": {"related": {"href": f"{server.url}/more/"}}}
                    },
                },
                osf_file(server, files, names[0]),
            ],
            "links": {"next": f"{server.url}/osf2/"},
        },
        "/osf2/": {"data": [osf_file(server, files, names[1])], "links": {}},
        "/more/": {"data": [osf_file(server, files, names[2])], "links": {}},
        "/figshare": [
            {
                "name": name.split("/")[1],
                "size": len(files[name]),
                "download_url": f"{server.url}/mirror/{name}",
                "computed_md5": hashlib.md5(files[name]).hexdigest(),
            }
            for name in files
            if name.startswith("raw_data/")
        ],
    }
    for path, content in pages.items():
        server.files[path] = json.dumps(content).encode()
    everything = io.BytesIO()
    with zipfile.ZipFile(everything, "w") as zipped:
        for name in names:
            zipped.writestr(name.split("/")[1], files[name])
    server.files["/all"] = everything.getvalue()
    return things_eeg2.Hosts(
        images={
            name.split("/")[1]: f"{server.url}/mirror/{name}"
            for name in files
            if name.startswith("image_set/")
        },
        preprocessed=f"{server.url}/osf/",
        preprocessed_all=f"{server.url}/all",
        raw=f"{server.url}/figshare",
    )


def osf_file(server, files, name):
    return {
        "attributes": {
            "kind": "file",
            "name": name.split("/")[1],
            "size": len(files[name]),
            "extra": {"hashes": {"sha256": hashlib.sha256(files[name]).hexdigest()}},
        },
        "links": {"download": f"{server.url}/mirror/{name}"},
    }


@pytest.fixture
def fetch(tmp_path, hosts):
    """Returns a function that downloads, and gives what it logged."""

    def run(eeg="preprocessed", mirrors=(), subjects=SUBJECTS):
        lines = []
        things_eeg2.fetch(
            tmp_path / "data", subjects, eeg, mirrors, log=lines.append, hosts=hosts
        )
        return lines

    return run


def check_same(data_dir, original, kinds, snapshot):
    """Checks that a folder holds the data set, two subjects of it, and no leftovers."""
    found = {
        name: body for name, body in snapshot(data_dir).items() if body is not None
    }
    checksums = found.pop("downloads/checksums.json")
    expected = {
        name: body
        for name, body in snapshot(original).items()
        if body is not None and name.startswith(kinds) and "sub-02" not in name
    }
    assert found == expected
    assert set(data_dir.iterdir()) == {
        data_dir / name for name in (*kinds, "downloads")
    }
    return json.loads(checksums)


KINDS = {
    "preprocessed": ("image_set", "preprocessed_data"),
    "raw": ("image_set", "raw_data"),
}


@pytest.mark.parametrize("eeg", KINDS)
def test_hosts(eeg, fetch, server, tmp_path, original, files, snapshot):
    fetch(eeg)
    checksums = check_same(tmp_path / "data", original, KINDS[eeg], snapshot)
    for name, sha256 in checksums.items():
        assert hashlib.sha256(files[name]).hexdigest() == sha256
    assert len(checksums) == 5
    asked = [path for _, path, _ in server.requests]
    assert not any("sub-02" in path or path == "/all" for path in asked)


def test_what_is_there_costs_no_network(fetch, server):
    fetch()
    server.requests.clear()
    assert fetch() == []
    assert not server.requests


def test_plan_needs_no_network_and_shrinks(fetch, tmp_path):
    planned = things_eeg2.plan(tmp_path / "data", (1, 3), "preprocessed")
    assert [file.name for file in planned] == [
        "image_set/training_images.zip",
        "image_set/test_images.zip",
        "image_set/image_metadata.npy",
        "preprocessed_data/sub-01.zip",
        "preprocessed_data/sub-03.zip",
    ]
    fetch(subjects=(1,))
    planned = things_eeg2.plan(tmp_path / "data", (1, 3), "preprocessed")
    assert [file.name for file in planned] == ["preprocessed_data/sub-03.zip"]
    with pytest.raises(InputError, match="from 1 to 10, found 11"):
        things_eeg2.plan(tmp_path / "data", (1, 11), "preprocessed")


def test_mirrors_come_first_and_fail_over(fetch, server, tmp_path, original, snapshot):
    mirrors = [f"{server.url}/nothing", f"{server.url}/mirror/"]
    lines = fetch(mirrors=mirrors)
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)
    assert sum("/nothing/" in line and "found" in line for line in lines) == 5
    assert not any(path == "/osf/" for _, path, _ in server.requests)


def test_a_folder_can_be_a_mirror(fetch, server, tmp_path, original, files, snapshot):
    for name, body in files.items():
        path = tmp_path / "disk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    before = snapshot(tmp_path / "disk")
    fetch("raw", mirrors=[(tmp_path / "disk").as_uri()])
    check_same(tmp_path / "data", original, KINDS["raw"], snapshot)
    assert not server.requests
    assert snapshot(tmp_path / "disk") == before


def cut_often(server):
    server.cut_after = [100, 3000, 0, 50, 5000]


def fail_at_first(server):
    # More than the listing's own attempts would hide.
    server.get_failures = [503, 500, 502, 408, 429]


def no_ranges(server):
    server.ranges, server.cut_after = False, [200, 1000]


def redirect(server):
    for path in list(server.files):
        if path.startswith("/mirror/"):
            server.files["/moved" + path] = server.files.pop(path)
            server.redirects[path] = "/moved" + path


@pytest.mark.parametrize("misbehave", [cut_often, fail_at_first, no_ranges, redirect])
def test_servers_that_misbehave(misbehave, fetch, server, tmp_path, original, snapshot):
    misbehave(server)
    fetch()
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)


@pytest.mark.parametrize("lie", [-100, 100])
def test_wrong_lengths_are_not_believed(
    lie, fetch, server, tmp_path, original, snapshot
):
    name = "preprocessed_data/sub-01.zip"
    server.files["/bad/" + name] = server.files["/mirror/" + name]
    server.lies["/bad/" + name] = lie
    fetch(mirrors=[f"{server.url}/bad"])
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b""])
@pytest.mark.parametrize(
    "name", ["image_set/image_metadata.npy", "preprocessed_data/sub-01.zip"]
)
def test_pages_in_place_of_files(
    body, name, fetch, server, tmp_path, original, snapshot
):
    server.files["/bad/" + name] = body
    lines = fetch(mirrors=[f"{server.url}/bad"])
    assert any(line.startswith(f"{name}: ") for line in lines)
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)


def test_another_content_than_the_first_is_refused(
    fetch, server, tmp_path, files, original, snapshot
):
    fetch()
    shutil.rmtree(tmp_path / "data" / "preprocessed_data" / "sub-01")
    # Whole and of the right form, but of another subject.
    name = "preprocessed_data/sub-01.zip"
    server.files["/bad/" + name] = files["preprocessed_data/sub-03.zip"]
    lines = fetch(mirrors=[f"{server.url}/bad"])
    assert any("expected SHA-256" in line for line in lines)
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)


def test_checksums_of_the_host_are_checked(fetch, server, tmp_path):
    body = bytearray(server.files["/mirror/raw_data/sub-01.zip"])
    body[500] ^= 255
    server.files["/mirror/raw_data/sub-01.zip"] = bytes(body)
    with pytest.raises(InputError, match=r"raw_data/sub-01.zip: .* expected MD5"):
        fetch("raw")
    assert not (tmp_path / "data" / "raw_data").exists()


def test_archive_of_all_subjects_where_there_is_no_list(
    fetch, server, tmp_path, original, snapshot
):
    server.files["/osf/"] = b"{}"
    fetch()
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)
    asked = [path for method, path, _ in server.requests if method == "GET"]
    assert asked.count("/all") == 1


def test_no_source_is_told_in_one_line(fetch, server, tmp_path):
    server.files = {}
    with pytest.raises(
        InputError, match=r"training_images.zip: .*found: .*404"
    ) as told:
        fetch(mirrors=[f"{server.url}/mirror"])
    assert "\n" not in str(told.value)
    assert f"{server.url}/mirror/image_set/training_images.zip" in str(told.value)


def test_malicious_archive_is_refused(fetch, server, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("../../escaped.npy", "x")
    server.files["/mirror/image_set/training_images.zip"] = content.getvalue()
    with pytest.raises(InputError, match="points out of the folder"):
        fetch()
    assert not list(tmp_path.rglob("escaped*"))
    assert not (tmp_path / "data" / "image_set").exists()


@pytest.mark.parametrize("stop_at", range(1, 12))
def test_interrupted_anywhere_the_same_call_goes_on(
    stop_at, fetch, tmp_path, original, snapshot, monkeypatch
):
    """Stopped at the n-th step that touches the disk."""
    calls = []

    def counting(function):
        def call(*args, **kwargs):
            calls.append(function)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for module, name in (
            (things_eeg2.archives, "unzip"),
            (things_eeg2, "_move_missing"),
            (things_eeg2, "write_text"),
            (http.os, "replace"),
        ):
            patch.setattr(module, name, counting(getattr(module, name)))
        with pytest.raises(KeyboardInterrupt):
            fetch()
    fetch()
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)


def test_leftovers_of_killed_calls_go(fetch, tmp_path, original, snapshot):
    """Killed after the last file was in place, and amid another subject's download."""
    fetch(subjects=(1,))
    downloads = tmp_path / "data" / "downloads"
    for name in ("preprocessed_data-sub-01.zip", "preprocessed_data-sub-03.zip"):
        (downloads / name).mkdir()
        (downloads / name / "x.part").write_text("half")
    (tmp_path / "data" / ".unpacked.incomplete-elsewhere-1-x").mkdir()
    fetch(subjects=(1,))
    left = sorted(path.name for path in downloads.iterdir())
    assert left == ["checksums.json", "preprocessed_data-sub-03.zip"]
    (tmp_path / "data" / ".unpacked.incomplete-elsewhere-1-x").rmdir()
    fetch()
    check_same(tmp_path / "data", original, KINDS["preprocessed"], snapshot)


def test_nothing_is_left_of_sources_that_have_nothing(fetch, server, tmp_path):
    server.files = {}
    with pytest.raises(InputError):
        fetch()
    assert not any((tmp_path / "data").iterdir())


def test_full_disk_keeps_what_was_fetched(fetch, server, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=10)
    with monkeypatch.context() as patch:
        patch.setattr(things_eeg2.archives.shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(InputError, match="expected room for"):
            fetch()
    server.requests.clear()
    fetch()
    asked = [path for method, path, _ in server.requests if method == "GET"]
    assert not any("training_images" in path for path in asked)


def test_files_of_the_user_stay(fetch, tmp_path):
    mine = tmp_path / "data" / "preprocessed_data" / "sub-01"
    mine.mkdir(parents=True)
    (mine / "preprocessed_eeg_test.npy").write_text("mine")
    fetch()
    assert (mine / "preprocessed_eeg_test.npy").read_text() == "mine"
    assert (mine / "preprocessed_eeg_training.npy").exists()
