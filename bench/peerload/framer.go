// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import "io"

// large is the size from which a message is given away with its buffer, and bytes are
// sent from where they are, so that a piece of a blob is not copied.
const large = 64 << 10

// framer cuts what it reads into whole messages, which have no length in front. It
// looks at each header once, however the bytes come.
type framer struct {
	r     io.Reader
	buf   []byte
	start int      // of the message
	pos   int      // of the next header
	end   int      // of what was read
	left  int      // values that the message still has
	given []byte   // the whole buffer of the last large message
	spare [][]byte // given back
}

func newFramer(r io.Reader) *framer {
	return &framer{r: r, buf: make([]byte, 32<<10), left: 1}
}

// next is the next message, valid until the next call. A large one is the caller's.
func (f *framer) next() ([]byte, error) {
	for {
		for f.left > 0 && f.pos < f.end {
			c, v, n := header(f.buf[f.pos:f.end])
			if n == 0 {
				break
			}
			more, values, err := extent(c, v)
			if err != nil {
				return nil, err
			}
			f.pos += n + more
			f.left += values - 1
		}
		if f.left == 0 && f.pos <= f.end {
			m := f.buf[f.start:f.pos:f.pos]
			f.start, f.left = f.pos, 1
			if len(m) >= large {
				rest := f.buf[f.start:f.end]
				f.given = f.buf
				f.buf = f.another(len(f.buf))
				f.end = copy(f.buf, rest)
				f.start, f.pos = 0, 0
			}
			return m, nil
		}
		if err := f.fill(); err != nil {
			return nil, err
		}
	}
}

// another is a buffer of n bytes: memory that is new costs more than the bytes that
// are read into it.
func (f *framer) another(n int) []byte {
	if k := len(f.spare) - 1; k >= 0 && cap(f.spare[k]) >= n {
		b := f.spare[k][:cap(f.spare[k])]
		f.spare = f.spare[:k]
		return b
	}
	return make([]byte, n)
}

// giveBack takes the buffer of a message that nobody looks at any more.
func (f *framer) giveBack(b []byte) {
	if b != nil && len(f.spare) < 4 {
		f.spare = append(f.spare, b)
	}
}

func (f *framer) fill() error {
	if f.start == f.end {
		f.pos -= f.start
		f.start, f.end = 0, 0
	}
	need := f.pos - f.start + 16 // where the next header may end
	if need > len(f.buf)-f.start || f.end == len(f.buf) {
		to := f.buf
		if need > len(to) || f.end-f.start > len(to)/2 {
			to = make([]byte, 2*len(to)+need)
		}
		f.end = copy(to, f.buf[f.start:f.end])
		f.pos -= f.start
		f.start, f.buf = 0, to
	}
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
