"""Sets of images that are fetched, not committed: their formats, their splits, and what is said where they are not.

Nothing here needs them: small files of the same formats stand in. The two tests of the published counts run where the
data lie, and are skipped with the command to get them where they do not.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets import cifar10, debian, fashion, fetch, images
from datasets.verified import DatasetError

GENERATOR = np.random.default_rng(0)


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


SMALL_FASHION: dict[str, NDArray[np.uint8]] = {
    "train-images-idx3-ubyte.gz": GENERATOR.integers(0, 256, (40, 28, 28), np.uint8),
    "train-labels-idx1-ubyte.gz": np.arange(40, dtype=np.uint8) % 10,
    "t10k-images-idx3-ubyte.gz": GENERATOR.integers(0, 256, (20, 28, 28), np.uint8),
    "t10k-labels-idx1-ubyte.gz": np.arange(20, dtype=np.uint8) % 10,
}


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders in which nothing lies yet stand for those of this machine; the first of them is given."""
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "debian")
    return tmp_path / "data"


@pytest.fixture
def small_fashion(own_places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small set in Fashion-MNIST's format, whose digests are the expected ones."""
    folder = own_places / fashion.NAME
    folder.mkdir(parents=True)
    for name, array in SMALL_FASHION.items():
        (folder / name).write_bytes(gzip.compress(idx(array)))
        monkeypatch.setitem(fashion.SHA256, name, hashlib.sha256(idx(array)).hexdigest())
    return folder


def python_2_batch(pixels: NDArray[np.uint8], labels: list[int], rebuild: bytes = b"_reconstruct") -> bytes:
    """A batch as Python 2 pickled it: its strings are bytes, and NumPy's functions have their old names."""

    def string(text: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(text)) + text

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    state = b"(" + number(3) + string(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"t"
    kind = b"cnumpy\ndtype\n(" + string(b"u1") + number(0) + number(1) + b"tR" + state + b"b"
    empty = b"cnumpy.core.multiarray\n" + rebuild + b"\n(cnumpy\nndarray\n" + number(0) + b"\x85" + string(b"b") + b"tR"
    shape = number(pixels.shape[0]) + number(pixels.shape[1]) + b"\x86"
    array = empty + b"(" + number(1) + shape + kind + b"\x89" + string(pixels.tobytes()) + b"tb"
    names = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + string(b"labels") + names + string(b"data") + array + b"u."


def tar(members: dict[str, bytes], compression: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, contents in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(contents)
            archive.addfile(entry, io.BytesIO(contents))
    compress: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "gz": gzip.compress, "bz2": bz2.compress}
    return compress[compression](stream.getvalue())


BATCH = 20
SMALL_CIFAR = {
    name: (GENERATOR.integers(0, 256, (BATCH, 3072), np.uint8), [(i * 3) % 10 for i in range(BATCH)])
    for names in cifar10.BATCHES.values()
    for name in names
}


@pytest.fixture
def small_cifar(own_places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive in CIFAR-10's format where Keras would keep it, whose digest and counts are the expected ones."""
    archive = tar({name: python_2_batch(*batch) for name, batch in SMALL_CIFAR.items()}, "gz")
    path = own_places.with_name("keras") / "datasets" / cifar10.KERAS_ARCHIVE
    path.parent.mkdir(parents=True)
    path.write_bytes(archive)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(archive).hexdigest())
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 5 * BATCH, "test": BATCH})
    return path


