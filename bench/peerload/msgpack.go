// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
)

// A small msgpack codec. It is here rather than a library because a reflecting
// one costs more than the daemon's own work in several benches, on a machine
// that client and daemon share. What containerd's client has for this is generated
// code, so records are read into structs here too (records.go), field by field.

func packLen(b []byte, n int, fix, fixMax int, c8, c16, c32 byte) []byte {
	switch {
	case n <= fixMax:
		return append(b, byte(fix|n))
	case c8 != 0 && n < 1<<8:
		return append(b, c8, byte(n))
	case n < 1<<16:
		return append(b, c16, byte(n>>8), byte(n))
	}
	return append(b, c32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func packInt(b []byte, i int64) []byte {
	switch {
	case i >= 0 && i < 128, i < 0 && i >= -32:
		return append(b, byte(i))
	case i >= 0 && i < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(i))
	case i >= 0:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(i))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(i))
}

func packStr(b []byte, s string) []byte {
	return append(packLen(b, len(s), 0xa0, 31, 0xd9, 0xda, 0xdb), s...)
}

func packMap(b []byte, n int) []byte   { return packLen(b, n, 0x80, 15, 0, 0xde, 0xdf) }
func packArray(b []byte, n int) []byte { return packLen(b, n, 0x90, 15, 0, 0xdc, 0xdd) }

// packer encodes one message. Large bytes stay where they are, and leave from there.
type packer struct {
	b    []byte
	cuts []cut
}

// cut says which bytes follow b[:at].
type cut struct {
	at int
	p  []byte
}

func (k *packer) pack(v interface{}) error {
	k.b, k.cuts = k.b[:0], k.cuts[:0]
	return k.value(v)
}

// writeTo sends what was packed.
func (k *packer) writeTo(w io.Writer) error {
	if len(k.cuts) == 0 {
		_, err := w.Write(k.b)
		return err
	}
	var parts net.Buffers
	from := 0
	for _, c := range k.cuts {
		parts = append(parts, k.b[from:c.at], c.p)
		from = c.at
	}
	parts = append(parts, k.b[from:])
	_, err := parts.WriteTo(w)
	return err
}

func (k *packer) bytes(x []byte) {
	k.b = packLen(k.b, len(x), 0, -1, 0xc4, 0xc5, 0xc6)
	if len(x) >= large {
		k.cuts = append(k.cuts, cut{len(k.b), x})
	} else {
		k.b = append(k.b, x...)
	}
}

func (k *packer) value(v interface{}) error {
	switch x := v.(type) {
	case nil:
		k.b = append(k.b, 0xc0)
	case bool:
		if x {
			k.b = append(k.b, 0xc3)
		} else {
			k.b = append(k.b, 0xc2)
		}
	case int:
		k.b = packInt(k.b, int64(x))
	case int64:
		k.b = packInt(k.b, x)
	case uint32:
		k.b = packInt(k.b, int64(x))
	case float64:
		k.b = binary.BigEndian.AppendUint64(append(k.b, 0xcb), math.Float64bits(x))
	case string:
		k.b = packStr(k.b, x)
	case []byte:
		k.bytes(x)
	case []string:
		k.b = packArray(k.b, len(x))
		for _, s := range x {
			k.b = packStr(k.b, s)
		}
	case map[string]string:
		k.b = packMap(k.b, len(x))
		for n, s := range x {
			k.b = packStr(packStr(k.b, n), s)
		}
	case M:
		k.b = packMap(k.b, len(x))
		for n, e := range x {
			k.b = packStr(k.b, n)
			if err := k.value(e); err != nil {
				return err
			}
		}
	case []interface{}:
		k.b = packArray(k.b, len(x))
		for _, e := range x {
			if err := k.value(e); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("msgpack: cannot encode %T", v)
	}
	return nil
}

// decoder reads the values of one whole message, in place. The first error stays.
type decoder struct {
	b   []byte
	i   int
	err error
}

// width is the size of the number that follows the type bytes 0xc0 to 0xdf.
var width = [32]uint8{
	4: 1, 5: 2, 6: 4, 7: 1, 8: 2, 9: 4, 10: 4, 11: 8, 12: 1, 13: 2, 14: 4, 15: 8,
	16: 1, 17: 2, 18: 4, 19: 8, 25: 1, 26: 2, 27: 4, 28: 2, 29: 4, 30: 2, 31: 4,
}

// header is the type byte of the value at the front of b, the number that is in
// it or follows it (a length, a count, an integer's bits), and the bytes of both; 0
// bytes when they are not all there.
func header(b []byte) (c byte, v uint64, n int) {
	if len(b) == 0 {
		return 0, 0, 0
	}
	c = b[0]
	switch {
	case c < 0x80:
		return c, uint64(c), 1
	case c < 0xa0:
		return c & 0xf0, uint64(c & 15), 1
	case c < 0xc0:
		return 0xa0, uint64(c & 31), 1
	case c >= 0xe0:
		return c, uint64(int64(int8(c))), 1
	}
	w := int(width[c-0xc0])
	if len(b) <= w {
		return c, 0, 0
	}
	for _, x := range b[1 : 1+w] {
		v = v<<8 | uint64(x)
	}
	return c, v, 1 + w
}

// extent is how many bytes follow the header and how many values belong to it.
func extent(c byte, v uint64) (more, values int, err error) {
	switch {
	case c < 0x80 || c >= 0xe0:
	case c == 0x80 || c == 0xde || c == 0xdf:
		return 0, 2 * int(v), nil
	case c == 0x90 || c == 0xdc || c == 0xdd:
		return 0, int(v), nil
	case c == 0xa0 || c >= 0xd9 && c <= 0xdb || c >= 0xc4 && c <= 0xc6:
		return int(v), 0, nil
	case c >= 0xc7 && c <= 0xc9: // ext: its type byte, then the data
		return int(v) + 1, 0, nil
	case c >= 0xd4 && c <= 0xd8: // fixext 1, 2, 4, 8, 16
		return 1<<(c-0xd4) + 1, 0, nil
	case c == 0xc1:
		return 0, 0, fmt.Errorf("msgpack: byte 0xc1")
	}
	return 0, 0, nil
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("msgpack: expected %s at %d", what, d.i)
	}
}

