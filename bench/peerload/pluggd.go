// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// The pluggd target: msgpack-RPC on a unix socket, with notifications from the
// server and several requests in flight.

type plgTarget struct{ sock string }

func (t *plgTarget) Name() string { return "pluggd" }

func (t *plgTarget) Dial(ctx context.Context) (conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", t.sock)
	if err != nil {
		return nil, err
	}
	c, ok := nc.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%s: not a unix socket", t.sock)
	}
	p := &plgConn{c: c, in: &fdReader{c: c}, wait: map[uint32]chan reply{}}
	go p.readLoop()
	return p, nil
}

type reply struct {
	err    error
	result interface{}
	fds    []int
}

// fdReader reads the socket, and collects the descriptors that come with the
// bytes once `want` is set.
type fdReader struct {
	c    *net.UnixConn
	want int32
	fds  []int
}

func (r *fdReader) Read(b []byte) (int, error) {
	if atomic.LoadInt32(&r.want) == 0 {
		return r.c.Read(b)
	}
	oob := make([]byte, syscall.CmsgSpace(4*16))
	n, on, _, _, err := r.c.ReadMsgUnix(b, oob)
	if err != nil {
		return 0, err // n is -1 then
	}
	if n == 0 && on == 0 {
		return 0, io.EOF
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return n, err
	}
	for i := range msgs {
		fds, err := syscall.ParseUnixRights(&msgs[i])
		if err != nil {
			return n, err
		}
		r.fds = append(r.fds, fds...)
	}
	return n, nil
}

type plgConn struct {
	c  *net.UnixConn
	in *fdReader

	wmu sync.Mutex
	buf []byte

	mu     sync.Mutex
	nextID uint32
	wait   map[uint32]chan reply
	notify func(method string, params []interface{})
	dead   error
}

func (p *plgConn) Close() error { return p.c.Close() }

func (p *plgConn) readLoop() {
	u := newUnpacker(p.in)
	announced := 0 // descriptors of the next response
	var err error
	for {
		var v interface{}
		if v, err = u.value(false); err != nil {
			break
		}
		msg, _ := v.([]interface{})
		if len(msg) == 4 && toInt(msg[0]) == 1 {
			id := uint32(toInt(msg[1]))
			p.mu.Lock()
			ch := p.wait[id]
			delete(p.wait, id)
			p.mu.Unlock()
			if ch != nil {
				r := reply{result: msg[3]}
				if announced > 0 && announced <= len(p.in.fds) {
					r.fds, p.in.fds = p.in.fds[:announced:announced], p.in.fds[announced:]
				}
				announced = 0
				if msg[2] != nil {
					r.err = fmt.Errorf("%v", msg[2])
				}
				ch <- r
			}
		} else if len(msg) == 3 && toInt(msg[0]) == 2 {
			p.mu.Lock()
			fn := p.notify
			p.mu.Unlock()
			m, _ := msg[1].(string)
			ps, _ := msg[2].([]interface{})
			if m == pluggdWire.Fds && len(ps) == 2 {
				announced = int(toInt(ps[1]))
			} else if fn != nil {
				fn(m, ps)
			}
		}
	}
	p.mu.Lock()
	p.dead = err
	for id, ch := range p.wait {
		delete(p.wait, id)
		ch <- reply{err: err}
	}
	p.mu.Unlock()
}

func toInt(v interface{}) int64 {
	if x, ok := v.(int64); ok {
		return x
	}
	return -1
}

func (p *plgConn) start(ns, op string, a args) (chan reply, error) {
	row, ok := pluggdTable[op]
	if !ok {
		return nil, fmt.Errorf("no row %q in the table", op)
	}
	ch := make(chan reply, 1)
	p.mu.Lock()
	if p.dead != nil {
		p.mu.Unlock()
		return nil, p.dead
	}
	p.nextID++
	id := p.nextID
	p.wait[id] = ch
	p.mu.Unlock()

	return ch, p.write([]interface{}{0, id, row.Method, []interface{}{row.Req(a), pluggdMeta(ns)}})
}

