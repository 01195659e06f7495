"""Faces from folders and zips: formats, sizes, names, and everything that can be wrong with them."""

import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from smartbox.datasets import _images, load_face_folder
from smartbox.datasets import _source as module

RAMP = np.arange(48, dtype=np.uint8).reshape(8, 6) * 5


@pytest.fixture
def root(tmp_path):
    (tmp_path / "faces" / "ada").mkdir(parents=True)
    return tmp_path / "faces"


@pytest.fixture
def save(root):
    """Function that writes an image as ada's, and returns it as loaded."""

    def save(image, name, color="grey", **options):
        image.save(root / "ada" / name, **options)
        return load_face_folder(root, color=color).images[0]

    return save


def fill(root, *names, image=None):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (image or Image.fromarray(RAMP)).save(root / name)


def rewrite(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


class TestContents:
    def test_order_and_names(self, root, pack):
        fill(root, "bob/10.png", "bob/9.png", "ada/b.bmp", "ada/a.png", "ada/more/c.png", "Cy/x.PNG")
        faces = load_face_folder(root)
        assert faces.target_names.tolist() == ["Cy", "ada", "bob"]
        assert faces.filenames.tolist() == [
            "Cy/x.PNG", "ada/a.png", "ada/b.bmp", "ada/more/c.png", "bob/10.png", "bob/9.png"
        ]  # fmt: skip
        assert faces.target.tolist() == [0, 1, 1, 1, 2, 2]
        assert faces.images.shape == (6, 8, 6, 1)
        assert faces.images.dtype == faces.data.dtype == np.float32
        assert np.shares_memory(faces.images, faces.data)
        np.testing.assert_array_equal(faces.data[3], RAMP.ravel() / np.float32(255))
        zipped = load_face_folder(pack(root))  # here the folder "faces" wraps the identities
        assert zipped.filenames.tolist() == ["faces/" + name for name in faces.filenames]
        for key in ("images", "target", "target_names"):
            np.testing.assert_array_equal(zipped[key], faces[key])

    def test_other_files_are_ignored(self, root, recwarn):
        fill(root, "ada/1.png", "ada/.hidden.png", ".cache/x.png", "__MACOSX/ada/._1.png")
        for name in ("Thumbs.db", ".DS_Store", "read.me", "ada/notes.txt", "ada/1.png.bad", "ada/no_suffix"):
            (root / name).write_bytes(b"text")
        faces = load_face_folder(root)
        assert faces.filenames.tolist() == ["ada/1.png"]
        assert not recwarn.list

    def test_empty_identity_and_loose_image_are_left_out_with_a_warning(self, root, pack):
        fill(root, "ada/1.png", "loose.png")
        (root / "bob").mkdir()
        with pytest.warns(UserWarning) as caught:
            faces = load_face_folder(root)
        empty, loose = sorted(str(warning.message) for warning in caught)
        assert "1 folders without images were left out: bob" in empty
        assert "1 images outside of any identity were left out: loose.png" in loose
        assert caught[0].filename == __file__
        assert faces.target_names.tolist() == ["ada"]
        (root / "loose.png").unlink()
        with pytest.warns(UserWarning, match="without images were left out: bob"):
            load_face_folder(pack(root))

    def test_linked_identity_is_followed(self, root, tmp_path):
        fill(tmp_path, "elsewhere/1.png")
        (root / "ada").rmdir()
        (root / "bob").symlink_to(tmp_path / "elsewhere")
        assert load_face_folder(root).filenames.tolist() == ["bob/1.png"]


class TestPixels:
    @pytest.mark.parametrize("name", ["x.pgm", "x.png", "x.bmp", "x.tif", "x.gif", "x.tga", "x.pcx"])
    def test_lossless_formats(self, save, name):
        np.testing.assert_array_equal(save(Image.fromarray(RAMP), name)[:, :, 0], RAMP / np.float32(255))

    @pytest.mark.parametrize("name", ["x.jpg", "x.webp", "x.jp2"])
    def test_lossy_formats(self, save, name):
        np.testing.assert_allclose(save(Image.fromarray(RAMP), name)[:, :, 0], RAMP / 255, atol=0.15)

    def test_16_bits(self, root, save, make_pgm):
        deep = np.array([[0, 1000], [40000, 65535]], dtype=np.uint16)
        for name in ("x.png", "x.tif"):
            np.testing.assert_allclose(save(Image.fromarray(deep), name)[:, :, 0], deep / 65535, atol=1e-7)
            (root / "ada" / name).unlink()
        (root / "ada" / "x.pgm").write_bytes(make_pgm(deep, white=65535))
        np.testing.assert_allclose(load_face_folder(root).images[0, :, :, 0], deep / 65535, atol=1e-7)
        (root / "ada" / "x.pgm").write_bytes(make_pgm([[0, 1023], [512, 4095]], white=4095))
        blue = load_face_folder(root, color="rgb").images[0, :, :, 2]
        np.testing.assert_allclose(blue, [[0, 1023 / 4095], [512 / 4095, 1]], atol=1e-5)

    def test_pgm_whose_white_is_not_255(self, root, make_pgm):
        (root / "ada" / "x.pgm").write_bytes(make_pgm([[0, 50], [75, 100]], white=100))
        loaded = load_face_folder(root).images[0, :, :, 0]
        np.testing.assert_allclose(loaded, [[0, 0.5], [0.75, 1]], atol=1 / 255)

    def test_float(self, save):
        image = Image.fromarray(np.linspace(0, 1, 48, dtype=np.float32).reshape(8, 6))
        np.testing.assert_allclose(save(image, "x.tif").ravel(), np.linspace(0, 1, 48), atol=1e-7)

    @pytest.mark.parametrize("values", [[0.0, 255.0], [-1.0, 0.5], [0.5, np.nan]])
    def test_float_out_of_range(self, save, values):
        with pytest.raises(ValueError, match=r"x\.tif: expected pixels in \[0, 1\]"):
            save(Image.fromarray(np.array([values], dtype=np.float32)), "x.tif")

    def test_32_bit_integers(self, save):
        with pytest.raises(ValueError, match=r"x\.tif: expected 8 or 16 bits"):
            save(Image.fromarray(np.array([[0, 10**6]], dtype=np.int32)), "x.tif")

    def test_one_bit(self, save):
        assert save(Image.fromarray(RAMP > 100), "x.png")[:, :, 0].tolist() == (RAMP > 100).tolist()

    def test_color(self, save):
        red = Image.new("RGB", (6, 8), (255, 0, 0))
        assert save(red, "x.png", color="rgb")[0, 0].tolist() == [1, 0, 0]
        np.testing.assert_allclose(save(red, "x.png")[0, 0], [0.299], atol=1 / 255)
        grey = save(Image.fromarray(RAMP), "x.png", color="rgb")
        assert grey.shape == (8, 6, 3)
        np.testing.assert_array_equal(grey[:, :, 1], RAMP / np.float32(255))

    def test_palette(self, save):
        green = Image.new("RGB", (6, 8), (0, 255, 0)).convert("P")
        assert save(green, "x.png", color="rgb")[0, 0].tolist() == [0, 1, 0]

    def test_cmyk(self, save):
        cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
        np.testing.assert_allclose(save(cyan, "x.tif", color="rgb")[0, 0], [0, 1, 1], atol=0.02)

    def test_transparent_parts_are_black(self, save):
        for image in (Image.new("RGBA", (2, 2), (255, 255, 255, 51)), Image.new("LA", (2, 2), (255, 51))):
            np.testing.assert_allclose(save(image, "x.png"), 0.2, atol=1e-6)
        clear = Image.new("P", (2, 2), 3)
        clear.putpalette([255] * 768)
        np.testing.assert_array_equal(save(clear, "x.png", transparency=3), 0)

    def test_first_frame(self, save):
        frames = [Image.new("L", (6, 8), value) for value in (255, 0)]
        np.testing.assert_array_equal(save(frames[0], "x.gif", save_all=True, append_images=frames[1:]), 1)

    @pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.webp"])
    def test_exif_rotation(self, root, save, name):
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise by a quarter
        pixels = np.zeros((8, 16), dtype=np.uint8)
        pixels[:, 8:] = 255
        upright = save(Image.fromarray(pixels), name, exif=exif)[:, :, 0]
        assert upright.shape == (16, 8)
        np.testing.assert_allclose(upright, np.rot90(pixels, -1) / 255, atol=0.05)
        with pytest.raises(ValueError, match="one size"):
            fill(root, "ada/flat.png", image=Image.fromarray(pixels))
            load_face_folder(root)


class TestResize:
    @pytest.mark.parametrize("image_shape", [(4, 3), (7, 5), (3, 4), (1, 1), (8, 2), (5, 6)])
    def test_is_the_exact_average_over_areas(self, root, image_shape):
        fill(root, "ada/1.png")
        height, width = image_shape
        # Repeating each pixel makes the ratio whole, and then the average is the mean of blocks.
        fine = RAMP.repeat(height, axis=0).repeat(width, axis=1)
        expected = fine.reshape(height, 8, width, 6).mean(axis=(1, 3)) / 255
        resized = load_face_folder(root, image_shape=image_shape).images[0, :, :, 0]
        np.testing.assert_allclose(resized, expected, atol=1e-6)

    def test_enlarging_is_bilinear(self, root):
        fill(root, "ada/1.png", image=Image.fromarray(np.array([[0, 255]], dtype=np.uint8)))
        resized = load_face_folder(root, image_shape=(2, 4)).images[0, :, :, 0]
        np.testing.assert_allclose(resized, [[0, 0.25, 0.75, 1]] * 2, atol=1e-6)

    def test_white_stays_white(self, root):
        fill(root, "ada/1.png", image=Image.new("RGB", (101, 97), "white"))
        for image_shape in [(96, 84), (50, 120), (13, 7)]:
            images = load_face_folder(root, image_shape=image_shape, color="rgb").images
            assert images.shape == (1, *image_shape, 3)
            assert images.max() <= 1
            np.testing.assert_allclose(images, 1, atol=1e-6)

    def test_mixed_sizes(self, root):
        fill(root, "ada/1.png", "ada/2.png")
        fill(root, "bob/1.png", image=Image.new("L", (3, 4)))
        sizes = r"2 sizes, .*\(8, 6\) \(2 images\), \(4, 3\) \(1 images\)"
        with pytest.raises(ValueError, match=rf"{sizes}; pass .* image_shape=\(8, 6\)"):
            load_face_folder(root)
        assert load_face_folder(root, image_shape=(4, 3)).images.shape == (3, 4, 3, 1)

    def test_of_sizes_that_all_differ_the_median_is_proposed(self, root):
        for side in (30, 10, 20):
            fill(root, f"ada/{30 - side}.png", image=Image.new("L", (side, 2 * side)))
        with pytest.raises(ValueError, match=r"got 3 sizes.*median: image_shape=\(40, 20\)"):
            load_face_folder(root)


def test_folder_that_cannot_be_listed(root, monkeypatch):
    fill(root, "ada/1.png", "bob/1.png")
    scandir = os.scandir

    def refused(path):
        if str(path).rstrip("/").endswith("bob"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(ValueError, match=r"bob: the folder cannot be read \(Permission denied\); allow"):
        load_face_folder(root)


class TestBadImages:
    @pytest.fixture
    def damaged(self, root, make_pgm):
        fill(root, "ada/good.png", "bob/good.png")
        (root / "ada" / "cut.pgm").write_bytes(make_pgm(RAMP)[:-1])
        (root / "bob" / "text.jpg").write_text("no image")
        (root / "cy").mkdir()
        (root / "cy" / "empty.png").touch()
        return root

    @pytest.mark.parametrize(("image_shape", "first"), [(None, "bob/text.jpg"), ((8, 6), "ada/cut.pgm")])
    def test_raise(self, damaged, pack, image_shape, first):
        for path in (damaged, pack(damaged)):
            with pytest.raises(ValueError, match=rf"{first}.*expected a complete image.*on_error='skip'"):
                load_face_folder(path, image_shape=image_shape)

    @pytest.mark.parametrize("image_shape", [None, (8, 6)])
    def test_skip(self, damaged, pack, image_shape):
        for path in (damaged, pack(damaged)):
            with pytest.warns(UserWarning, match="3 images could not be read") as caught:
                faces = load_face_folder(path, image_shape=image_shape, on_error="skip")
            assert caught[0].filename == __file__
            for name in ("ada/cut.pgm", "bob/text.jpg", "cy/empty.png"):
                assert name in str(caught[0].message)
            assert faces.images.shape == (2, 8, 6, 1)
            assert faces.target.tolist() == [0, 1]
            assert faces.target_names.tolist() == ["ada", "bob"]

    def test_nothing_left(self, root):
        (root / "ada" / "x.png").touch()
        for image_shape in (None, (8, 6)):
            with pytest.raises(ValueError, match=r"at least one readable image, got none; .*x\.png"):
                load_face_folder(root, image_shape=image_shape, on_error="skip")

    def test_programs_are_never_started(self, root):
        (root / "ada" / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
        with pytest.raises(ValueError, match="unknown or damaged format"):
            load_face_folder(root)

    @pytest.mark.parametrize("side", [9_000, 11_000, 60_000])
    def test_absurd_dimensions(self, root, side, recwarn):
        (root / "ada" / "x.pgm").write_bytes(b"P5 %d %d 255\n" % (side, side))
        with pytest.raises(ValueError, match=r"x\.pgm: expected at most 67,108,864 pixels.*scale it down"):
            load_face_folder(root)
        assert not recwarn.list

    def test_large_file(self, root, monkeypatch, pack):
        fill(root, "ada/x.png")
        monkeypatch.setattr(module, "_MAX_FILE", 20)
        for path in (root, pack(root)):
            with pytest.raises(ValueError, match=r"x\.png.*expected at most 20 bytes"):
                load_face_folder(path)

    def test_pipe_and_broken_links(self, root):
        os.mkfifo(root / "ada" / "1.png")
        (root / "ada" / "2.png").symlink_to("nowhere")
        (root / "ada" / "3.png").symlink_to("3.png")
        fill(root, "ada/4.png")
        with pytest.raises(ValueError, match=r"1\.png: expected a regular file"):
            load_face_folder(root)
        with pytest.warns(UserWarning, match="3 images could not be read"):
            assert load_face_folder(root, on_error="skip").filenames.tolist() == ["ada/4.png"]


class TestBadFolders:
    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere, got nothing; check the path"):
            load_face_folder(tmp_path / "nowhere")

    def test_no_images(self, root, pack):
        for path in (root, pack(root)):
            with pytest.raises(ValueError, match=r"expected one sub-folder an identity.*got 0 images"):
                load_face_folder(path)

    def test_images_without_folders(self, root):
        fill(root, "1.png", "2.png")
        with pytest.raises(ValueError, match=r"got 2 images, none in a sub-folder; put"):
            load_face_folder(root)

    def test_loop(self, root):
        fill(root, "ada/1.png")
        (root / "ada" / "again").symlink_to(root)
        with pytest.raises(ValueError, match=r"again links back to .*remove the link"):
            load_face_folder(root)

    @pytest.mark.parametrize("image_shape", [96, (96, 84, 1), (96.0, 84), (True, 84), (0, 84), (10**5, 999)])
    def test_image_shape(self, tmp_path, image_shape):
        with pytest.raises(ValueError, match="image_shape must be two positive ints"):
            load_face_folder(tmp_path / "nowhere", image_shape=image_shape)

    def test_channels_have_their_own_cure(self, tmp_path):
        with pytest.raises(ValueError, match=r"leave out the channels: image_shape=\(96, 84\)"):
            load_face_folder(tmp_path, image_shape=(96, 84, 1))

    def test_options(self, tmp_path):
        with pytest.raises(ValueError, match="color must be 'grey' or 'rgb', got 'gray'"):
            load_face_folder(tmp_path / "nowhere", color="gray")
        with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', got 'ignore'"):
            load_face_folder(tmp_path / "nowhere", on_error="ignore")


class TestBadZips:
    @pytest.fixture
    def archive(self, root, pack):
        fill(root, "ada/1.png")
        return pack(root)

    @pytest.mark.parametrize("name", ["../x.png", "ada/../../x.png", "/x.png", "..\\x.png", "\\x.png", "C:\\x.png"])
    def test_member_outside(self, archive, name):
        with zipfile.ZipFile(archive, "a") as out:
            out.writestr(name, b"x")
        with pytest.raises(ValueError, match=r"packed\.zip: expected members inside .*do not trust"):
            load_face_folder(archive)

    def test_backslashes_are_folders(self, tmp_path):
        image = io.BytesIO()
        Image.fromarray(RAMP).save(image, "PNG")
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as out:
            out.writestr("ada\\1.png", image.getvalue())
        assert load_face_folder(tmp_path / "x.zip").target_names.tolist() == ["ada"]

    def test_not_a_zip(self, tmp_path):
        (tmp_path / "x.zip").write_text("<html>not found</html>")
        with pytest.raises(ValueError, match=r"x\.zip: expected a folder or a complete zip file"):
            load_face_folder(tmp_path / "x.zip")

    def test_cut_zip(self, archive):
        archive.write_bytes(archive.read_bytes()[:-30])
        with pytest.raises(ValueError, match="complete zip file"):
            load_face_folder(archive)

    def test_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "x.zip")
        with pytest.raises(ValueError, match="got a device or a pipe"):
            load_face_folder(tmp_path / "x.zip")

    def test_encrypted(self, archive):
        content = bytearray(archive.read_bytes())
        content[content.index(b"PK\1\2") + 8] |= 1
        archive.write_bytes(content)
        with pytest.raises(ValueError, match=r"expected no password, got .* encrypted; unpack it"):
            load_face_folder(archive)

    def test_twice(self, archive):
        with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(archive, "a") as out:
            out.writestr("faces/ada/1.png", b"x")
        with pytest.raises(ValueError, match="each name once"):
            load_face_folder(archive)

    def test_damaged_member(self, archive):
        content = bytearray(archive.read_bytes())
        content[content.index(b"1.png") + 30] ^= 255
        archive.write_bytes(content)
        with pytest.raises(ValueError, match=r"1\.png in .*packed\.zip: damaged in the archive"):
            load_face_folder(archive)

    def test_other_compression(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as out:
            out.writestr("ada/1.png", bytes(1000))
        with pytest.raises(ValueError, match="stored or deflated, got 1,000 with method 12"):
            load_face_folder(tmp_path / "x.zip")

    def test_bomb_by_ratio(self, archive):
        with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as out:
            out.writestr("faces/ada/2.bmp", bytes(70 * 10**6))
        with pytest.raises(ValueError, match=r"would unpack from .* to 70,000,\d+ bytes; .*100 times"):
            load_face_folder(archive)

    def test_bomb_by_size(self, archive, monkeypatch):
        monkeypatch.setattr(module, "_MAX_UNPACKED", 50)
        with pytest.raises(ValueError, match="expected at most 50 bytes"):
            load_face_folder(archive)

    def test_bomb_that_lies_about_its_size(self, tmp_path):
        path = tmp_path / "x.zip"
        size = 60 * 10**6
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("ada/1.bmp", bytes(size))
        rewrite(path, struct.pack("<L", size), struct.pack("<L", 1000))
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"1\.bmp in .*damaged in the archive"):
            load_face_folder(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 10**6


def test_images_are_in_memory_once(root):
    fill(root, *[f"ada/{i}.png" for i in range(20)], image=Image.new("L", (300, 400)))
    load_face_folder(root, image_shape=(400, 300))  # imports and tables are not counted
    tracemalloc.start()
    faces = load_face_folder(root, image_shape=(400, 300))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * faces.images.nbytes


def test_cache_folder_is_the_users_by_default(monkeypatch):
    monkeypatch.delenv("SMARTBOX_CACHE")
    assert _images.cache_dir().is_absolute()
    assert "smartbox" in str(_images.cache_dir())
