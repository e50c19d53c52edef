"""GAF 3.0 (EmotiW 2018), and what is laid out like it: a raw folder -> records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..class_folders import ClassFolderBuilder, NameList
from ..layouts.split_folders import SplitFolder

# How many photos the whole of GAF 3.0 has, by folder and class (Dhall et al. 2018; as counted in the
# distributed archives), and how many names the distributed lists have. The two lists leave five photos of `val` out.
PHOTOS: Mapping[str, Mapping[str | None, int]] = {
    "train": {"Negative": 2758, "Neutral": 3080, "Positive": 3977},  # 9,815
    "val": {None: 4346},
    "test": {None: 3011},
}
LISTED = {"validation": 3341, "test": 1000}
SHORT_TRAIN = 9808  # copies with this many train photos are in circulation


class Gaf3Builder(ClassFolderBuilder):
    """The Group Affect Database 3.0 (Dhall et al. 2018, EmotiW; doi 10.1145/3242969.3264993).

    GAF 2.0, which has no lists, and folders of one's own in the same layout are read as well.

    Args:
        source: the folder that holds `train` and `val`.
    """

    def compare(self, folders: Mapping[str, SplitFolder], lists: Sequence[NameList]) -> None:
        """Remark on how a download that looks like GAF 3.0 differs from what was published.

        It looks like it when nine in ten files are named as there, neg_1 or test_1; and like the whole of a folder
        when it has more than half of its photos. What is less is called a part and not counted further.
        """
        paths = [path for folder in folders.values() for _, path in folder.photos]
        if sum(path.name.lower().startswith(("neg_", "neu_", "pos_", "test_")) for path in paths) < 0.9 * len(paths):
            return
        parts = []
        for key, published in PHOTOS.items():
            if key not in folders:
                continue
            found = Counter(name for name, _ in folders[key].photos)
            there, whole = found.total(), sum(published.values())
            classes = [f"{name} {found[name]:,} of {count:,}" for name, count in published.items() if name]
            if 2 * there <= whole:
                parts.append(f"{there:,} of {whole:,} {key} photos")
                continue
            if there != whole or (classes and found != Counter(published)):
                known = f"; copies with {SHORT_TRAIN:,} are known" if (key, there) == ("train", SHORT_TRAIN) else ""
                by_class = f" ({', '.join(classes)})" if classes else ""
                self.remark(f"{key} holds {there:,} photos where {whole:,} are published{by_class}{known}")
            for names in lists if key == "val" else []:
                if len(names.names) != LISTED[names.split]:
                    self.remark(
                        f"{names.file} names {len(names.names):,} photos; the distributed list that makes the split "
                        f"{names.split} names {LISTED[names.split]:,}"
                    )
        if parts:
            self._remarks.append(f"This is not the whole of GAF 3.0: {', '.join(parts)}.")
