"""Pair lists in each of their formats, with the line named that is wrong; scikit-learn's face sets."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from smartbox.datasets import as_faces, load_face_folder, load_pairs

LFW = "2\t1\nAnn_Lee\t1\t12\nAnn_Lee\t1\tBob_Ray\t2\nBob_Ray\t2\t3\nBob_Ray\t3\tAnn_Lee\t12\n"
LFW_NAMES = [
    ["Ann_Lee/Ann_Lee_0001", "Ann_Lee/Ann_Lee_0012"],
    ["Ann_Lee/Ann_Lee_0001", "Bob_Ray/Bob_Ray_0002"],
    ["Bob_Ray/Bob_Ray_0002", "Bob_Ray/Bob_Ray_0003"],
    ["Bob_Ray/Bob_Ray_0003", "Ann_Lee/Ann_Lee_0012"],
]
YTF = "split number, pair number in split, first name, second name, is same:\n1, 1, Ann/0, Ann/5, 1\n2, 1, Ann/5, Bob/1, 0\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="pairs.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def cfp(write):
    write("1 ../Data/Images/001/frontal/01.jpg\n2 ../Data/Images/002/frontal/07.jpg\n", "Pair_list_F.txt")
    write("1 ../Data/Images/001/profile/02.jpg\n2 ../Data/Images/002/profile/03.jpg\n", "Pair_list_P.txt")
    for fold, same in (("01", "1,1\n2,2\n"), ("02", "2,2\n")):
        write(same, f"Split/FP/{fold}/same.txt")
        path = write("1,2\n", f"Split/FP/{fold}/diff.txt")
    return path.parent.parent


@pytest.mark.parametrize("text", [LFW, "\ufeff" + LFW.replace("\n", "\r\n"), LFW.replace("\t", "  "), LFW + "\n\n"])
def test_labeled_faces_in_the_wild(write, text):
    result = load_pairs(write(text))
    assert result.names.tolist() == LFW_NAMES
    np.testing.assert_array_equal(result.is_genuine, [True, False, True, False])
    np.testing.assert_array_equal(result.folds, [1, 1, 2, 2])
    assert "pairs" not in result


def test_development_list_has_one_count_and_no_folds(write):
    result = load_pairs(write("2\nA\t1\t2\nB\t1\t2\nA\t1\tB\t1\nA\t2\tB\t2\n"))
    np.testing.assert_array_equal(result.is_genuine, [True, True, False, False])
    assert set(result.folds) == {1}


def test_list_without_counts(write):
    result = load_pairs(write(LFW.partition("\n")[2]))
    assert result.names.tolist() == LFW_NAMES and set(result.folds) == {1}


def test_names_with_spaces_between_tabs(write):
    assert load_pairs(write("Ann Lee\t1\t2\n")).names.tolist() == [["Ann Lee/Ann Lee_0001", "Ann Lee/Ann Lee_0002"]]


def test_positions_among_files_of_any_extension_and_folder(write):
    files = [
        "lfw/Bob_Ray/Bob_Ray_0003.png",
        "Ann_Lee\\Ann_Lee_0012.jpg",
        "Ann_Lee/Ann_Lee_0001.jpg",
        "a/b/Bob_Ray/Bob_Ray_0002",
    ]
    assert load_pairs(write(LFW), filenames=files).pairs.tolist() == [[2, 1], [2, 3], [3, 0], [0, 1]]


def test_positions_in_a_folder_of_faces(write, make_pgm):
    for name in ("Ann/Ann_0001", "Ann/Ann_0002", "Bob.Jr/Bob.Jr_0001"):
        write(make_pgm(np.full((4, 3), 9)), f"faces/{name}.pgm")
    faces = load_face_folder(write("", "faces/x").parent)
    result = load_pairs(write("Ann\t1\t2\nAnn\t2\tBob.Jr\t1\n"), filenames=faces.filenames)
    same = faces.target[result.pairs[:, 0]] == faces.target[result.pairs[:, 1]]
    np.testing.assert_array_equal(same, result.is_genuine)


@pytest.mark.parametrize(
    "files", [["Ann/0.png", "Ann/5.png", "Bob/1.png"], ["Ann/Ann_0.png", "Ann/Ann_5.png", "Bob/Bob_1.png"]]
)
def test_youtube_faces_and_how_robfr_calls_the_files(write, files):
    for text in (YTF, YTF.partition("\n")[2]):
        result = load_pairs(write(text), filenames=files)
        assert result.names.tolist() == [["Ann/0", "Ann/5"], ["Ann/5", "Bob/1"]]
        assert result.pairs.tolist() == [[0, 1], [1, 2]]
        assert result.is_genuine.tolist() == [True, False] and result.folds.tolist() == [1, 2]


def test_frontal_and_profile(cfp):
    result = load_pairs(
        cfp, filenames=["001/frontal/01.jpg", "002/frontal/07.jpg", "001/profile/02.jpg", "002/profile/03.jpg"]
    )
    assert result.pairs.tolist() == [[0, 2], [1, 3], [0, 3], [1, 3], [0, 3]]
    assert result.is_genuine.tolist() == [True, True, False, True, False]
    assert result.folds.tolist() == [1, 1, 1, 2, 2]
    assert result.names[0].tolist() == ["001/frontal/01", "001/profile/02"]


def test_frontal_alone(cfp, write):
    write("1,2\n", "Split/FF/01/same.txt")
    folder = write("2,1\n", "Split/FF/01/diff.txt").parent.parent
    assert load_pairs(folder).names.tolist() == [
        ["001/frontal/01", "002/frontal/07"],
        ["002/frontal/07", "001/frontal/01"],
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "pairs.txt: expected at least one pair, got an empty file"),
        ("\n \n", "empty file"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("2\t1\n", r"line 1: announces 2 x 1 pairs .* 4 lines, got 0"),
        ("0\t0\n", "announces 0 x 0"),
        (LFW.replace("Bob_Ray\t2\t3\n", ""), "4 lines, got 3; is the file complete"),
        (LFW + "A\t1\t2\n", "4 lines, got 5"),
        (LFW.replace("\t12\n", "\tx\n", 1), r"line 2: expected 'name 1 2'.*got 'Ann_Lee\\t1\\tx'"),
        (LFW.replace("\t12\n", "\t0\n", 1), "line 2: .*numbered from 1"),
        (LFW.replace("Bob_Ray\t2\t3", "Bob_Ray\t2"), "line 4: expected 'name 1 2'"),
        ("A\t1\tA\t2\n", "line 1: expected two persons, got 'A' twice"),
        ("1\t1\nA\t1\tB\t2\nA\t1\t2\n", "line 2: expected a pair of one person, since line 1 announces 1"),
        (
            "1, 1, Ann/0, Ann/5, 1\n\n1, 2, Ann/0, Ann/5, 2\n",
            "line 3: expected 'fold, number, name/1, other/2, 1 or 0'",
        ),
        ("1, 1, Ann, Ann/5, 1\n", "line 1: expected 'fold"),
        (YTF.partition("\n")[0], "heading only"),
    ],
)
def test_names_the_line_that_is_wrong(write, text, message):
    with pytest.raises(ValueError, match=message):
        load_pairs(write(text))


@pytest.mark.parametrize(
    "files, came", [(["Ann_Lee/Ann_Lee_0001.jpg"], "none"), (["Ann_Lee/Ann_Lee_0001.jpg"] * 2, "2")]
)
def test_image_that_is_missing_or_there_twice(write, files, came):
    with pytest.raises(ValueError, match=f"line 2: expected one image 'Ann_Lee/Ann_Lee_00.*got {came}"):
        load_pairs(write(LFW), filenames=files)


def test_frontal_and_profile_mistakes(cfp, write):
    write("1,9\n", "Split/FP/02/diff.txt")
    with pytest.raises(
        ValueError, match=r"diff.txt, line 1: expected two numbers 'a,b' that Pair_list_F.txt and Pair_list_P"
    ):
        load_pairs(cfp)
    (cfp / "02" / "diff.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"diff\.txt"):
        load_pairs(cfp)
    with pytest.raises(ValueError, match=r"pass e\.g\. Protocol/Split/FP"):
        load_pairs(cfp.parent)
    write("1: 001.jpg\n", "Pair_list_F.txt")
    with pytest.raises(ValueError, match=r"Pair_list_F\.txt, line 1: expected a number and a path"):
        load_pairs(cfp)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="check the path"):
        load_pairs(tmp_path / "pairs.txt")


# The fields of what scikit-learn's fetchers return.
@pytest.mark.parametrize("channels", [(), (3,)])
def test_sets_of_scikit_learn(channels):
    rng = np.random.default_rng(0)
    images = rng.random((6, 62, 47, *channels)).astype(np.float32)
    people = Bunch(
        data=images.reshape(6, -1),
        images=images,
        target=np.repeat([0, 1], 3),
        target_names=np.array(["A", "B"]),
        DESCR="d",
    )
    faces = as_faces(people)
    assert faces.images.shape == (6, 62, 47, *(channels or (1,)))
    np.testing.assert_array_equal(faces.data, people.data)
    assert faces.target is people.target and faces.target_names is people.target_names
    assert np.shares_memory(faces.data, faces.images)
    pairs = Bunch(
        data=images.reshape(3, -1),
        pairs=images.reshape(3, 2, 62, 47, *channels),
        target=np.array([1, 1, 0]),
        target_names=np.array(["Different persons", "Same person"]),
        DESCR="",
    )
    faces = as_faces(pairs)
    np.testing.assert_array_equal(faces.images[faces.pairs].reshape(pairs.pairs.shape), pairs.pairs)
    np.testing.assert_array_equal(faces.is_genuine, [True, True, False])
    assert "target" not in faces


def test_olivetti_names_nobody():
    faces = as_faces(Bunch(images=np.zeros((4, 64, 64), np.float32), target=np.array([0, 0, 1, 1])))
    assert faces.target_names.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    "bunch, message",
    [
        (np.zeros((4, 64, 64)), "got ndarray; a plain array X becomes X"),
        (Bunch(data=np.zeros((2, 3)), target=[0, 1]), r"got \['data', 'target'\]"),
        (Bunch(pairs=np.zeros((2, 3, 4, 5)), target=[0, 1]), "pairs of shape"),
        (Bunch(images=np.full((2, 4, 5), 200.0), target=[0, 1]), "divide by 255"),
        (Bunch(images=np.zeros((2, 4, 5)), target=[0]), "got 1 for 2 images"),
        (Bunch(images=np.zeros((2, 4, 5))), "expected a set with target"),
    ],
)
def test_other_sets_are_refused(bunch, message):
    with pytest.raises(ValueError, match=message):
        as_faces(bunch)


def test_a_part_of_a_set_keeps_its_names():
    faces = as_faces(Bunch(images=np.zeros((3, 4, 5)), target=np.array([5, 9, 5])))
    assert faces.target_names[faces.target].tolist() == ["5", "9", "5"]


def test_a_dot_in_a_name_is_no_extension(write):
    files = ["J.R/J.R_0001", "J.R/J.R_0002", "Lee, Ann/Lee, Ann_0001.jpg"]
    found = load_pairs(write("Lee, Ann\t1\tJ.R\t2\nJ.R\t1\t2\n"), filenames=files)
    assert found.pairs.tolist() == [[2, 1], [0, 1]]
