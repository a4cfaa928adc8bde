# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""zstd of the standard library, or what brings it to older ones. Imported when needed:
most layers are gzip."""

import sys

if sys.version_info >= (3, 14):
    from compression.zstd import (
        DecompressionParameter,
        ZstdCompressor,
        ZstdDecompressor,
    )
else:
    from backports.zstd import DecompressionParameter, ZstdCompressor, ZstdDecompressor

__all__ = ["DecompressionParameter", "ZstdCompressor", "ZstdDecompressor"]
