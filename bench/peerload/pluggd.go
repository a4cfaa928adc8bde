// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

func field(v interface{}, key string) interface{} {
	m, _ := v.(M)
	return m[key]
}

func count(v interface{}, key string) int {
	l, _ := field(v, key).([]interface{})
	return len(l)
}

func (p *plgConn) Version(ctx context.Context) (string, error) {
	v, err := p.call(ctx, "default", "version", args{})
	s, _ := field(field(v, pluggdWire.Server), "version").(string)
	return s, err
}

func (p *plgConn) Plugins(ctx context.Context) (int, error) {
	v, err := p.call(ctx, "default", "plugins", args{})
	return count(v, pluggdWire.Plugins), err
}

func (p *plgConn) NamespaceCreate(ctx context.Context, name string, labels map[string]string) error {
	_, err := p.call(ctx, name, "namespace.create", args{Name: name, Labels: labels})
	return err
}

func (p *plgConn) NamespaceList(ctx context.Context) (int, error) {
	v, err := p.call(ctx, "default", "namespace.list", args{})
	return count(v, pluggdWire.Namespaces), err
}

func (p *plgConn) NamespaceDelete(ctx context.Context, name string) error {
	_, err := p.call(ctx, name, "namespace.delete", args{Name: name})
	return err
}

func (p *plgConn) ImageCreate(ctx context.Context, ns, name string, t descriptor, labels map[string]string) error {
	_, err := p.call(ctx, ns, "image.create", args{Name: name, Target: t, Labels: labels})
	return err
}

func (p *plgConn) ImageGet(ctx context.Context, ns, name string) error {
	var x image
	_, err := p.ask(ns, "image.get", args{Name: name}, func(d *decoder) {
		under(d, pluggdWire.Image, func() { d.image(&x) })
	})
	if err == nil && x.Name != name {
		err = fmt.Errorf("got image %q", x.Name)
	}
	return err
}

func (p *plgConn) ImageList(ctx context.Context, ns string) (int, error) {
	var l []image
	_, err := p.ask(ns, "image.list", args{}, func(d *decoder) {
		under(d, pluggdWire.Images, func() { l = d.images() })
	})
	return len(l), err
}

func (p *plgConn) ImageUpdate(ctx context.Context, ns, name string, t descriptor, labels map[string]string, paths []string) error {
	_, err := p.call(ctx, ns, "image.update", args{Name: name, Target: t, Labels: labels, Paths: paths})
	return err
}

func (p *plgConn) ImageDelete(ctx context.Context, ns, name string, sync bool) error {
	_, err := p.call(ctx, ns, "image.delete", args{Name: name, Sync: sync})
	return err
}

func (p *plgConn) ContainerCreate(ctx context.Context, ns, id, image string, spec []byte, labels map[string]string) error {
	_, err := p.call(ctx, ns, "container.create", args{Name: id, Image: image, Spec: spec, Labels: labels})
	return err
}

func (p *plgConn) ContainerGet(ctx context.Context, ns, id string) (int, error) {
	v, err := p.call(ctx, ns, "container.get", args{Name: id})
	if err != nil {
		return 0, err
	}
	b, _ := field(field(field(v, pluggdWire.Container), pluggdWire.Spec), pluggdWire.Value).([]byte)
	return len(b), nil
}

func (p *plgConn) ContainerDelete(ctx context.Context, ns, id string) error {
	_, err := p.call(ctx, ns, "container.delete", args{Name: id})
	return err
}

// window keeps at most n requests in flight.
type window struct {
	p   *plgConn
	q   []*pending
	n   int
	got func(interface{}) error
}

func (w *window) add(r *pending) error {
	w.q = append(w.q, r)
	if len(w.q) >= w.n {
		return w.pop()
	}
	return nil
}

func (w *window) pop() error {
	r := w.q[0]
	w.q = w.q[1:]
	if err := w.p.finish(r); err != nil || w.got == nil {
		return err
	}
	err := w.got(r.result)
	w.p.frames.giveBack(r.buf)
	return err
}

func (w *window) drain() error {
	for len(w.q) > 0 {
		if err := w.pop(); err != nil {
			return err
		}
	}
	return nil
}

func (p *plgConn) ContentWrite(ctx context.Context, ns, ref string, data []byte, dgst string, labels map[string]string, oneMsg bool) error {
	total := int64(len(data))
	if oneMsg {
		_, err := p.call(ctx, ns, "content.commit", args{Ref: ref, Data: data, Total: total, Digest: dgst, Labels: labels})
		return err
	}
	if _, err := p.call(ctx, ns, "content.open", args{Ref: ref, Total: total, Digest: dgst}); err != nil {
		return err
	}
	w := &window{p: p, n: pluggdWire.WriteWindow}
	for off := int64(0); off < total; {
		end := off + pluggdWire.WriteChunk
		if end > total {
			end = total
		}
		r, err := p.start(ns, "content.write", args{Ref: ref, Offset: off, Data: data[off:end]}, nil)
		if err != nil {
			return err
		}
		if err := w.add(r); err != nil {
			return err
		}
		off = end
	}
	if err := w.drain(); err != nil {
		return err
	}
	_, err := p.call(ctx, ns, "content.commit", args{Ref: ref, Offset: total, Total: total, Digest: dgst, Labels: labels})
	return err
}

