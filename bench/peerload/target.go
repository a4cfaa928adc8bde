// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
)

type descriptor struct {
	MediaType string
	Digest    string
	Size      int64
}

const specTypeURL = "types.containerd.io/opencontainers/runtime-spec/1/Spec"

// conn is one client connection of its own to the daemon under load. All
// methods are safe for one goroutine at a time.
type conn interface {
	Close() error

	Version(ctx context.Context) (string, error)
	Plugins(ctx context.Context) (int, error)

	NamespaceCreate(ctx context.Context, name string, labels map[string]string) error
	NamespaceList(ctx context.Context) (int, error)
	NamespaceDelete(ctx context.Context, name string) error

	ImageCreate(ctx context.Context, ns, name string, target descriptor, labels map[string]string) error
	ImageGet(ctx context.Context, ns, name string) error
	ImageList(ctx context.Context, ns string) (int, error)
	ImageUpdate(ctx context.Context, ns, name string, target descriptor, labels map[string]string, paths []string) error
	ImageDelete(ctx context.Context, ns, name string, sync bool) error

	ContainerCreate(ctx context.Context, ns, id, image string, spec []byte, labels map[string]string) error
	ContainerGet(ctx context.Context, ns, id string) (specLen int, err error)
	ContainerDelete(ctx context.Context, ns, id string) error

	// ContentWrite ingests one blob: chunked with acknowledgements, or as
	// one message when oneMsg is set.
	ContentWrite(ctx context.Context, ns, ref string, data []byte, digest string, labels map[string]string, oneMsg bool) error
	// ContentRead streams [offset, offset+size) to sink (which may be nil).
	ContentRead(ctx context.Context, ns, digest string, offset, size int64, sink func([]byte)) (int64, error)
	ContentExists(ctx context.Context, ns, digest string) (bool, error)
	ContentDelete(ctx context.Context, ns, digest string) error

	Publish(ctx context.Context, ns, topic, event string) error
	// Subscribe calls fn for every event until ctx ends.
	Subscribe(ctx context.Context, ns string, fn func(topic, event string)) error
}

// fdConn is a connection on which blobs can go past the socket.
type fdConn interface {
	ContentWriteFD(ctx context.Context, ns, ref string, data []byte, digest string, labels map[string]string) error
	ContentReadFD(ctx context.Context, ns, digest string, offset, size int64) (int64, error)
}

// asyncConn is a connection that can publish without waiting for each answer.
type asyncConn interface {
	Publisher(ctx context.Context, n int) (publish func(ns, topic, event string) error, drain func() error)
}

type target interface {
	Name() string
	Dial(ctx context.Context) (conn, error)
}

func newTarget(name, sock string) (target, error) {
	switch name {
	case "containerd":
		return &ctdTarget{sock}, nil
	case "pluggd":
		return &plgTarget{sock}, nil
	}
	return nil, fmt.Errorf("unknown target %q (containerd or pluggd)", name)
}
