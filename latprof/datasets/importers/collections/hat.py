"""Latencies of HAT (Wang et al., ACL 2020, arXiv 2005.14187): transformers for translation.

The CSV has ten numbers that describe a transformer, and the mean and standard deviation of what its
encoder and its decoder take, in milliseconds.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from latprof.datasets.importers.base import ImportedLatencies, usable_rows
from latprof.datasets.importers.files.reading import number_of, read_csv
from latprof.datasets.importers.flags import detect_flags
from latprof.errors import DataSetError, UnknownNameError

LICENCE = "MIT"
CITATION = "Wang et al.: HAT: Hardware-Aware Transformers for Efficient NLP, ACL 2020"
PARTS = ("encoder", "decoder", "total")
FEATURES = (
    "encoder_embed_dim",
    "encoder_layer_num",
    "encoder_ffn_embed_dim_avg",
    "encoder_self_attention_heads_avg",
    "decoder_embed_dim",
    "decoder_layer_num",
    "decoder_ffn_embed_dim_avg",
    "decoder_self_attention_heads_avg",
    "decoder_ende_attention_heads_avg",
    "decoder_arbitrary_ende_attn_avg",
)
_TIMES = tuple(
    f"latency_{what}_{part}" for what in ("mean", "std") for part in ("encoder", "decoder")
)


def load_hat(
    path: str | os.PathLike[str], part: str = "total", *, device: str = ""
) -> ImportedLatencies:
    """Load a HAT file of latencies.

    Parameters
    ----------
    path : path
        Of the CSV.
    part : str
        ``"encoder"``, ``"decoder"``, or ``"total"``: the sum of both means, without a spread.
    device : str, optional
        What the record calls the device; the file does not say. Its name without ending by default.

    Returns
    -------
    ImportedLatencies
        ``features`` has the ten numbers of each transformer; a row's name spells them.

    Raises
    ------
    UnknownNameError
        For another part.
    DataSetError
        For a file that is missing or malformed.
    """
    if part not in PARTS:
        raise UnknownNameError("part", part, PARTS)
    header, rows = read_csv(path, [*FEATURES, *_TIMES])
    columns = [header.index(name) for name in (*FEATURES, *_TIMES)]
    values = np.array([[number_of(row[column]) for column in columns] for row in rows])
    wrong = np.argwhere(~(values >= 0))
    if len(wrong):
        row, column = wrong[0]
        raise DataSetError(
            f"{path}, row {row + 2}: {(*FEATURES, *_TIMES)[column]} is malformed",
            expected="a number of at least 0",
            got=repr(rows[row][columns[column]][:40]),
        )
    features, (encoder, decoder, *spreads) = (
        values[:, : len(FEATURES)],
        values[:, len(FEATURES) :].T,
    )
    index = PARTS.index(part)
    latency = (encoder, decoder, encoder + decoder)[index]
    usable = usable_rows(str(path), latency)
    stem = Path(path).stem
    return ImportedLatencies(
        name=f"hat/{stem}/{part}",
        latency_ms=latency,
        usable=usable,
        device=device or stem,
        names=tuple("hat:" + ",".join(f"{value:.10g}" for value in row) for row in features),
        spread_ms=None if part == "total" else spreads[index],
        feature_names=FEATURES,
        features=features,
        flags=detect_flags(latency[usable], None),
        source=str(path),
        licence=LICENCE,
        citation=CITATION,
    )
