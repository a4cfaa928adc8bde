// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0
//
// A client in JavaScript: a msgpack library, a socket, and nothing of ours.
// `node node.mjs SOCKET`, with @msgpack/msgpack in NODE_MSGPACK.

import net from "node:net";
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_MSGPACK + "/");
const { encode, decodeMultiStream } = require("@msgpack/msgpack");

class Client {
  #socket;
  #next = 0;
  #waiting = new Map();
  onItem = () => {};

  constructor(path) {
    this.#socket = net.connect(path);
    this.#read();
  }

  async #read() {
    for await (const message of decodeMultiStream(this.#socket)) {
      if (message[0] === 1) {
        const [, id, error, result] = message;
        const { resolve, reject } = this.#waiting.get(id);
        this.#waiting.delete(id);
        error === null ? resolve(result) : reject(new Error(error));
      } else if (message[0] === 2 && message[1] === "$/item") {
        this.onItem(...message[2]);
      }
    }
  }

  /** The message number and the promise of its answer. */
  send(method, ...params) {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#socket.write(encode([0, id, method, params]));
    return { id, answer };
  }

  call(method, ...params) {
    return this.send(method, ...params).answer;
  }

  notify(method, ...params) {
    this.#socket.write(encode([2, method, params]));
  }

  close() {
    this.#socket.end();
  }
}

const shown = {};
const refused = async (promise) => promise.then(() => "no error", (error) => error.message);

const client = new Client(process.argv[2]);
const ns = { namespace: "default" };

shown.images = (await client.call("images.v1.list", {}, ns)).images.map((image) => image.name);
shown.unknown = await refused(client.call("images.v1.nosuch", {}, ns));
shown.filter = await refused(client.call("images.v1.list", { filters: ["name=="] }, ns));
shown.namespace = await refused(client.call("images.v1.list"));
shown.argument = await refused(client.call("images.v1.get", { nmae: "x" }, ns));

// Many calls at once, answered in whatever order.
const many = await Promise.all(
  Array.from({ length: 200 }, () => client.call("events.v1.bounds")),
);
shown.many = many.length;

// Bytes go and come as bytes.
const blob = new Uint8Array([0, 1, 254, 255]);
const seq = (
  await client.call(
    "events.v1.publish",
    { topic: "/from/node", event: { type_url: "node", value: { blob } } },
    ns,
  )
).seq;
const page = await client.call("events.v1.poll", { since: seq - 1 });
shown.blob = Array.from(page.events[0].event.value.blob);

// A stream, with notifications, until it is cancelled.
shown.features = (await client.call("rpc.v1.hello", { features: ["streams", "nosuch"] })).features;
const items = [];
const enough = new Promise((resolve) => {
  client.onItem = (id, item) => {
    items.push(item.envelope.topic);
    client.notify("$/credit", id, 1);
    if (items.length === 500) resolve(id);
  };
});
const stream = client.send("events.v1.subscribe", { since: seq, filters: ["event.name==tick"] });
for (let n = 0; n < 500; n++) {
  client.call(
    "events.v1.publish",
    { topic: "/tick", event: { type_url: "t", value: { name: "tick" } } },
    ns,
  );
}
shown.own = (await enough) === stream.id;
client.notify("$/cancel", stream.id);
shown.cancelled = await refused(stream.answer);
shown.items = items.length;

client.close();

// Times as dates, both ways, by the library alone.
const dated = new Client(process.argv[2]);
await dated.call("rpc.v1.hello", { features: ["timestamp"] });
const [image] = (await dated.call("images.v1.list", {}, ns)).images;
shown.dated = image.created_at instanceof Date && Math.abs(Date.now() - image.created_at) < 3600e3;
const at = new Date(1500);
const envelope = { timestamp: at, namespace: "default", topic: "/dated", event: { type_url: "t" } };
const dater = (await dated.call("events.v1.forward", { envelope })).seq;
const [event] = (await dated.call("events.v1.poll", { since: dater - 1 })).events;
shown.at = event.timestamp;
dated.close();

console.log(JSON.stringify(shown));