def deb(members: dict[str, bytes], compression: str = "xz") -> bytes:
    """A Debian package with these files; a first member of odd length, so that the next does not follow at once."""
    package = b"!<arch>\n"
    for name, contents in {
        "debian-binary": b"2.0",
        f"data.tar.{compression}": tar({f"./{k}": v for k, v in members.items()}, compression),
    }.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(contents):<10}`\n".encode()
        package += header + contents + b"\n" * (len(contents) % 2)
    return package


def test_fashion_images_are_what_the_files_hold(small_fashion: Path) -> None:
    for part, (image_file, label_file) in fashion.FILES.items():
        pixels, labels = fashion.load(part)
        np.testing.assert_array_equal(pixels[..., 0], SMALL_FASHION[image_file])
        np.testing.assert_array_equal(labels, SMALL_FASHION[label_file])
        assert not pixels.flags.writeable
        assert fashion.load(part, small_fashion)[0] is not None


def test_cifar_images_are_what_the_archive_holds(small_cifar: Path) -> None:
    """Wrong variant: rows and columns, or the planes of the colours, are mistaken for one another."""
    for part, names in cifar10.BATCHES.items():
        pixels, labels = cifar10.load(part)
        stored = np.concatenate([SMALL_CIFAR[name][0] for name in names])
        assert pixels.shape == (len(stored), 32, 32, 3)
        assert pixels[7, 3, 5].tolist() == [stored[7, plane * 1024 + 3 * 32 + 5] for plane in range(3)]
        np.testing.assert_array_equal(pixels.transpose(0, 3, 1, 2).reshape(len(stored), -1), stored)
        assert labels.tolist() == [label for name in names for label in SMALL_CIFAR[name][1]]
        assert not pixels.flags.writeable
    assert cifar10.installed_file() == small_cifar


@pytest.mark.usefixtures("small_fashion", "small_cifar")
@pytest.mark.parametrize("loader", [fashion, cifar10])
def test_parts_have_no_image_in_common(loader: Any) -> None:
    """Wrong variant: images of the official test part, or of the validation part, are trained on."""

    def rows(part: images.LabelledImages) -> set[bytes]:
        assert part.images.dtype == np.float32
        assert part.labels.dtype == np.int32
        assert 0 <= part.images.min() < part.images.max() <= 1
        return {image.tobytes() + label.tobytes() for image, label in zip(part.images, part.labels, strict=True)}

    first, again, other = (loader.split(validation=9, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train.images, again.train.images)
    assert rows(first.validation) != rows(other.validation)
    assert len(first.validation.labels) == 9
    published = rows(images.scaled(*loader.load("train")))
    assert rows(first.train) | rows(first.validation) == published
    assert rows(first.train).isdisjoint(rows(first.validation))
    assert rows(loader.official_test()).isdisjoint(published)
    fewer = loader.split(train=5, validation=9)
    np.testing.assert_array_equal(fewer.train.images, first.train.images[:5])
    np.testing.assert_array_equal(fewer.validation.images, first.validation.images)
    for options in ({"validation": 0}, {"train": 0}, {"train": 1000}, {"validation": 1000}):
        with pytest.raises(ValueError, match=next(iter(options))):
            loader.split(**{"validation": 9, **options})


@pytest.mark.parametrize("loader", [fashion, cifar10])
def test_absent_data_give_one_line_with_the_command(loader: Any) -> None:
    for call in (loader.load, loader.split, loader.official_test):
        with pytest.raises(DatasetError, match="is missing") as refusal:
            call()
        assert str(refusal.value).count("\n") == 0
        assert str(refusal.value).endswith(f"to get it: python -m datasets.fetch {loader.NAME}")


def damaged(stored: bytes) -> bytes:
    return stored[: len(stored) // 2]


def altered(stored: bytes) -> bytes:
    contents = bytearray(gzip.decompress(stored))
    contents[-1] ^= 1
    return gzip.compress(bytes(contents))


@pytest.mark.usefixtures("small_fashion", "small_cifar")
@pytest.mark.parametrize("change", [damaged, altered])
@pytest.mark.parametrize("loader", [fashion, cifar10])
def test_other_data_give_one_line_with_the_command(loader: Any, change: Callable[[bytes], bytes]) -> None:
    file = cifar10.installed_file() if loader is cifar10 else fashion.installed_folder() / fashion.FILES["train"][0]
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DatasetError, match=r"damaged|altered") as refusal:
        loader.load()
    assert str(refusal.value).count("\n") == 0
    assert str(refusal.value).endswith(loader.REMEDY)


def test_what_is_in_the_first_folder_goes_first(small_fashion: Path) -> None:
    """So that `fetch` helps, whatever lies in the other folders."""
    fashion.DEBIAN_FOLDER.mkdir()
    for name in SMALL_FASHION:
        (fashion.DEBIAN_FOLDER / name).write_bytes(b"")
    assert fashion.installed_folder() == small_fashion
    (small_fashion / "train-labels-idx1-ubyte.gz").unlink()
    assert fashion.installed_folder() == fashion.DEBIAN_FOLDER


@pytest.mark.parametrize(
    "contents",
    [b"", b"\0\0\x09\1\0\0\0\1!", idx(np.zeros((2, 3), np.uint8))[:-1], idx(np.zeros((2, 3), np.uint8)) + b"!"],
    ids=["empty", "other type", "short", "long"],
)
def test_what_is_no_idx_file_is_refused(contents: bytes) -> None:
    with pytest.raises(ValueError, match="IDX"):
        fashion.parse_idx(contents)


PIXELS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"no pickle",
        python_2_batch(PIXELS, [1]),
        python_2_batch(PIXELS[:, :-1], [1, 2]),
        b"cos\nsystem\n(S'echo'\ntR.",
        python_2_batch(PIXELS, [1, 2], rebuild=b"scalar"),
    ],
    ids=["empty", "text", "labels", "pixels", "os.system", "another function of NumPy"],
)
def test_what_is_no_batch_is_refused_and_runs_nothing(contents: bytes) -> None:
    with pytest.raises(ValueError, match="not a batch of CIFAR-10"):
        cifar10.parse_batch(contents)
    with pytest.raises(ValueError, match="CIFAR-10"):
        cifar10.parse_archive(tar(dict.fromkeys(cifar10.BATCHES["test"], contents), "gz"), "test")


def test_an_archive_without_its_batches_is_refused() -> None:
    for archive in (b"", b"text", tar({"another": b""}, "gz"), tar({}, "gz")):
        with pytest.raises(ValueError, match="not the archive of CIFAR-10"):
            cifar10.parse_archive(archive, "train")


def test_classes_of_another_size_are_refused(small_cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert small_cifar.is_file()
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 50_000, "test": 10_000})
    with pytest.raises(DatasetError, match="images per class of the train part are"):
        cifar10.load("train")


@pytest.mark.parametrize("compression", ["xz", "gz", "bz2"])
def test_the_files_of_a_debian_package_are_read(compression: str, tmp_path: Path) -> None:
    package = tmp_path / "any.deb"
    package.write_bytes(deb({"usr/share/a/b/c": b"1", "usr/share/a/d": b"2", "usr/share/ab": b"3"}, compression))
    assert debian.files(package, "usr/share/a") == {"b/c": b"1", "d": b"2"}
    assert debian.files(package, "/usr/share/a/") == {"b/c": b"1", "d": b"2"}


@pytest.mark.parametrize(
    "contents",
    [
        None,
        b"",
        b"!<arch>\n",
        deb({"a": b"1"})[:100],
        deb({"a": b"1"})[:-20],
        deb({"a": b"1"}).replace(b"data.tar", b"text.tar"),
    ],
    ids=["missing", "empty", "no members", "cut in a header", "cut in its data", "no data"],
)
def test_what_is_no_debian_package_gives_one_line(contents: bytes | None, tmp_path: Path) -> None:
    package = tmp_path / "any.deb"
    if contents is not None:
        package.write_bytes(contents)
    with pytest.raises(DatasetError, match=r"cannot be read|no Debian package") as refusal:
        debian.files(package, "usr")
    assert "\n" not in str(refusal.value)


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["fetch", *arguments])
    fetch.main()


def test_fashion_mnist_is_taken_out_of_debians_package(
    small_fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    under = fashion.DEBIAN_FOLDER.as_posix().strip("/")
    package = tmp_path / "dataset-fashion-mnist_1_all.deb"
    package.write_bytes(deb({f"{under}/{name}": (small_fashion / name).read_bytes() for name in SMALL_FASHION}))
    for file in small_fashion.iterdir():
        file.unlink()
    run_main(monkeypatch, fashion.NAME, str(package))
    assert capsys.readouterr().out == f"{small_fashion}\n"
    assert {file.name for file in small_fashion.iterdir()} == set(SMALL_FASHION)
    np.testing.assert_array_equal(fashion.load("test")[1], SMALL_FASHION["t10k-labels-idx1-ubyte.gz"])


def test_another_package_leaves_nothing_behind(own_places: Path, tmp_path: Path) -> None:
    package = tmp_path / "other.deb"
    under = fashion.DEBIAN_FOLDER.as_posix().strip("/")
    package.write_bytes(deb({f"{under}/{name}": gzip.compress(idx(array)) for name, array in SMALL_FASHION.items()}))
    with pytest.raises(DatasetError, match="altered"):
        fetch.fashion_mnist(package)
    package.write_bytes(deb({"usr/bin/other": b""}))
    with pytest.raises(DatasetError, match="missing"):
        fetch.fashion_mnist(package)
    assert not own_places.exists()


def test_cifar_10_is_taken_from_an_archive(small_cifar: Path, own_places: Path, tmp_path: Path) -> None:
    place = fetch.cifar_10(small_cifar)
    assert place == own_places / "cifar-10" / "cifar-10-python.tar.gz" == cifar10.installed_file()
    assert list(place.parent.iterdir()) == [place]
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"")
    with pytest.raises(DatasetError, match="altered"):
        fetch.cifar_10(other)


def test_keras_downloads_where_there_is_no_debian(
    small_fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for Keras takes the files from a folder; that there is no apt-get is said."""
    moved = small_fashion.rename(tmp_path / "published")
    monkeypatch.setenv("PATH", str(tmp_path))
    package = tmp_path / "keras"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os, shutil\n"
        "class datasets:\n"
        "    class fashion_mnist:\n"
        "        def load_data():\n"
        f"            shutil.copytree({str(moved)!r}, os.environ['KERAS_HOME'] + '/datasets/fashion-mnist')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert fetch.fashion_mnist() == small_fashion
    assert "no apt-get; trying keras.datasets" in capsys.readouterr().err
    (package / "__init__.py").write_text("raise OSError('no network')")
    with pytest.raises(DatasetError, match=r"^keras.datasets.cifar10 cannot be downloaded: OSError: no network$"):
        fetch.cifar_10()


def test_what_apt_get_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failed = subprocess.CompletedProcess([], 100, "", "N: see the manual\nE: Unable to locate package other\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DatasetError, match="apt-get cannot download other: E: Unable to locate package other"):
        debian.download("other", tmp_path)


@pytest.mark.parametrize(("loader", "sizes"), [(fashion, (6000, 1000)), (cifar10, (5000, 1000))])
def test_the_published_counts(loader: Any, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs where the data lie."""
    monkeypatch.undo()
    try:
        parts = [loader.load("train"), loader.load("test")]
    except DatasetError as error:
        if "is missing" not in str(error):
            raise
        pytest.skip(str(error))
    for (pixels, labels), size in zip(parts, sizes, strict=True):
        assert np.bincount(labels).tolist() == [size] * 10 == [size] * len(loader.CLASSES)
        assert (pixels.min(), pixels.max()) == (0, 255)
