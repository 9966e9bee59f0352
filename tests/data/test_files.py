"""from_files: images and text of one's own, and messages that say what to do."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from course_lib.data import from_files


def save(folder, name, pixels, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **options)
    return path


GREY = [[0, 51], [102, 255], [0, 0]]  # 3 high, 2 wide
RED = [[[255, 0, 0]] * 2] * 3


class TestImages:
    def test_folders_are_classes_in_alphabetical_order(self, tmp_path):
        save(tmp_path, "dog/7.png", GREY)
        save(tmp_path, "cat/deep/b.png", np.zeros((3, 2)))
        save(tmp_path, "cat/a.png", np.full((3, 2), 255))
        data = from_files(tmp_path, kind="images")
        assert data.classes == ("cat", "dog")
        assert data.y.tolist() == [0, 0, 1]
        assert (data.x.shape, data.x.dtype) == ((3, 1, 3, 2), torch.float32)
        assert data.x[2, 0].flatten().tolist() == pytest.approx([0, 0.2, 0.4, 1, 0, 0])
        assert [data.x[0].mean().item(), data.x[1].mean().item()] == [1.0, 0.0]
        assert data.name == tmp_path.name

    def test_one_image_in_colour_makes_all_three_channelled(self, tmp_path):
        save(tmp_path, "a/grey.png", GREY)
        save(tmp_path, "a/red.png", RED)
        data = from_files(tmp_path, kind="images")
        assert data.x.shape == (2, 3, 3, 2)
        assert torch.equal(data.x[0, 0], data.x[0, 2])
        assert data.x[1].mean(dim=(1, 2)).tolist() == [1.0, 0.0, 0.0]

    def test_colour_can_be_chosen(self, tmp_path):
        save(tmp_path, "a/red.png", RED)
        assert from_files(tmp_path, kind="images", colour="rgb").x.shape == (1, 3, 3, 2)
        grey = from_files(tmp_path, kind="images", colour="grey").x
        assert grey.shape == (1, 1, 3, 2)
        assert grey.mean().item() == pytest.approx(0.299, abs=1 / 255)  # red's weight in luma (ITU-R 601)

    def test_image_size_is_height_by_width(self, tmp_path):
        save(tmp_path, "a/1.png", GREY)
        save(tmp_path, "a/2.png", np.full((9, 9), 102))
        data = from_files(tmp_path, kind="images", image_size=(5, 4))
        assert data.x.shape == (2, 1, 5, 4)
        assert data.x[1].unique().tolist() == pytest.approx([0.4])

    def test_photos_are_turned_as_the_camera_noted(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn by 90 degrees clockwise to view"
        save(tmp_path, "a/1.png", [[0, 255]], exif=exif)
        assert from_files(tmp_path, kind="images").x[0, 0].tolist() == [[0.0], [1.0]]

    def test_transparent_pixels_become_white(self, tmp_path):
        save(tmp_path, "a/1.png", [[[0, 0, 0, 0], [0, 0, 0, 255]]])
        assert from_files(tmp_path, kind="images").x[0, :, 0].T.tolist() == [[1, 1, 1], [0, 0, 0]]

    def test_hidden_files_are_passed_over_and_others_are_told(self, tmp_path):
        save(tmp_path, "a/1.png", GREY)
        (tmp_path / ".cache").mkdir()
        (tmp_path / "a" / ".DS_Store").write_text("x")
        (tmp_path / "a" / "notes.txt").write_text("x")
        with pytest.warns(UserWarning, match=r"left out 1 files that are no images, such as a.notes\.txt") as told:
            assert len(from_files(tmp_path, kind="images")) == 1
        assert [warning.filename for warning in told] == [__file__]

    def test_an_unreadable_image_is_named(self, tmp_path):
        save(tmp_path, "a/1.png", GREY)
        (tmp_path / "a" / "2.png").write_bytes(b"not an image")
        with pytest.raises(ValueError, match=r"cannot read the image .*2\.png .*repair or remove it"):
            from_files(tmp_path, kind="images")

    def test_a_truncated_image_is_named(self, tmp_path):
        path = save(tmp_path, "a/1.png", np.random.default_rng(0).integers(0, 255, (64, 64)))
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(ValueError, match=r"cannot read the image .*1\.png"):
            from_files(tmp_path, kind="images")

    def test_deep_pixels_are_refused_rather_than_cut_off(self, tmp_path):
        (tmp_path / "a").mkdir()
        Image.fromarray(np.full((2, 2), 40_000, dtype=np.uint16)).save(tmp_path / "a" / "1.png")
        with pytest.raises(ValueError, match=r"1\.png has more than 8 bits a pixel"):
            from_files(tmp_path, kind="images")

    def test_sizes_that_differ_are_listed(self, tmp_path):
        save(tmp_path, "a/1.png", GREY)
        save(tmp_path, "a/2.png", np.zeros((9, 8)))
        with pytest.raises(ValueError, match=r"2 sizes, height x width: 3x2 \(1\), 9x8 \(1\).*image_size="):
            from_files(tmp_path, kind="images")

    def test_images_outside_class_folders_are_refused(self, tmp_path):
        save(tmp_path, "a/1.png", GREY)
        save(tmp_path, "loose.png", GREY)
        with pytest.raises(ValueError, match=r"found 1 images directly in .*loose\.png: move each into a folder"):
            from_files(tmp_path, kind="images")

    @pytest.mark.parametrize(
        ("layout", "message"),
        [((), "has no folders in it"), (("cat",), "found no image in the folder 'cat'")],
    )
    def test_an_empty_folder_says_what_was_expected(self, tmp_path, layout, message):
        for name in layout:
            (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=f"expected one folder a class.*{message}"):
            from_files(tmp_path, kind="images")

    def test_a_single_image_is_not_a_folder(self, tmp_path):
        with pytest.raises(ValueError, match="got the file"):
            from_files(save(tmp_path, "1.png", GREY), kind="images")

    @pytest.mark.parametrize("options", [{"image_size": (0, 4)}, {"image_size": (4,)}, {"colour": "sepia"}])
    def test_bad_options_are_refused(self, tmp_path, options):
        save(tmp_path, "a/1.png", GREY)
        with pytest.raises(ValueError, match=next(iter(options))):
            from_files(tmp_path, kind="images", **options)


def write_table(path, columns):
    frame = pd.DataFrame(columns)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)


class TestText:
    @pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
    def test_tables_keep_their_rows_and_columns(self, tmp_path, suffix):
        write_table(tmp_path / f"b{suffix}", {"text": ["third, with a comma"], "stars": [5]})
        write_table(tmp_path / f"a{suffix}", {"text": ["first", "zweiter Käse"], "stars": [1, 2]})
        data = from_files(tmp_path, kind="text")
        assert list(data["text"]) == ["first", "zweiter Käse", "third, with a comma"]
        assert list(data["stars"]) == [1, 2, 5]

    def test_plain_text_gives_a_row_a_line(self, tmp_path):
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.txt").write_text("three\n", encoding="utf-8")
        (tmp_path / "a.TXT").write_text("one\n\ntwö\n", encoding="utf-8")
        assert list(from_files(tmp_path, kind="text")["text"]) == ["one", "", "twö", "three"]

    def test_a_mark_of_byte_order_is_no_text(self, tmp_path):
        for name in ("plain.txt", "table.csv"):
            (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + b"text\nhello\n")
        assert list(from_files(tmp_path / "plain.txt", kind="text")["text"]) == ["text", "hello"]
        assert list(from_files(tmp_path / "table.csv", kind="text")["text"]) == ["hello"]

    def test_a_single_file_will_do(self, tmp_path):
        (tmp_path / "a.txt").write_text("one")
        (tmp_path / "b.txt").write_text("two")
        data = from_files(str(tmp_path / "b.txt"), kind="text")
        assert list(data["text"]) == ["two"]
        assert list(data.map(lambda row: {"length": len(row["text"])})["length"]) == [3]

    def test_a_changed_file_is_read_anew(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("before")
        assert list(from_files(path, kind="text")["text"]) == ["before"]
        path.write_text("after, and longer")
        assert list(from_files(path, kind="text")["text"]) == ["after, and longer"]

    def test_another_column_can_be_named(self, tmp_path):
        write_table(tmp_path / "a.csv", {"body": ["hello"], "id": [1]})
        data = from_files(tmp_path, kind="text", text_column="body")
        assert (data.column_names, list(data["text"])) == (["text", "id"], ["hello"])

    def test_a_missing_column_names_those_there_are(self, tmp_path):
        write_table(tmp_path / "a.jsonl", {"body": ["hello"], "id": [1]})
        with pytest.raises(ValueError, match=r"expected a column 'text' .* found body, id: .*text_column="):
            from_files(tmp_path, kind="text")

    @pytest.mark.parametrize(("values", "dtype"), [([1, 2], "int64"), ([["a"], ["b"]], "lists or records")])
    def test_a_column_that_is_no_text_is_refused(self, tmp_path, values, dtype):
        write_table(tmp_path / "a.parquet", {"text": values})
        with pytest.raises(ValueError, match=f"column 'text' of .* holds {dtype}, expected text"):
            from_files(tmp_path, kind="text")

    def test_two_candidates_for_text_are_refused(self, tmp_path):
        write_table(tmp_path / "a.csv", {"body": ["hello"], "text": ["world"]})
        with pytest.raises(ValueError, match="both a column 'body' and a column 'text'"):
            from_files(tmp_path, kind="text", text_column="body")

    def test_mixed_kinds_are_refused(self, tmp_path):
        (tmp_path / "a.txt").write_text("one")
        (tmp_path / "b.txt").write_text("two")
        write_table(tmp_path / "c.csv", {"text": ["three"]})
        with pytest.raises(ValueError, match=r"one kind in .*, found 2 \.txt and 1 \.csv"):
            from_files(tmp_path, kind="text")

    def test_files_of_other_kinds_are_told(self, tmp_path):
        (tmp_path / "a.txt").write_text("one")
        (tmp_path / "a.docx").write_text("two")
        with pytest.warns(UserWarning, match=r"left out 1 files .* such as a\.docx") as told:
            assert len(from_files(tmp_path, kind="text")) == 1
        assert [warning.filename for warning in told] == [__file__]

    def test_a_folder_without_text_says_what_it_holds(self, tmp_path):
        with pytest.raises(ValueError, match=r"expected files of text \(\.txt, .*found nothing"):
            from_files(tmp_path, kind="text")
        (tmp_path / "a.docx").write_text("x")
        with pytest.raises(ValueError, match=r"found \.docx"):
            from_files(tmp_path, kind="text")

    def test_empty_files_are_refused(self, tmp_path):
        (tmp_path / "a.txt").touch()
        with pytest.raises(ValueError, match=r"found only empty files: a\.txt"):
            from_files(tmp_path, kind="text")

    @pytest.mark.parametrize(
        ("name", "content"),
        [("a.jsonl", b'{"text": "cut off'), ("a.txt", "K\xe4se".encode("latin-1")), ("a.parquet", b"no parquet")],
    )
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"cannot read .* as {name[1:]} .* Expected UTF-8"):
            from_files(tmp_path, kind="text")

    def test_plain_text_has_no_columns_to_choose_from(self, tmp_path):
        (tmp_path / "a.txt").write_text("one")
        with pytest.raises(ValueError, match="text_column is for tables"):
            from_files(tmp_path, kind="text", text_column="body")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "sound"}, "kind must be 'images' or 'text', got 'sound'"),
        ({"kind": "text", "image_size": (8, 8)}, "are for kind='images'"),
        ({"kind": "images", "text_column": "body"}, "is for kind='text'"),
    ],
)
def test_options_of_the_other_kind_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        from_files(tmp_path, **options)


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder or a file at .*nowhere, found nothing there"):
        from_files(tmp_path / "nowhere", kind="text")
