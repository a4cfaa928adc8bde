// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Raw limits of the machine, with no daemon in between.

func calib(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range []func(string) error{calibEcho, calibStream, calibSync, calibBlob, calibDiskWrite, calibSHA, calibMemcpy, calibFork} {
		waitQuiet()
		t, a, c := time.Now(), busyCPU(), selfCPU()
		time.Sleep(200 * time.Millisecond)
		calibOthers = others(busyCPU()-a-(selfCPU()-c), time.Since(t))
		if err := f(dir); err != nil {
			return err
		}
	}
	return nil
}

// calibOthers is what others used just before a calibration.
var calibOthers float64

func rawLine(name string, clients int, l []time.Duration, el time.Duration) {
	r := result{Bench: name, Target: "raw", Clients: clients, N: len(l), Ops: round(float64(len(l)) / el.Seconds()), Other: calibOthers, Load1: load1(), Rep: rep}
	r.lat(l)
	emit(r)
}

// echoServer is the other process of the socket calibrations. The first byte
// of a connection chooses: e = echo 64 bytes, s = send as fast as possible in
// 32 KiB writes, S = the same in 1 MiB writes.
func echoServer(sock string) error {
	l, err := net.Listen("unix", sock)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var k [1]byte
			if _, err := io.ReadFull(c, k[:]); err != nil {
				return
			}
			if k[0] == 'e' {
				var p [64]byte
				for {
					if _, err := io.ReadFull(c, p[:]); err != nil {
						return
					}
					if _, err := c.Write(p[:]); err != nil {
						return
					}
				}
			}
			p := make([]byte, 32*kib)
			if k[0] == 'S' {
				p = make([]byte, mib)
			}
			for {
				if _, err := c.Write(p); err != nil {
					return
				}
			}
		}()
	}
}

