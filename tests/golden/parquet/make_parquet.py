"""Writes the Parquet files of this folder and expected.json, with pyarrow 25.0.1.

Each file has a column "text" with the same values, which expected.json holds, and a column "id".
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

here = Path(__file__).parent
texts = [None if i % 13 == 5 else f"row {i}: é 日本語 😀\n" * (i % 4) for i in range(200)]
texts += ["the same text"] * 100
(here / "expected.json").write_text(json.dumps(texts, ensure_ascii=False) + "\n")


def write(name, kind=pa.string(), **options):
    table = pa.table({"id": list(range(len(texts))), "text": pa.array(texts, kind)})
    pq.write_table(table, here / f"{name}.parquet", row_group_size=110, **options)


for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
    write(codec, compression=codec)
write("pages_v2", compression="zstd", data_page_version="2.0", use_dictionary=False)
write("page_index", write_page_index=True, data_page_size=256, use_dictionary=False)
write("delta", use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY", "id": "PLAIN"})
write("large_string", kind=pa.large_string())
write("binary", kind=pa.binary())
pq.write_table(pa.table({"text": [["a"], ["b", "c"]], "id": [1, 2]}), here / "list.parquet")
