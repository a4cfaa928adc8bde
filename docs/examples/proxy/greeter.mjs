// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A plugin in JavaScript: `node greeter.mjs SOCKET`, with @msgpack/msgpack installed
// (or in the directory NODE_MSGPACK).

import fs from "node:fs";
import net from "node:net";
import { createRequire } from "node:module";

const require = createRequire((process.env.NODE_MSGPACK ?? process.cwd()) + "/");
const { encode, decodeMultiStream } = require("@msgpack/msgpack");

const methods = {
  "greeter.v1.greet": ({ name }) => {
    if (!name) throw new Error("not_found: nobody has no name: not found");
    return { text: `hello, ${name}` };
  },
};

async function serve(socket) {
  for await (const [type, id, method, params] of decodeMultiStream(socket)) {
    if (type !== 0) continue; // notifications need no answer
    let error = null;
    let result = null;
    try {
      const serve = methods[method];
      if (!serve) throw new Error(`not_implemented: unknown method "${method}"`);
      result = serve(params[0] ?? {});
    } catch (thrown) {
      error = thrown.message;
    }
    socket.write(encode([1, id, error, result]));
  }
}

fs.rmSync(process.argv[2], { force: true }); // a process that was killed leaves its socket
net.createServer((socket) => serve(socket).catch(() => socket.destroy())).listen(process.argv[2]);
