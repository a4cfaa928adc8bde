// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// A small msgpack codec. It is here rather than a library because a reflecting
// one costs more than the daemon's own work in several benches, on a machine
// that client and daemon share.

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

type unpacker struct {
	r    *bufio.Reader
	keys map[string]string // map keys recur: one string each
}

func newUnpacker(r io.Reader) *unpacker {
	return &unpacker{bufio.NewReaderSize(r, 256<<10), map[string]string{}}
}

func (u *unpacker) uint(n int) (uint64, error) {
	p, err := u.r.Peek(n)
	if err != nil {
		return 0, err
	}
	var v uint64
	for _, c := range p {
		v = v<<8 | uint64(c)
	}
	u.r.Discard(n)
	return v, nil
}

func (u *unpacker) bytes(n int) ([]byte, error) {
	p := make([]byte, n)
	_, err := io.ReadFull(u.r, p)
	return p, err
}

func (u *unpacker) str(n int, key bool) (string, error) {
	if n > 1024 {
		p, err := u.bytes(n)
		return string(p), err
	}
	p, err := u.r.Peek(n)
	if err != nil {
		return "", err
	}
	var s string
	if key {
		var ok bool
		if s, ok = u.keys[string(p)]; !ok {
			s = string(p)
			if len(u.keys) < 1000 {
				u.keys[s] = s
			}
		}
	} else {
		s = string(p)
	}
	u.r.Discard(n)
	return s, nil
}

func (u *unpacker) array(n int) (interface{}, error) {
	l := make([]interface{}, n)
	for i := range l {
		v, err := u.value(false)
		if err != nil {
			return nil, err
		}
		l[i] = v
	}
	return l, nil
}

func (u *unpacker) mapOf(n int) (interface{}, error) {
	m := make(M, n)
	for i := 0; i < n; i++ {
		k, err := u.value(true)
		if err != nil {
			return nil, err
		}
		v, err := u.value(false)
		if err != nil {
			return nil, err
		}
		if s, ok := k.(string); ok {
			m[s] = v
		} else {
			m[fmt.Sprint(k)] = v
		}
	}
	return m, nil
}

// width is the size of the number that follows the type bytes 0xc0 to 0xdf.
var width = [32]uint8{
	4: 1, 5: 2, 6: 4, 7: 1, 8: 2, 9: 4, 10: 4, 11: 8, 12: 1, 13: 2, 14: 4, 15: 8,
	16: 1, 17: 2, 18: 4, 19: 8, 25: 1, 26: 2, 27: 4, 28: 2, 29: 4, 30: 2, 31: 4,
}

func (u *unpacker) value(key bool) (interface{}, error) {
	c, err := u.r.ReadByte()
	if err != nil {
		return nil, err
	}
	switch {
	case c < 0x80:
		return int64(c), nil
	case c < 0x90:
		return u.mapOf(int(c & 15))
	case c < 0xa0:
		return u.array(int(c & 15))
	case c < 0xc0:
		return u.str(int(c&31), key)
	case c >= 0xe0:
		return int64(int8(c)), nil
	}
	switch c {
	case 0xc0:
		return nil, nil
	case 0xc2:
		return false, nil
	case 0xc3:
		return true, nil
	}
	var v uint64
	if w := width[c-0xc0]; w > 0 {
		if v, err = u.uint(int(w)); err != nil {
			return nil, err
		}
	}
	switch c {
	case 0xc4, 0xc5, 0xc6:
		return u.bytes(int(v))
	case 0xc7, 0xc8, 0xc9: // ext: its type byte, then the data
		return u.bytes(int(v) + 1)
	case 0xca:
		return float64(math.Float32frombits(uint32(v))), nil
	case 0xcb:
		return math.Float64frombits(v), nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return int64(v), nil
	case 0xd0:
		return int64(int8(v)), nil
	case 0xd1:
		return int64(int16(v)), nil
	case 0xd2:
		return int64(int32(v)), nil
	case 0xd3:
		return int64(v), nil
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext 1, 2, 4, 8, 16
		return u.bytes(1<<(c-0xd4) + 1)
	case 0xd9, 0xda, 0xdb:
		return u.str(int(v), key)
	case 0xdc, 0xdd:
		return u.array(int(v))
	case 0xde, 0xdf:
		return u.mapOf(int(v))
	}
	return nil, fmt.Errorf("msgpack: byte %#x", c)
}