func (p *plgConn) ContentRead(ctx context.Context, ns, dgst string, offset, size int64, sink func([]byte)) (int64, error) {
	var n int64
	w := &window{p: p, n: pluggdWire.ReadWindow, got: func(v interface{}) error {
		b, ok := field(v, pluggdWire.ReadData).([]byte)
		if !ok || len(b) == 0 {
			return errors.New("read: empty reply")
		}
		n += int64(len(b))
		if sink != nil {
			sink(b)
		}
		return nil
	}}
	for off := offset; off < offset+size; {
		k := pluggdWire.ReadChunk
		if off+k > offset+size {
			k = offset + size - off
		}
		r, err := p.start(ns, "content.read", args{Digest: dgst, Offset: off, Size: k}, nil)
		if err != nil {
			return n, err
		}
		if err := w.add(r); err != nil {
			return n, err
		}
		off += k
	}
	err := w.drain()
	if err == nil && n != size {
		err = fmt.Errorf("read %d of %d bytes", n, size)
	}
	return n, err
}

// hello agrees on passing descriptors, once.
func (p *plgConn) hello(ctx context.Context) error {
	if p.in.want {
		return nil
	}
	p.in.want = true
	_, err := p.call(ctx, "default", "hello", args{})
	return err
}

func (p *plgConn) openFD(ctx context.Context, ns, op string, a args) (*os.File, error) {
	if err := p.hello(ctx); err != nil {
		return nil, err
	}
	r, err := p.ask(ns, op, a, nil)
	if err != nil {
		return nil, err
	}
	if len(r.fds) != 1 {
		return nil, fmt.Errorf("%s: %d descriptors", op, len(r.fds))
	}
	return os.NewFile(uintptr(r.fds[0]), op), nil
}

// ContentWriteFD writes the bytes into a descriptor that the daemon opened.
func (p *plgConn) ContentWriteFD(ctx context.Context, ns, ref string, data []byte, dgst string, labels map[string]string) error {
	a := args{Ref: ref, Total: int64(len(data)), Digest: dgst, Labels: labels}
	f, err := p.openFD(ctx, ns, "content.ingest_fd", a)
	if err != nil {
		return err
	}
	for off := 0; off < len(data) && err == nil; off += int(pluggdWire.WriteChunk) {
		end := off + int(pluggdWire.WriteChunk)
		if end > len(data) {
			end = len(data)
		}
		_, err = f.Write(data[off:end])
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		_, err = p.call(ctx, ns, "content.commit_fd", a)
	}
	return err
}

// ContentReadFD reads [offset, offset+size) from a descriptor that the daemon opened.
func (p *plgConn) ContentReadFD(ctx context.Context, ns, dgst string, offset, size int64) (int64, error) {
	f, err := p.openFD(ctx, ns, "content.open_fd", args{Digest: dgst})
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, pluggdWire.ReadChunk)
	var n int64
	for n < size {
		k := size - n
		if k > int64(len(buf)) {
			k = int64(len(buf))
		}
		m, err := f.ReadAt(buf[:k], offset+n)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (p *plgConn) ContentExists(ctx context.Context, ns, dgst string) (bool, error) {
	_, err := p.call(ctx, ns, "content.info", args{Digest: dgst})
	if err != nil {
		e := strings.ToLower(err.Error())
		if strings.Contains(e, "not found") || strings.Contains(e, "not_found") || strings.Contains(e, "notfound") {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

func (p *plgConn) ContentDelete(ctx context.Context, ns, dgst string) error {
	_, err := p.call(ctx, ns, "content.delete", args{Digest: dgst})
	return err
}

func (p *plgConn) Publish(ctx context.Context, ns, topic, event string) error {
	_, err := p.call(ctx, ns, "event.publish", args{Topic: topic, Event: event})
	return err
}

// Publisher returns a function that publishes without waiting for the answer, as
// long as not more than n are unanswered, and one that waits for all of them.
func (p *plgConn) Publisher(ctx context.Context, n int) (publish func(ns, topic, event string) error, drain func() error) {
	w := &window{p: p, n: n}
	return func(ns, topic, event string) error {
		r, err := p.start(ns, "event.publish", args{Topic: topic, Event: event}, nil)
		if err != nil {
			return err
		}
		return w.add(r)
	}, w.drain
}

func (p *plgConn) Subscribe(ctx context.Context, ns string, fn func(topic, event string)) error {
	more := pluggdWire.EventCredit / 2
	taken := 0
	first := true
	p.item = func(d *decoder, id uint32) {
		if first {
			first = false
			p.write([]interface{}{2, pluggdWire.Credit, []interface{}{id, pluggdWire.EventCredit}})
		}
		if taken++; taken == more {
			p.write([]interface{}{2, pluggdWire.Credit, []interface{}{id, taken}})
			taken = 0
		}
		under(d, pluggdWire.Envelope, func() {
			var x envelope
			d.envelope(&x)
			fn(x.Topic, x.Name)
		})
	}
	_, err := p.call(ctx, ns, "event.subscribe", args{}) // answers when it ends
	if ctx.Err() != nil {
		return nil
	}
	return err
}
