// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
)

// The pluggd target: msgpack-RPC on a unix socket, with notifications from the
// server and several requests in flight. A connection belongs to one goroutine, which
// reads while it waits: nobody hands answers over.

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
	in := &fdReader{c: c}
	return &plgConn{c: c, in: in, frames: newFramer(in), wait: map[uint32]*pending{}}, nil
}

// fdReader reads the socket, and collects the descriptors that come with the
// bytes once `want` is set.
type fdReader struct {
	c    *net.UnixConn
	want bool
	fds  []int
}

func (r *fdReader) Read(b []byte) (int, error) {
	if !r.want {
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

// pending is a request that waits for its answer, and then the answer. The result
// is decoded when it comes: by `decode`, or to plain values.
type pending struct {
	decode func(d *decoder)
	done   bool
	err    error
	result interface{}
	buf    []byte // in which the result is, if that is large
	fds    []int
}

type plgConn struct {
	c         *net.UnixConn
	in        *fdReader
	frames    *framer
	buf       packer
	nextID    uint32
	wait      map[uint32]*pending
	announced int // descriptors of the next response
	item      func(d *decoder, id uint32)
	dead      error
}

func (p *plgConn) Close() error { return p.c.Close() }

// receive takes in one message.
func (p *plgConn) receive() error {
	if p.dead != nil {
		return p.dead
	}
	m, err := p.frames.next()
	if err == nil {
		d := &decoder{b: m}
		switch n, kind := d.array(), d.int(); {
		case n == 4 && kind == 1:
			p.response(d)
		case n == 3 && kind == 2:
			p.notification(d)
		}
		err = d.err
	}
	p.dead = err
	return err
}

func (p *plgConn) response(d *decoder) {
	id := uint32(d.int())
	r := p.wait[id]
	if r == nil {
		return
	}
	delete(p.wait, id)
	if n := p.announced; n > 0 && n <= len(p.in.fds) {
		r.fds, p.in.fds = p.in.fds[:n:n], p.in.fds[n:]
	}
	p.announced = 0
	r.done = true
	if !d.isNil() {
		r.err = fmt.Errorf("%v", d.value())
		return
	}
	if r.decode != nil {
		r.decode(d)
		return
	}
	r.result = d.value()
	if len(d.b) < large {
		r.result = kept(r.result)
	} else {
		r.buf = p.frames.given
	}
}

// kept copies what is still in the buffer of its message.
func kept(v interface{}) interface{} {
	switch x := v.(type) {
	case []byte:
		return append([]byte{}, x...)
	case M:
		for k, e := range x {
			x[k] = kept(e)
		}
	case []interface{}:
		for i, e := range x {
			x[i] = kept(e)
		}
	}
	return v
}

func (p *plgConn) notification(d *decoder) {
	switch string(d.raw()) {
	case pluggdWire.Item:
		if p.item != nil && d.array() == 2 {
			p.item(d, uint32(d.int()))
		}
	case pluggdWire.Fds:
		if d.array() == 2 {
			d.int()
			p.announced = int(d.int())
		}
	}
}

func (p *plgConn) start(ns, op string, a args, decode func(d *decoder)) (*pending, error) {
	row, ok := pluggdTable[op]
	if !ok {
		return nil, fmt.Errorf("no row %q in the table", op)
	}
	p.nextID++
	r := &pending{decode: decode}
	p.wait[p.nextID] = r
	return r, p.write([]interface{}{0, p.nextID, row.Method, []interface{}{row.Req(a), pluggdMeta(ns)}})
}

func (p *plgConn) write(message []interface{}) error {
	if err := p.buf.pack(message); err != nil {
		return err
	}
	return p.buf.writeTo(p.c)
}

// finish waits for the answer.
func (p *plgConn) finish(r *pending) error {
	for !r.done {
		if err := p.receive(); err != nil {
			return err
		}
	}
	return r.err
}

func (p *plgConn) ask(ns, op string, a args, decode func(d *decoder)) (*pending, error) {
	r, err := p.start(ns, op, a, decode)
	if err == nil {
		err = p.finish(r)
	}
	return r, err
}

func (p *plgConn) call(ctx context.Context, ns, op string, a args) (interface{}, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := p.ask(ns, op, a, nil)
	if err != nil {
		return nil, err
	}
	return r.result, nil
}

// under reads the value of one key of a map, and skips the others.
func under(d *decoder, key string, read func()) {
	for n := d.mapLen(); n > 0 && d.err == nil; n-- {
		if string(d.raw()) == key {
			read()
		} else {
			d.skip()
		}
	}
}