func (p *plgConn) write(message []interface{}) error {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	var err error
	p.buf, err = pack(p.buf[:0], message)
	if err == nil {
		_, err = p.c.Write(p.buf)
	}
	return err
}

func (p *plgConn) call(ctx context.Context, ns, op string, a args) (interface{}, error) {
	r := p.ask(ctx, ns, op, a)
	return r.result, r.err
}

func (p *plgConn) ask(ctx context.Context, ns, op string, a args) reply {
	ch, err := p.start(ns, op, a)
	if err != nil {
		return reply{err: err}
	}
	select {
	case r := <-ch:
		return r
	case <-ctx.Done():
		return reply{err: ctx.Err()}
	}
}

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
	_, err := p.call(ctx, ns, "image.get", args{Name: name})
	return err
}

func (p *plgConn) ImageList(ctx context.Context, ns string) (int, error) {
	v, err := p.call(ctx, ns, "image.list", args{})
	return count(v, pluggdWire.Images), err
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
	ctx context.Context
	q   []chan reply
	n   int
	got func(interface{}) error
}

func (w *window) add(ch chan reply) error {
	w.q = append(w.q, ch)
	if len(w.q) >= w.n {
		return w.pop()
	}
	return nil
}

func (w *window) pop() error {
	ch := w.q[0]
	w.q = w.q[1:]
	select {
	case r := <-ch:
		if r.err != nil || w.got == nil {
			return r.err
		}
		return w.got(r.result)
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
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
	w := &window{ctx: ctx, n: pluggdWire.WriteWindow}
	for off := int64(0); off < total; {
		end := off + pluggdWire.WriteChunk
		if end > total {
			end = total
		}
		ch, err := p.start(ns, "content.write", args{Ref: ref, Offset: off, Data: data[off:end]})
		if err != nil {
			return err
		}
		if err := w.add(ch); err != nil {
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
	w := &window{ctx: ctx, n: pluggdWire.ReadWindow, got: func(v interface{}) error {
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
		ch, err := p.start(ns, "content.read", args{Digest: dgst, Offset: off, Size: k})
		if err != nil {
			return n, err
		}
		if err := w.add(ch); err != nil {
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
	if atomic.LoadInt32(&p.in.want) == 1 {
		return nil
	}
	atomic.StoreInt32(&p.in.want, 1)
	// The read loop may be in a plain read, which ends with the answer.
	_, err := p.call(ctx, "default", "hello", args{})
	return err
}

func (p *plgConn) openFD(ctx context.Context, ns, op string, a args) (*os.File, error) {
	if err := p.hello(ctx); err != nil {
		return nil, err
	}
	r := p.ask(ctx, ns, op, a)
	if r.err != nil {
		return nil, r.err
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
	w := &window{ctx: ctx, n: n}
	return func(ns, topic, event string) error {
		ch, err := p.start(ns, "event.publish", args{Topic: topic, Event: event})
		if err != nil {
			return err
		}
		return w.add(ch)
	}, w.drain
}

func (p *plgConn) Subscribe(ctx context.Context, ns string, fn func(topic, event string)) error {
	more := pluggdWire.EventCredit / 2
	taken := 0
	var id int64 = -1
	p.mu.Lock()
	p.notify = func(method string, params []interface{}) {
		if method != pluggdWire.Item || len(params) != 2 {
			return
		}
		if id < 0 {
			id = toInt(params[0])
			p.write([]interface{}{2, pluggdWire.Credit, []interface{}{id, pluggdWire.EventCredit}})
		}
		if taken++; taken == more {
			p.write([]interface{}{2, pluggdWire.Credit, []interface{}{id, taken}})
			taken = 0
		}
		topic, name := pluggdWire.EventOf(params)
		fn(topic, name)
	}
	p.mu.Unlock()
	_, err := p.call(ctx, ns, "event.subscribe", args{}) // answers when it ends
	if ctx.Err() != nil {
		return nil
	}
	return err
}
