// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

// ---------------------------------------------------------------------------
// THE TABLE for the pluggd target: every method name, every request field and
// every result field that the load generator uses on the msgpack-RPC socket.
// When pluggd's API differs, this is the only file to change.
//
// Wire form (docs/rpc.md): request  [0, msgid, method, [arguments, metadata]]
//                          response [1, msgid, error, result]
//                          notify   [2, method, params]
// ---------------------------------------------------------------------------

// M is a msgpack map with string keys.
type M = map[string]interface{}

// args is everything a call may need; each row of the table takes what it uses.
type args struct {
	Name    string            // image, namespace, lease or container name
	Labels  map[string]string // labels of the object
	Target  descriptor        // image target
	Paths   []string          // field mask
	Sync    bool              // synchronous delete
	Image   string            // container: image name
	Spec    []byte            // container: OCI runtime spec (JSON)
	Ref     string            // content: ingest reference
	Data    []byte            // content: chunk
	Offset  int64             // content: chunk or read offset
	Size    int64             // content: read size
	Total   int64             // content: expected total
	Digest  string            // content: blob digest
	Filters []string          // list or subscribe filters
	Topic   string            // events
	Event   string            // events: name carried by the event
}

type rpc struct {
	Method string
	Req    func(a args) M
}

var pluggdTable = map[string]rpc{
	"version": {"introspection.v1.server", func(a args) M { return M{} }},
	"plugins": {"introspection.v1.plugins", func(a args) M { return M{"filters": a.Filters} }},

	"namespace.create": {"namespaces.v1.create", func(a args) M { return M{"namespace": M{"name": a.Name, "labels": a.Labels}} }},
	"namespace.list":   {"namespaces.v1.list", func(a args) M { return M{} }},
	"namespace.delete": {"namespaces.v1.delete", func(a args) M { return M{"name": a.Name} }},

	"image.create": {"images.v1.create", func(a args) M { return M{"image": imageMap(a)} }},
	"image.get":    {"images.v1.get", func(a args) M { return M{"name": a.Name} }},
	"image.list":   {"images.v1.list", func(a args) M { return M{"filters": a.Filters} }},
	"image.update": {"images.v1.update", func(a args) M {
		return M{"image": imageMap(a), "fields": a.Paths}
	}},
	"image.delete": {"images.v1.delete", func(a args) M { return M{"name": a.Name, "sync": a.Sync} }},

	"container.create": {"containers.v1.create", func(a args) M {
		return M{"container": M{
			"id": a.Name, "image": a.Image, "labels": a.Labels,
			"runtime": M{"name": "io.containerd.runc.v2"},
			"spec":    M{"type_url": specTypeURL, "value": a.Spec},
		}}
	}},
	"container.get":    {"containers.v1.get", func(a args) M { return M{"id": a.Name} }},
	"container.delete": {"containers.v1.delete", func(a args) M { return M{"id": a.Name} }},

	// One stateful ingest per ref: open, write chunk by chunk, commit. The
	// one-message form is a commit that carries the data.
	"content.open": {"content.v1.write", func(a args) M {
		return M{"action": "stat", "ref": a.Ref, "total": a.Total, "expected": a.Digest}
	}},
	"content.write": {"content.v1.write", func(a args) M {
		return M{"action": "write", "ref": a.Ref, "offset": a.Offset, "data": a.Data}
	}},
	"content.commit": {"content.v1.write", func(a args) M {
		m := M{"action": "commit", "ref": a.Ref, "offset": a.Offset, "total": a.Total, "expected": a.Digest, "labels": a.Labels}
		if a.Data != nil {
			m["data"] = a.Data
		}
		return m
	}},
	// By descriptor: the bytes go past the socket. Both need the feature "fds".
	"content.open_fd":   {"content.v1.open", func(a args) M { return M{"digest": a.Digest} }},
	"content.ingest_fd": {"content.v1.ingest_open", func(a args) M { return M{"ref": a.Ref, "total": a.Total, "expected": a.Digest} }},
	"content.commit_fd": {"content.v1.write", func(a args) M {
		return M{"action": "commit", "ref": a.Ref, "total": a.Total, "expected": a.Digest, "labels": a.Labels}
	}},
	"hello": {"rpc.v1.hello", func(a args) M { return M{"client": "peerload", "features": []string{"fds"}} }},

	"content.read":   {"content.v1.read", func(a args) M { return M{"digest": a.Digest, "offset": a.Offset, "size": a.Size} }},
	"content.info":   {"content.v1.info", func(a args) M { return M{"digest": a.Digest} }},
	"content.delete": {"content.v1.delete", func(a args) M { return M{"digest": a.Digest} }},

	"event.publish": {"events.v1.publish", func(a args) M {
		return M{"topic": a.Topic, "event": M{"type_url": imageCreated, "value": M{"name": a.Event}}}
	}},
	"event.subscribe": {"events.v1.subscribe", func(a args) M { return M{"filters": a.Filters} }},
}

const imageCreated = "containerd.events.ImageCreate"

// pluggdMeta is the metadata map that goes with every request.
func pluggdMeta(ns string) M { return M{"namespace": ns} }

func imageMap(a args) M {
	return M{"name": a.Name, "labels": a.Labels, "target": M{
		"media_type": a.Target.MediaType, "digest": a.Target.Digest, "size": a.Target.Size,
	}}
}

// pluggdWire: chunk sizes, pipelining, and where results carry what we count.
var pluggdWire = struct {
	WriteChunk, ReadChunk   int64
	WriteWindow, ReadWindow int // requests in flight on one stream
	ReadData                string
	Images, Namespaces      string
	Plugins, Server         string
	Container, Spec, Value  string
	Item, Credit, Fds       string // notifications
	EventCredit             int    // events that a subscriber lets come unasked
	Image, Envelope         string
}{
	WriteChunk: 1 << 20, ReadChunk: 1 << 20,
	WriteWindow: 1, ReadWindow: 2,
	ReadData: "data",
	Image:    "image", Images: "images", Namespaces: "namespaces", Plugins: "plugins", Server: "server",
	Container: "container", Spec: "spec", Value: "value",
	Item: "$/item", Credit: "$/credit", Fds: "$/fds",
	EventCredit: 1024,
	Envelope:    "envelope",
}