func (d *decoder) head() (byte, uint64) {
	c, v, n := header(d.b[d.i:])
	if n == 0 || d.err != nil {
		d.fail("a value")
		return 0xc0, 0
	}
	d.i += n
	return c, v
}

// array is the number of elements that follow; nil has none.
func (d *decoder) array() int {
	switch c, v := d.head(); c {
	case 0x90, 0xdc, 0xdd:
		return int(v)
	case 0xc0:
	default:
		d.fail("an array")
	}
	return 0
}

// mapLen is the number of pairs that follow; nil has none.
func (d *decoder) mapLen() int {
	switch c, v := d.head(); c {
	case 0x80, 0xde, 0xdf:
		return int(v)
	case 0xc0:
	default:
		d.fail("a map")
	}
	return 0
}

// raw is the bytes of a string or a binary, in place.
func (d *decoder) raw() []byte {
	switch c, v := d.head(); c {
	case 0xa0, 0xd9, 0xda, 0xdb, 0xc4, 0xc5, 0xc6:
		if n := d.i + int(v); n <= len(d.b) {
			p := d.b[d.i:n:n]
			d.i = n
			return p
		}
		d.fail("more bytes")
	case 0xc0:
	default:
		d.fail("a string")
	}
	return nil
}

func (d *decoder) str() string { return string(d.raw()) }

func (d *decoder) int() int64 {
	c, v := d.head()
	switch {
	case c < 0x80 || c >= 0xe0 || c >= 0xcc && c <= 0xcf || c == 0xd3:
		return int64(v)
	case c == 0xd0:
		return int64(int8(v))
	case c == 0xd1:
		return int64(int16(v))
	case c == 0xd2:
		return int64(int32(v))
	case c != 0xc0:
		d.fail("an integer")
	}
	return 0
}

func (d *decoder) isNil() bool {
	if d.i < len(d.b) && d.b[d.i] == 0xc0 {
		d.i++
		return true
	}
	return false
}

func (d *decoder) skip() {
	for left := 1; left > 0 && d.err == nil; left-- {
		more, values, err := extent(d.head())
		if err != nil {
			d.err = err
		}
		d.i += more
		left += values
	}
}

// value reads anything; binaries stay in place.
func (d *decoder) value() interface{} {
	at := d.i
	c, v := d.head()
	switch {
	case d.err != nil || c == 0xc0:
		return nil
	case c == 0x80 || c == 0xde || c == 0xdf:
		m := make(M, v)
		for ; v > 0 && d.err == nil; v-- {
			k := d.str()
			m[k] = d.value()
		}
		return m
	case c == 0x90 || c == 0xdc || c == 0xdd:
		l := make([]interface{}, v)
		for i := range l {
			l[i] = d.value()
		}
		return l
	case c == 0xc2 || c == 0xc3:
		return c == 0xc3
	case c == 0xca:
		return float64(math.Float32frombits(uint32(v)))
	case c == 0xcb:
		return math.Float64frombits(v)
	}
	d.i = at
	switch {
	case c == 0xa0 || c >= 0xd9 && c <= 0xdb:
		return d.str()
	case c >= 0xc4 && c <= 0xc6:
		return d.raw()
	case c >= 0xc7 && c <= 0xc9 || c >= 0xd4 && c <= 0xd8:
		d.skip()
		return nil
	}
	return d.int()
}
