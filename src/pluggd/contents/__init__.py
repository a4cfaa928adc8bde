# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What content stores have in common, wherever the bytes of their blobs lie.

`assembly.running` is the whole of `pluggd.services.content.Content` but for one thing:
how bytes get in place under a digest, which a `Blobs` says. Ingests are files on a local
disk (`Spool`) until they are blobs. The bundled `content` (files) and `content_s3`
(objects in a bucket) are a `Blobs` each; one for another place is, too.
"""
