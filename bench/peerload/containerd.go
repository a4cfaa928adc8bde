// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"

	"github.com/containerd/containerd"
	eventstypes "github.com/containerd/containerd/api/events"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/containers"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/images"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/typeurl"
	"github.com/gogo/protobuf/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The containerd target: the public Go client library over gRPC.

type ctdTarget struct{ sock string }

func (t *ctdTarget) Name() string { return "containerd" }

func (t *ctdTarget) Dial(ctx context.Context) (conn, error) {
	c, err := containerd.New(t.sock)
	if err != nil {
		return nil, err
	}
	return &ctdConn{
		c: c, img: c.ImageService(), ns: c.NamespaceService(), ctr: c.ContainerService(),
		cs: c.ContentStore(), capi: contentapi.NewContentClient(c.Conn()), ev: c.EventService(),
	}, nil
}

type ctdConn struct {
	c    *containerd.Client
	img  images.Store
	ns   namespaces.Store
	ctr  containers.Store
	cs   content.Store
	capi contentapi.ContentClient
	ev   containerd.EventService
}

func (c *ctdConn) Close() error { return c.c.Close() }

func in(ctx context.Context, ns string) context.Context { return namespaces.WithNamespace(ctx, ns) }

func (c *ctdConn) Version(ctx context.Context) (string, error) {
	v, err := c.c.Version(ctx)
	return v.Version, err
}

func (c *ctdConn) Plugins(ctx context.Context) (int, error) {
	r, err := c.c.IntrospectionService().Plugins(ctx, nil)
	if err != nil {
		return 0, err
	}
	return len(r.Plugins), nil
}

func (c *ctdConn) NamespaceCreate(ctx context.Context, name string, labels map[string]string) error {
	return c.ns.Create(in(ctx, name), name, labels)
}

func (c *ctdConn) NamespaceList(ctx context.Context) (int, error) {
	l, err := c.ns.List(ctx)
	return len(l), err
}

func (c *ctdConn) NamespaceDelete(ctx context.Context, name string) error {
	return c.ns.Delete(in(ctx, name), name)
}

func ocidesc(d descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest), Size: d.Size}
}

func (c *ctdConn) ImageCreate(ctx context.Context, ns, name string, t descriptor, labels map[string]string) error {
	_, err := c.img.Create(in(ctx, ns), images.Image{Name: name, Labels: labels, Target: ocidesc(t)})
	return err
}

func (c *ctdConn) ImageGet(ctx context.Context, ns, name string) error {
	_, err := c.img.Get(in(ctx, ns), name)
	return err
}

func (c *ctdConn) ImageList(ctx context.Context, ns string) (int, error) {
	l, err := c.img.List(in(ctx, ns))
	return len(l), err
}

func (c *ctdConn) ImageUpdate(ctx context.Context, ns, name string, t descriptor, labels map[string]string, paths []string) error {
	_, err := c.img.Update(in(ctx, ns), images.Image{Name: name, Labels: labels, Target: ocidesc(t)}, paths...)
	return err
}

func (c *ctdConn) ImageDelete(ctx context.Context, ns, name string, sync bool) error {
	if sync {
		return c.img.Delete(in(ctx, ns), name, images.SynchronousDelete())
	}
	return c.img.Delete(in(ctx, ns), name)
}

func (c *ctdConn) ContainerCreate(ctx context.Context, ns, id, image string, spec []byte, labels map[string]string) error {
	_, err := c.ctr.Create(in(ctx, ns), containers.Container{
		ID: id, Image: image, Labels: labels,
		Runtime: containers.RuntimeInfo{Name: "io.containerd.runc.v2"},
		Spec:    &types.Any{TypeUrl: specTypeURL, Value: spec},
	})
	return err
}

func (c *ctdConn) ContainerGet(ctx context.Context, ns, id string) (int, error) {
	k, err := c.ctr.Get(in(ctx, ns), id)
	if err != nil {
		return 0, err
	}
	return len(k.Spec.Value), nil
}

func (c *ctdConn) ContainerDelete(ctx context.Context, ns, id string) error {
	return c.ctr.Delete(in(ctx, ns), id)
}

func (c *ctdConn) ContentWrite(ctx context.Context, ns, ref string, data []byte, dgst string, labels map[string]string, oneMsg bool) error {
	ctx = in(ctx, ns)
	if !oneMsg {
		// struct{io.Reader}: a reader with WriteTo would make the library send
		// the blob as one message, and the server refuses those over 16 MiB.
		return content.WriteBlob(ctx, c.cs, ref, struct{ io.Reader }{bytes.NewReader(data)},
			ocispec.Descriptor{Digest: digest.Digest(dgst), Size: int64(len(data))}, content.WithLabels(labels))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.capi.Write(ctx)
	if err != nil {
		return err
	}
	if err := s.Send(&contentapi.WriteContentRequest{
		Action: contentapi.WriteActionCommit, Ref: ref, Total: int64(len(data)),
		Expected: digest.Digest(dgst), Data: data, Labels: labels,
	}); err != nil {
		return err
	}
	if _, err := s.Recv(); err != nil {
		return err
	}
	return s.CloseSend()
}

func (c *ctdConn) ContentRead(ctx context.Context, ns, dgst string, offset, size int64, sink func([]byte)) (int64, error) {
	ctx, cancel := context.WithCancel(in(ctx, ns))
	defer cancel()
	s, err := c.capi.Read(ctx, &contentapi.ReadContentRequest{Digest: digest.Digest(dgst), Offset: offset, Size_: size})
	if err != nil {
		return 0, err
	}
	var n int64
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += int64(len(r.Data))
		if sink != nil {
			sink(r.Data)
		}
	}
}

func (c *ctdConn) ContentExists(ctx context.Context, ns, dgst string) (bool, error) {
	_, err := c.cs.Info(in(ctx, ns), digest.Digest(dgst))
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (c *ctdConn) ContentDelete(ctx context.Context, ns, dgst string) error {
	return c.cs.Delete(in(ctx, ns), digest.Digest(dgst))
}

func (c *ctdConn) Publish(ctx context.Context, ns, topic, event string) error {
	return c.ev.Publish(in(ctx, ns), topic, &eventstypes.ImageCreate{Name: event})
}

func (c *ctdConn) Subscribe(ctx context.Context, ns string, fn func(topic, event string)) error {
	ch, errs := c.ev.Subscribe(in(ctx, ns))
	for {
		select {
		case env := <-ch:
			v, err := typeurl.UnmarshalAny(env.Event)
			if err != nil {
				return err
			}
			if e, ok := v.(*eventstypes.ImageCreate); ok {
				fn(env.Topic, e.Name)
			}
		case err := <-errs:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-ctx.Done():
			return nil
		}
	}
}
