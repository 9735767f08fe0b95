"""How to cite: BibTeX of the software, the data and the methods of each part."""

from collections.abc import Sequence

from img2eeg_jax.evaluation.report_page.words import PARTS

_GIFFORD = """@article{gifford2022,
  author  = {Gifford, Alessandro T. and Dwivedi, Kshitij and Roig, Gemma and Cichy, Radoslaw M.},
  title   = {A large and rich {EEG} dataset for modeling human visual object recognition},
  journal = {NeuroImage},
  volume  = {264},
  pages   = {119754},
  year    = {2022},
  doi     = {10.1016/j.neuroimage.2022.119754}
}"""  # noqa: E501

_KRIEGESKORTE = """@article{kriegeskorte2008,
  author  = {Kriegeskorte, Nikolaus and Mur, Marieke and Bandettini, Peter},
  title   = {Representational similarity analysis -- connecting the branches of systems neuroscience},
  journal = {Frontiers in Systems Neuroscience},
  volume  = {2},
  pages   = {4},
  year    = {2008},
  doi     = {10.3389/neuro.06.004.2008}
}"""  # noqa: E501

_MARIS = """@article{maris2007,
  author  = {Maris, Eric and Oostenveld, Robert},
  title   = {Nonparametric statistical testing of {EEG}- and {MEG}-data},
  journal = {Journal of Neuroscience Methods},
  volume  = {164},
  pages   = {177--190},
  year    = {2007},
  doi     = {10.1016/j.jneumeth.2007.03.024}
}"""

_SASSENHAGEN = """@article{sassenhagen2019,
  author  = {Sassenhagen, Jona and Draschkow, Dejan},
  title   = {Cluster-based permutation tests of {MEG/EEG} data do not establish significance of effect latency or location},
  journal = {Psychophysiology},
  volume  = {56},
  pages   = {e13335},
  year    = {2019},
  doi     = {10.1111/psyp.13335}
}"""  # noqa: E501

# Software → version is filled in.
_SOFTWARE = """@software{img2eeg_jax,
  title   = {img2eeg\\_jax: predicting the {EEG} that an image evokes},
  version = {VERSION},
  note    = {Evaluation: PARTS}
}"""


def bibtex(version: str, parts: Sequence[str], has_group: bool) -> str:
    """Returns the entries that a paper with these scores should cite.

    Args:
      version: of this package.
      parts: of the evaluation.
      has_group: whether several subjects were tested together.
    """
    names = ", ".join(PARTS[part][0].lower() for part in parts if part in PARTS)
    entries = [_SOFTWARE.replace("VERSION", version).replace("PARTS", names or "none")]
    if {"encoding", "decoding", "identification"} & set(parts):
        entries.append(_GIFFORD)
    if any(part.startswith("rsa") for part in parts):
        entries.append(_KRIEGESKORTE)
    if has_group:
        entries += [_MARIS, _SASSENHAGEN]
    return "\n\n".join(entries)
