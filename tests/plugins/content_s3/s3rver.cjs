// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0
//
// `node s3rver.cjs MODULES DIRECTORY PORT BUCKET`: s3rver on loopback, with one defect
// mended: it answers a put before the bytes are in its file.

const [modules, directory, port, bucket] = process.argv.slice(2);
const fs = require("node:fs/promises");
const S3rver = require(`${modules}/s3rver`);
const Store = require(`${modules}/s3rver/lib/stores/filesystem`);

const put = Store.prototype.putObject;
Store.prototype.putObject = async function (object) {
  const path = this.getResourcePath(object.bucket, object.key, "object");
  await fs.rm(path, { force: true });
  const result = await put.call(this, object);
  const size = async () => (await fs.stat(path).catch(() => ({ size: -1 }))).size;
  while ((await size()) !== result.size) await new Promise(setImmediate);
  return result;
};

new S3rver({
  address: "127.0.0.1",
  port: Number(port),
  directory,
  silent: true,
  vhostBuckets: false,
  configureBuckets: [{ name: bucket, configs: [] }],
}).run();
