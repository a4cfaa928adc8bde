// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"math"
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

func pack(b []byte, v interface{}) ([]byte, error) {
	var err error
	switch x := v.(type) {
	case nil:
		return append(b, 0xc0), nil
	case bool:
		if x {
			return append(b, 0xc3), nil
		}
		return append(b, 0xc2), nil
	case int:
		return packInt(b, int64(x)), nil
	case int64:
		return packInt(b, x), nil
	case uint32:
		return packInt(b, int64(x)), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(x)), nil
	case string:
		return packStr(b, x), nil
	case []byte:
		return append(packLen(b, len(x), 0, -1, 0xc4, 0xc5, 0xc6), x...), nil
	case []string:
		b = packArray(b, len(x))
		for _, s := range x {
			b = packStr(b, s)
		}
		return b, nil
	case map[string]string:
		b = packMap(b, len(x))
		for k, s := range x {
			b = packStr(packStr(b, k), s)
		}
		return b, nil
	case M:
		b = packMap(b, len(x))
		for k, e := range x {
			if b, err = pack(packStr(b, k), e); err != nil {
				return b, err
			}
		}
		return b, nil
	case []interface{}:
		b = packArray(b, len(x))
		for _, e := range x {
			if b, err = pack(b, e); err != nil {
				return b, err
			}
		}
		return b, nil
	}
	return b, fmt.Errorf("msgpack: cannot encode %T", v)
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