func withEcho(dir string, fn func(dial func(kind byte) (net.Conn, error)) error) error {
	sock := filepath.Join(dir, "echo.sock")
	os.Remove(sock)
	cmd := exec.Command("/proc/self/exe", "echo-server", sock)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { cmd.Process.Kill(); cmd.Wait(); os.Remove(sock) }()
	dial := func(kind byte) (net.Conn, error) {
		for i := 0; ; i++ {
			c, err := net.Dial("unix", sock)
			if err == nil {
				_, err = c.Write([]byte{kind})
				return c, err
			}
			if i > 500 {
				return nil, err
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return fn(dial)
}

func calibEcho(dir string) error {
	return withEcho(dir, func(dial func(byte) (net.Conn, error)) error {
		for _, n := range levels {
			var conns []net.Conn
			for i := 0; i < n; i++ {
				c, err := dial('e')
				if err != nil {
					return err
				}
				defer c.Close()
				conns = append(conns, c)
			}
			per := 30000 / n
			lats := make([][]time.Duration, n)
			var wg sync.WaitGroup
			t := time.Now()
			for w := range conns {
				wg.Add(1)
				go func(w int) {
					defer wg.Done()
					var p [64]byte
					for i := 0; i < per; i++ {
						t0 := time.Now()
						if _, err := conns[w].Write(p[:]); err != nil {
							return
						}
						if _, err := io.ReadFull(conns[w], p[:]); err != nil {
							return
						}
						lats[w] = append(lats[w], time.Since(t0))
					}
				}(w)
			}
			wg.Wait()
			el := time.Since(t)
			var all []time.Duration
			for _, l := range lats {
				all = append(all, l...)
			}
			rawLine("raw_unix_echo_64b", n, all, el)
		}
		return nil
	})
}

func calibStream(dir string) error {
	return withEcho(dir, func(dial func(byte) (net.Conn, error)) error {
		for _, k := range []struct {
			kind byte
			name string
		}{{'s', "raw_unix_stream_32k"}, {'S', "raw_unix_stream_1m"}} {
			c, err := dial(k.kind)
			if err != nil {
				return err
			}
			p := make([]byte, mib)
			t := time.Now()
			if _, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(c, gib), p); err != nil {
				return err
			}
			emitMetric("raw", k.name, gib/time.Since(t).Seconds()/1e6, "MB/s", "")
			c.Close()
		}
		return nil
	})
}

type onlyWriter struct{ io.Writer }

func timed(n int, op func(i int) error) ([]time.Duration, time.Duration, error) {
	l := make([]time.Duration, 0, n)
	t := time.Now()
	for i := 0; i < n; i++ {
		t0 := time.Now()
		if err := op(i); err != nil {
			return l, 0, err
		}
		l = append(l, time.Since(t0))
	}
	return l, time.Since(t), nil
}

func calibSync(dir string) error {
	page := make([]byte, 4*kib)
	for _, n := range []int{1, 8} { // append: the size changes, so the journal commits
		lats := make([][]time.Duration, n)
		errs := make([]error, n)
		var wg sync.WaitGroup
		t := time.Now()
		for w := 0; w < n; w++ {
			wg.Add(1)
			go func(w int) {
				defer wg.Done()
				f, err := os.Create(filepath.Join(dir, fmt.Sprintf("append-%d", w)))
				if err != nil {
					errs[w] = err
					return
				}
				defer func() { f.Close(); os.Remove(f.Name()) }()
				lats[w], _, errs[w] = timed(500, func(i int) error {
					if _, err := f.Write(page); err != nil {
						return err
					}
					return syscall.Fdatasync(int(f.Fd()))
				})
			}(w)
		}
		wg.Wait()
		el := time.Since(t)
		var all []time.Duration
		for w := range lats {
			if errs[w] != nil {
				return errs[w]
			}
			all = append(all, lats[w]...)
		}
		rawLine("raw_append_4k_fdatasync", n, all, el)
	}
	f, err := os.Create(filepath.Join(dir, "overwrite"))
	if err != nil {
		return err
	}
	defer func() { f.Close(); os.Remove(f.Name()) }()
	if _, err := f.Write(make([]byte, 8*mib)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	l, el, err := timed(500, func(i int) error {
		if _, err := f.WriteAt(page, int64(i)*4*kib); err != nil {
			return err
		}
		return syscall.Fdatasync(int(f.Fd()))
	})
	if err != nil {
		return err
	}
	rawLine("raw_overwrite_4k_fdatasync", 1, l, el)
	// The shape of one commit of a copy-on-write B+tree: the pages, a flush,
	// the meta page, a flush.
	pages := make([]byte, 16*kib)
	l, el, err = timed(500, func(i int) error {
		if _, err := f.WriteAt(pages, int64(1+i%400)*16*kib); err != nil {
			return err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		if _, err := f.WriteAt(page, int64(i%2)*4*kib); err != nil {
			return err
		}
		return syscall.Fdatasync(int(f.Fd()))
	})
	if err != nil {
		return err
	}
	rawLine("raw_btree_commit_2x_fdatasync", 1, l, el)
	return nil
}

// calibBlob: the least that a durable 4 KiB blob costs: create, write, fsync, rename.
func calibBlob(dir string) error {
	page := make([]byte, 4*kib)
	d := filepath.Join(dir, "blobs")
	os.MkdirAll(d, 0o755)
	defer os.RemoveAll(d)
	l, el, err := timed(300, func(i int) error {
		p := filepath.Join(d, fmt.Sprint(i))
		f, err := os.Create(p + ".tmp")
		if err != nil {
			return err
		}
		f.Write(page)
		if err := f.Sync(); err != nil {
			return err
		}
		f.Close()
		return os.Rename(p+".tmp", p)
	})
	if err != nil {
		return err
	}
	rawLine("raw_blob_4k_create_fsync_rename", 1, l, el)
	return nil
}

func calibDiskWrite(dir string) error {
	p := filepath.Join(dir, "big")
	defer os.Remove(p)
	buf := make([]byte, mib)
	for i := range buf {
		buf[i] = byte(i * 7)
	}
	t := time.Now()
	f, err := os.Create(p)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, mib)
	for i := 0; i < 256; i++ {
		w.Write(buf)
	}
	w.Flush()
	tw := time.Since(t)
	if err := f.Sync(); err != nil {
		return err
	}
	emitMetric("raw", "raw_file_write_256m_fsync", 256*mib/time.Since(t).Seconds()/1e6, "MB/s", "page cache and fsync together")
	emitMetric("raw", "raw_file_write_256m_cache", 256*mib/tw.Seconds()/1e6, "MB/s", "into the page cache only")
	f.Close()
	f, err = os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	t = time.Now()
	for {
		if _, err := f.Read(buf); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	emitMetric("raw", "raw_file_read_256m_cached", 256*mib/time.Since(t).Seconds()/1e6, "MB/s", "")
	return nil
}

func calibSHA(string) error {
	p := make([]byte, 64*mib)
	for i := range p {
		p[i] = byte(i)
	}
	t := time.Now()
	for i := 0; i < 4; i++ {
		sha256.Sum256(p)
	}
	emitMetric("raw", "raw_sha256_go", 4*64*mib/time.Since(t).Seconds()/1e6, "MB/s", "crypto/sha256 of the Go that built this program")
	if py, err := exec.LookPath("python3"); err == nil {
		o, err := exec.Command(py, "-c", "import hashlib,time\nb=bytes(range(256))*(1<<18)\nhashlib.sha256(b).digest()\nt=time.perf_counter()\nfor i in range(4): hashlib.sha256(b).digest()\nprint(4*len(b)/(time.perf_counter()-t)/1e6)").Output()
		var v float64
		if err == nil {
			if _, err := fmt.Sscan(string(o), &v); err == nil {
				emitMetric("raw", "raw_sha256_python_hashlib", v, "MB/s", "")
			}
		}
	}
	return nil
}

func calibMemcpy(string) error {
	a, b := make([]byte, 256*mib), make([]byte, 256*mib)
	copy(b, a)
	t := time.Now()
	for i := 0; i < 4; i++ {
		copy(b, a)
	}
	emitMetric("raw", "raw_memcpy", 4*256*mib/time.Since(t).Seconds()/1e9, "GB/s", "")
	return nil
}

func calibFork(string) error {
	measure := func(name string, args ...string) error {
		l, el, err := timed(20, func(i int) error { return exec.Command(args[0], args[1:]...).Run() })
		if err == nil {
			rawLine(name, 1, l, el)
		}
		return err
	}
	if err := measure("raw_spawn_true", "/bin/true"); err != nil {
		return err
	}
	// The interpreter itself: what PATH has may be a shell script before it.
	if py, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output(); err == nil {
		return measure("raw_spawn_python3_pass", strings.TrimSpace(string(py)), "-I", "-S", "-c", "pass")
	}
	return nil
}
