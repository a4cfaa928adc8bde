// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

var levels = []int{1, 8, 64}

// A group shares a population; benches inside a group are always run in order.
var groups = []struct {
	name string
	run  func(b *bencher) error
}{
	{"introspection", benchPlugins},
	{"namespaces", benchNamespaces},
	{"images", benchImages},
	{"containers", benchContainers},
	{"content", benchContent},
	{"events", benchEvents},
	{"list10000", benchList10000},
}

func imageName(i int) string {
	return fmt.Sprintf("registry.example.com/peerload/image-%06d:latest", i)
}

func hexDigest(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

func imageTarget(i int) descriptor {
	return descriptor{"application/vnd.oci.image.manifest.v1+json", hexDigest([]byte("manifest " + strconv.Itoa(i))), int64(1024 + i)}
}

func labelsOf(i int) map[string]string {
	return map[string]string{
		"com.example.peerload/role": "bench",
		"com.example.peerload/seq":  strconv.Itoa(i),
		"com.example.peerload/tier": "gold",
	}
}

// root is the label that keeps a blob from garbage collection.
func root() map[string]string {
	return map[string]string{"containerd.io/gc.root": "2026-01-01T00:00:00Z"}
}

func spread(i, mod int) int {
	h := fnv.New32a()
	var k [8]byte
	binary.LittleEndian.PutUint64(k[:], uint64(i))
	h.Write(k[:])
	return int(h.Sum32() % uint32(mod))
}

func benchPlugins(b *bencher) error {
	for _, c := range levels {
		b.closed("introspection_plugins", c, b.n(2000), 0, func(k conn, i int) error {
			n, err := k.Plugins(b.ctx)
			if err == nil && n == 0 {
				err = fmt.Errorf("no plugins")
			}
			return err
		})
		b.closed("version", c, b.n(5000), 0, func(k conn, i int) error {
			_, err := k.Version(b.ctx)
			return err
		})
	}
	return nil
}

func benchNamespaces(b *bencher) error {
	name := func(i int) string { return fmt.Sprintf("peerload-ns-%05d", i) }
	for _, c := range levels {
		n := b.closed("namespace_create", c, b.n(200*c/(1+c/16)), 0, func(k conn, i int) error {
			return k.NamespaceCreate(b.ctx, name(i), map[string]string{"com.example.peerload/role": "bench"})
		})
		b.closed("namespace_delete", c, n, 0, func(k conn, i int) error { return k.NamespaceDelete(b.ctx, name(i)) })
	}
	const have = 100
	if err := b.quiet(8, have, func(k conn, i int) error { return k.NamespaceCreate(b.ctx, name(i), nil) }); err != nil {
		return err
	}
	for _, c := range levels {
		b.closed("namespace_list_100", c, b.n(3000), 0, func(k conn, i int) error {
			n, err := k.NamespaceList(b.ctx)
			if err == nil && n < have {
				err = fmt.Errorf("%d namespaces", n)
			}
			return err
		})
	}
	return b.quiet(8, have, func(k conn, i int) error { return k.NamespaceDelete(b.ctx, name(i)) })
}

func benchImages(b *bencher) error {
	const ns = "peerload-img"
	for _, c := range levels {
		n := b.closed("image_create", c, b.n(map[int]int{1: 1000, 8: 3000, 64: 6000}[c]), 0, func(k conn, i int) error {
			return k.ImageCreate(b.ctx, ns, imageName(i), imageTarget(i), labelsOf(i))
		})
		if n == 0 {
			return fmt.Errorf("image_create: nothing created")
		}
		b.closed("image_get", c, b.n(map[int]int{1: 20000, 8: 40000, 64: 100000}[c]), 0, func(k conn, i int) error {
			return k.ImageGet(b.ctx, ns, imageName(spread(i, n)))
		})
		b.closed("image_update", c, n, 0, func(k conn, i int) error {
			l := labelsOf(i)
			l["com.example.peerload/tier"] = "silver"
			return k.ImageUpdate(b.ctx, ns, imageName(i), descriptor{}, l, []string{"labels"})
		})
		b.closed("image_delete_async", c, n, 0, func(k conn, i int) error {
			return k.ImageDelete(b.ctx, ns, imageName(i), false)
		})
	}
	// 1000 images stay; list them, and delete others synchronously next to them.
	const have = 1000
	create := func(n, from int) error {
		return b.quiet(64, n, func(k conn, i int) error {
			return k.ImageCreate(b.ctx, ns, imageName(from+i), imageTarget(from+i), labelsOf(from+i))
		})
	}
	if err := create(have, 0); err != nil {
		return err
	}
	for _, c := range levels {
		b.closed("image_list_1000", c, b.n(map[int]int{1: 100, 8: 200, 64: 256}[c]), 0, func(k conn, i int) error {
			n, err := k.ImageList(b.ctx, ns)
			if err == nil && n != have {
				err = fmt.Errorf("%d images", n)
			}
			return err
		})
	}
	for _, c := range levels {
		n := b.n(map[int]int{1: 100, 8: 400, 64: 1600}[c])
		if err := create(n, 100000); err != nil {
			return err
		}
		d := b.closed("image_delete_sync", c, n, 0, func(k conn, i int) error {
			return k.ImageDelete(b.ctx, ns, imageName(100000+i), true)
		})
		if err := b.quiet(64, n-d, func(k conn, i int) error {
			return k.ImageDelete(b.ctx, ns, imageName(100000+d+i), false)
		}); err != nil {
			return err
		}
	}
	return b.quiet(64, have, func(k conn, i int) error { return k.ImageDelete(b.ctx, ns, imageName(i), false) })
}

func benchList10000(b *bencher) error {
	const ns, have = "peerload-img10k", 10000
	if err := populate(b, ns, have); err != nil {
		return err
	}
	for _, c := range levels {
		b.closed("image_list_10000", c, b.n(map[int]int{1: 20, 8: 32, 64: 128}[c]), 0, func(k conn, i int) error {
			n, err := k.ImageList(b.ctx, ns)
			if err == nil && n != have {
				err = fmt.Errorf("%d images", n)
			}
			return err
		})
	}
	b.closed("image_get_of_10000", 1, b.n(5000), 0, func(k conn, i int) error {
		return k.ImageGet(b.ctx, ns, imageName(spread(i, have)))
	})
	return b.quiet(64, have, func(k conn, i int) error { return k.ImageDelete(b.ctx, ns, imageName(i), false) })
}

func populate(b *bencher, ns string, n int) error {
	return b.quiet(64, n, func(k conn, i int) error {
		return k.ImageCreate(b.ctx, ns, imageName(i), imageTarget(i), labelsOf(i))
	})
}

// ociSpec is a runtime spec of the size that a real container has (8 KiB).
func ociSpec() []byte {
	type m = map[string]interface{}
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}
	var mounts []m
	for i := 0; i < 24; i++ {
		mounts = append(mounts, m{"destination": fmt.Sprintf("/mnt/volume-%02d", i), "type": "bind", "source": fmt.Sprintf("/var/lib/volumes/volume-%02d/data", i), "options": []string{"rbind", "rw", "nosuid", "nodev"}})
	}
	var env []string
	for i := 0; i < 40; i++ {
		env = append(env, fmt.Sprintf("SERVICE_%02d_ADDRESS=10.0.%d.%d:8080", i, i, i))
	}
	s := m{
		"ociVersion": "1.0.2", "root": m{"path": "rootfs"}, "hostname": "peerload",
		"process": m{"args": []string{"/bin/sh", "-c", "sleep 3600"}, "cwd": "/", "env": env,
			"capabilities": m{"bounding": caps, "effective": caps, "permitted": caps}, "noNewPrivileges": true},
		"mounts": mounts,
		"linux":  m{"cgroupsPath": "/peerload/one", "namespaces": []m{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}}},
	}
	b, _ := json.Marshal(s)
	if len(b) < 8*kib {
		s["annotations"] = m{"com.example.peerload/pad": strings.Repeat("x", 8*kib-len(b)-50)}
		b, _ = json.Marshal(s)
	}
	return b
}

func benchContainers(b *bencher) error {
	const ns = "peerload-ctr"
	spec := ociSpec()
	id := func(i int) string { return fmt.Sprintf("peerload-%06d", i) }
	for _, c := range levels {
		n := b.closed("container_create", c, b.n(map[int]int{1: 500, 8: 1500, 64: 3000}[c]), 0, func(k conn, i int) error {
			return k.ContainerCreate(b.ctx, ns, id(i), imageName(0), spec, labelsOf(i))
		})
		if n == 0 {
			return fmt.Errorf("container_create: nothing created")
		}
		b.closed("container_get", c, b.n(map[int]int{1: 5000, 8: 10000, 64: 10000}[c]), 0, func(k conn, i int) error {
			l, err := k.ContainerGet(b.ctx, ns, id(spread(i, n)))
			if err == nil && l != len(spec) {
				err = fmt.Errorf("spec of %d bytes", l)
			}
			return err
		})
		b.closed("container_delete", c, n, 0, func(k conn, i int) error { return k.ContainerDelete(b.ctx, ns, id(i)) })
	}
	return nil
}

// blobs hands out distinct blobs made from one random base, with digests.
type blobs struct {
	base []byte
	run  uint64
}

func newBlobs(size int) *blobs {
	x := &blobs{base: make([]byte, size), run: uint64(time.Now().UnixNano())}
	rand.New(rand.NewSource(int64(x.run))).Read(x.base)
	return x
}

func (x *blobs) at(i int) ([]byte, string) {
	p := make([]byte, len(x.base))
	copy(p, x.base)
	binary.LittleEndian.PutUint64(p, x.run)
	binary.LittleEndian.PutUint64(p[8:], uint64(i))
	return p, hexDigest(p)
}

func benchContent(b *bencher) error {
	const ns = "peerload-content"
	type blob struct {
		data   []byte
		digest string
	}
	// del deletes, and lets the disk and the daemon's collector finish with it,
	// for it would otherwise be charged to the next bench.
	del := func(l []blob) error {
		err := b.quiet(8, len(l), func(k conn, i int) error { return k.ContentDelete(b.ctx, ns, l[i].digest) })
		time.Sleep(2 * time.Second)
		syscall.Sync()
		time.Sleep(time.Second)
		return err
	}
	serial := 0
	for _, one := range []bool{false, true} {
		name := "content_write_4k"
		if one {
			name = "content_write_4k_1msg"
		}
		for _, c := range []int{1, 8} {
			src := newBlobs(4 * kib)
			var l []blob
			for i, n := 0, b.n(map[int]int{1: 500, 8: 1500}[c]); i < n; i++ {
				d, h := src.at(i)
				l = append(l, blob{d, h})
			}
			serial++
			n := b.closed(name, c, len(l), 4*kib, func(k conn, i int) error {
				return k.ContentWrite(b.ctx, ns, fmt.Sprintf("w4k-%d-%d-%d", rep, serial, i), l[i].data, l[i].digest, root(), one)
			})
			if err := del(l[:n]); err != nil {
				return err
			}
		}
	}

	// 64 MiB blobs: the data is made before the clock starts.
	src := newBlobs(64 * mib)
	ks, err := b.conns(1)
	if err != nil {
		return err
	}
	if _, ok := ks[0].(fdConn); ok {
		for _, c := range []int{1, 8} {
			var l []blob
			for i, n := 0, b.n(map[int]int{1: 4, 8: 16}[c]); i < n; i++ {
				d, h := src.at(100000 + 1000*c + i)
				l = append(l, blob{d, h})
			}
			n := b.closed("content_write_64m_fd", c, len(l), 64*mib, func(k conn, i int) error {
				return k.(fdConn).ContentWriteFD(b.ctx, ns, fmt.Sprintf("f64m-%d-%d-%d", rep, c, i), l[i].data, l[i].digest, root())
			})
			for i := range l {
				l[i].data = nil
			}
			if err := del(l[:n]); err != nil {
				return err
			}
		}
	}
	var keep []blob
	for _, c := range []int{1, 8} {
		var l []blob
		for i, n := 0, b.n(map[int]int{1: 4, 8: 16}[c]); i < n; i++ {
			d, h := src.at(1000*c + i)
			l = append(l, blob{d, h})
		}
		n := b.closed("content_write_64m", c, len(l), 64*mib, func(k conn, i int) error {
			return k.ContentWrite(b.ctx, ns, fmt.Sprintf("w64m-%d-%d-%d", rep, c, i), l[i].data, l[i].digest, root(), false)
		})
		for i := range l {
			l[i].data = nil
		}
		if c == 8 {
			keep = l[:n]
		} else if err := del(l[:n]); err != nil {
			return err
		}
	}
	if len(keep) == 0 {
		return fmt.Errorf("content: no 64 MiB blob to read")
	}
	// One full check of the bytes, outside the clock.
	k0, err := b.conns(1)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := k0[0].ContentRead(b.ctx, ns, keep[0].digest, 0, 64*mib, func(p []byte) { h.Write(p) }); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != keep[0].digest {
		return fmt.Errorf("content: read back %s, wrote %s", got, keep[0].digest)
	}
	for _, c := range []int{1, 8} { // 16 x 64 MiB = 1 GiB in all
		b.closed("content_read_64m", c, b.n(16), 64*mib, func(k conn, i int) error {
			n, err := k.ContentRead(b.ctx, ns, keep[i%len(keep)].digest, 0, 64*mib, nil)
			if err == nil && n != 64*mib {
				err = fmt.Errorf("%d bytes", n)
			}
			return err
		})
	}
	if err := del(keep); err != nil {
		return err
	}
	if b.scale < 0.5 {
		return nil // a smoke run: no 1 GiB blob
	}

	// One 1 GiB blob, read whole by one client or in eight ranges by eight.
	big := newBlobs(gib)
	data, dg := big.at(0)
	big.base = nil
	b.closed("content_write_1g", 1, 1, gib, func(k conn, i int) error {
		return k.ContentWrite(b.ctx, ns, fmt.Sprintf("w1g-%d", rep), data, dg, root(), false)
	})
	data = nil
	for _, c := range []int{1, 8} {
		per := int64(gib / c)
		b.closed("content_read_1g", c, c, per, func(k conn, i int) error {
			n, err := k.ContentRead(b.ctx, ns, dg, int64(i)*per, per, nil)
			if err == nil && n != per {
				err = fmt.Errorf("%d bytes", n)
			}
			return err
		})
		if _, ok := k0[0].(fdConn); ok {
			b.closed("content_read_1g_fd", c, c, per, func(k conn, i int) error {
				n, err := k.(fdConn).ContentReadFD(b.ctx, ns, dg, int64(i)*per, per)
				if err == nil && n != per {
					err = fmt.Errorf("%d bytes", n)
				}
				return err
			})
		}
	}
	return k0[0].ContentDelete(b.ctx, ns, dg)
}

// ---------------------------------------------------------------- events

const evTopic = "/peerload/event"

type subscriber struct {
	c     conn
	ready int32
	got   int64
}

// subscribers opens n subscribers, each on a connection of its own, and
// returns when every one has been seen to receive.
func (b *bencher) subscribers(ctx context.Context, pub conn, n int, fn func(s *subscriber, seq int)) ([]*subscriber, chan error, error) {
	const ns = "peerload-ev"
	errc := make(chan error, n)
	var l []*subscriber
	for i := 0; i < n; i++ {
		c, err := b.t.Dial(b.ctx)
		if err != nil {
			return l, errc, err
		}
		s := &subscriber{c: c}
		l = append(l, s)
		go func() {
			errc <- c.Subscribe(ctx, ns, func(topic, event string) {
				if topic != evTopic {
					return
				}
				if event == "probe" {
					atomic.StoreInt32(&s.ready, 1)
					return
				}
				if seq, err := strconv.Atoi(event); err == nil {
					fn(s, seq)
				}
			})
		}()
	}
	end := time.Now().Add(30 * time.Second)
	for {
		all := true
		for _, s := range l {
			all = all && atomic.LoadInt32(&s.ready) == 1
		}
		if all {
			return l, errc, nil
		}
		select {
		case err := <-errc:
			return l, errc, fmt.Errorf("subscribe: %v", err)
		default:
		}
		if time.Now().After(end) {
			return l, errc, fmt.Errorf("subscribe: not ready after 30 s")
		}
		if err := pub.Publish(b.ctx, ns, evTopic, "probe"); err != nil {
			return l, errc, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func benchEvents(b *bencher) error {
	if err := eventLatency(b); err != nil {
		return err
	}
	for _, x := range []struct {
		publishers, subs, n int
		wait                bool
	}{
		{8, 1, 20000, true}, {8, 1, 40000, false}, {8, 10, 10000, true}, {8, 100, 2000, true}, {64, 100, 4000, true},
	} {
		if err := eventFanout(b, x.publishers, x.subs, b.n(x.n), x.wait); err != nil {
			return err
		}
	}
	return nil
}

func eventLatency(b *bencher) error {
	const name = "event_latency_1sub"
	pubs, err := b.conns(1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	arrived := make(chan time.Time, 1024)
	subs, _, err := b.subscribers(ctx, pubs[0], 1, func(s *subscriber, seq int) { arrived <- time.Now() })
	defer closeSubs(subs)
	if err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond)
	n := b.n(3000)
	lats := make([]time.Duration, 0, n)
	errs := 0
	waitQuiet()
	k := b.begin()
	for i := 0; i < n; i++ {
		t0 := time.Now()
		if err := pubs[0].Publish(b.ctx, "peerload-ev", evTopic, strconv.Itoa(i)); err != nil {
			errs++
			continue
		}
		select {
		case t := <-arrived:
			lats = append(lats, t.Sub(t0))
		case <-time.After(5 * time.Second):
			errs++
		}
	}
	r := result{Bench: name, Clients: 1, N: n, Errors: errs}
	k.end(&r, len(lats))
	r.lat(lats)
	emit(r)
	return nil
}

func closeSubs(l []*subscriber) {
	for _, s := range l {
		s.c.Close()
	}
}

// eventFanout publishes from closed-loop clients; the clock stops when every
// subscriber has every event. The latencies are publish -> receipt. Without wait, a
// publisher sends on while up to 256 of its events are unanswered; a target that
// has no such thing is not measured.
func eventFanout(b *bencher, publishers, subs, n int, wait bool) error {
	name := fmt.Sprintf("event_fanout_%dsub", subs)
	if !wait {
		name += "_nowait"
	}
	pubs, err := b.conns(publishers)
	if err != nil {
		return err
	}
	if _, ok := pubs[0].(asyncConn); !wait && !ok {
		return nil
	}
	sent := make([]int64, n)
	base := time.Now()
	lats := make([][]time.Duration, subs)
	index := map[*subscriber]int{}
	var imu sync.RWMutex
	var done sync.WaitGroup
	done.Add(subs)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	list, errc, err := b.subscribers(ctx, pubs[0], subs, func(s *subscriber, seq int) {
		imu.RLock()
		i := index[s]
		imu.RUnlock()
		lats[i] = append(lats[i], time.Since(base)-time.Duration(atomic.LoadInt64(&sent[seq])))
		if s.got++; s.got == int64(n) {
			done.Done()
		}
	})
	defer closeSubs(list)
	if err != nil {
		return err
	}
	imu.Lock()
	for i, s := range list {
		index[s] = i
		lats[i] = make([]time.Duration, 0, n)
	}
	imu.Unlock()
	time.Sleep(100 * time.Millisecond)

	var next, errs int64
	waitQuiet()
	k := b.begin()
	var wg sync.WaitGroup
	for p := 0; p < publishers; p++ {
		wg.Add(1)
		go func(c conn) {
			defer wg.Done()
			publish := func(ns, topic, event string) error { return c.Publish(b.ctx, ns, topic, event) }
			drain := func() error { return nil }
			if !wait {
				publish, drain = c.(asyncConn).Publisher(b.ctx, 256)
			}
			for {
				i := int(atomic.AddInt64(&next, 1)) - 1
				if i >= n {
					break
				}
				atomic.StoreInt64(&sent[i], int64(time.Since(base)))
				if err := publish("peerload-ev", evTopic, strconv.Itoa(i)); err != nil {
					atomic.AddInt64(&errs, 1)
				}
			}
			if drain() != nil {
				atomic.AddInt64(&errs, 1)
			}
		}(pubs[p])
	}
	wg.Wait()
	all := make(chan struct{})
	go func() { done.Wait(); close(all) }()
	r := result{Bench: name, Clients: publishers, N: n}
	select {
	case <-all:
	case err := <-errc:
		r.Err = fmt.Sprint(err)
		errs++
	case <-time.After(60 * time.Second):
		r.Err = "not every event was delivered within 60 s"
		errs++
	}
	k.end(&r, n)
	r.Deliv = round(r.Ops * float64(subs))
	r.Errors = int(errs)
	if r.Err == "" {
		var l []time.Duration
		for _, x := range lats {
			l = append(l, x...)
		}
		r.lat(l)
	}
	emit(r)
	return nil
}

// ---------------------------------------------------------------- GC

const (
	gcNS       = "peerload-gc"
	gcPerImage = 10 // one manifest and nine children
	gcClients  = 16
)

// gcSeed makes images until blobs [from, to) exist, each referenced by an
// image. The image comes first and each manifest before its children, so that
// a collection that runs meanwhile keeps what is there.
func gcSeed(b *bencher, from, to int) error {
	return b.quiet(gcClients, (to-from)/gcPerImage, func(k conn, i int) error {
		img := from/gcPerImage + i
		var kids [][]byte
		labels := map[string]string{}
		for j := 1; j < gcPerImage; j++ {
			p := []byte(fmt.Sprintf("peerload layer %d of image %d", j, img))
			kids = append(kids, p)
			labels[fmt.Sprintf("containerd.io/gc.ref.content.%d", j-1)] = hexDigest(p)
		}
		m := []byte(fmt.Sprintf("peerload manifest of image %d", img))
		if err := k.ImageCreate(b.ctx, gcNS, imageName(img), descriptor{"application/vnd.oci.image.manifest.v1+json", hexDigest(m), int64(len(m))}, nil); err != nil {
			return err
		}
		if err := k.ContentWrite(b.ctx, gcNS, "m-"+strconv.Itoa(img), m, hexDigest(m), labels, true); err != nil {
			return err
		}
		for j, p := range kids {
			if err := k.ContentWrite(b.ctx, gcNS, fmt.Sprintf("k-%d-%d", img, j), p, hexDigest(p), nil, true); err != nil {
				return err
			}
		}
		return nil
	})
}

// gcBench times the synchronous delete of one image, with one blob, that has
// become garbage among `blobs` blobs that are referenced.
func gcBench(b *bencher, blobs int) error {
	ks, err := b.conns(3)
	if err != nil {
		return err
	}
	last := hexDigest([]byte(fmt.Sprintf("peerload layer %d of image %d", gcPerImage-1, blobs/gcPerImage-1)))
	if ok, err := ks[0].ContentExists(b.ctx, gcNS, last); err != nil || !ok {
		return fmt.Errorf("gc: the population is not complete (%v)", err)
	}
	label := map[int]string{1000: "1k", 10000: "10k", 100000: "100k"}[blobs]
	if label == "" {
		label = strconv.Itoa(blobs)
	}
	stamp := time.Now().UnixNano()
	serial := 0
	garbage := func() (name, digest string, err error) {
		serial++
		p := []byte(fmt.Sprintf("peerload garbage %d %d", stamp, serial))
		digest = hexDigest(p)
		name = fmt.Sprintf("registry.example.com/peerload/garbage-%d:%d", stamp, serial)
		if err = ks[0].ImageCreate(b.ctx, gcNS, name, descriptor{"application/vnd.oci.image.manifest.v1+json", digest, int64(len(p))}, nil); err == nil {
			err = ks[0].ContentWrite(b.ctx, gcNS, digest, p, digest, nil, true)
		}
		return
	}
	// With `more` it goes on as long as that says, and the CPU time of single deletes
	// is not looked at: to find the daemon's processes takes a processor for two
	// milliseconds, which others would feel.
	run := func(name string, n int, more func() bool) error {
		waitQuiet()
		g := b.begin()
		var l []time.Duration
		errs := 0
		var first string
		var cpuS, cpuC time.Duration
		for i := 0; i < n || more != nil && more(); i++ {
			img, dg, err := garbage()
			if err != nil {
				return err
			}
			var k bracket
			if more == nil {
				k = b.begin()
			}
			t0 := time.Now()
			err = ks[0].ImageDelete(b.ctx, gcNS, img, true)
			l = append(l, time.Since(t0))
			if more == nil {
				cpuC += selfCPU() - k.cli
				cpuS += cpuOf(b.pid) - k.srv
			}
			if err == nil {
				var ok bool
				if ok, err = ks[0].ContentExists(b.ctx, gcNS, dg); err == nil && ok {
					err = fmt.Errorf("the garbage blob is still there")
				}
			}
			if err != nil {
				errs++
				first = err.Error()
			}
		}
		var sum time.Duration
		for _, d := range l {
			sum += d
		}
		n = len(l)
		r := result{Bench: name, Clients: 1, N: n, Errors: errs, Err: first}
		g.end(&r, n)
		r.Ops = round(float64(n) / sum.Seconds())
		if more == nil {
			r.CliCPU = round(float64(cpuC.Microseconds()) / float64(n))
			r.SrvCPU = round(float64(cpuS.Microseconds()) / float64(n))
		}
		r.lat(l)
		emit(r)
		return nil
	}
	n := map[int]int{1000: 40, 10000: 20, 100000: 8}[blobs]
	if n == 0 {
		n = 10
	}
	update := func(c conn, i int) error {
		return c.ImageUpdate(b.ctx, gcNS, imageName(spread(i, blobs/gcPerImage)), descriptor{}, labelsOf(i), []string{"labels"})
	}
	if err := run("gc_"+label, n, nil); err != nil {
		return err
	}

	// What others feel while such collections run back to back: a reader and
	// a writer, each with a pause of 1 ms between its calls. Collections go on until
	// there were as many updates as quiet ones, for a p99 of two dozen is their worst.
	const updates = 1000
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var errs, updated int64
	imgs := blobs / gcPerImage
	// The same writer by itself, with the same pause: what is quiet.
	{
		k := b.begin()
		var l []time.Duration
		var errs int
		for i := 0; i < updates; i++ {
			time.Sleep(time.Millisecond)
			t0 := time.Now()
			if update(ks[2], i) != nil {
				errs++
			}
			l = append(l, time.Since(t0))
		}
		r := result{Bench: "image_update_quiet_" + label, Clients: 1, N: len(l), Errors: errs}
		k.end(&r, len(l))
		r.lat(l)
		emit(r)
	}
	load := func(op func(i int) error) *[]time.Duration {
		l := new([]time.Duration)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				t0 := time.Now()
				if op(i) != nil {
					atomic.AddInt64(&errs, 1)
				}
				*l = append(*l, time.Since(t0))
			}
		}()
		return l
	}
	k := b.begin()
	got := load(func(i int) error { return ks[1].ImageGet(b.ctx, gcNS, imageName(spread(i, imgs))) })
	upd := load(func(i int) error {
		defer atomic.AddInt64(&updated, 1)
		return update(ks[2], i)
	})
	end := time.Now().Add(15 * time.Second)
	err = run("gc_"+label+"_with_2_clients", n, func() bool {
		return atomic.LoadInt64(&updated) < updates && time.Now().Before(end)
	})
	close(stop)
	wg.Wait()
	for _, x := range []struct {
		name string
		l    []time.Duration
	}{{"image_get_during_gc_" + label, *got}, {"image_update_during_gc_" + label, *upd}} {
		r := result{Bench: x.name, Clients: 1, N: len(x.l), Errors: int(errs)}
		k.end(&r, len(x.l))
		r.SrvCPU, r.CliCPU, r.Other = 0, 0, 0
		r.lat(x.l)
		emit(r)
	}
	return err
}

func warn(format string, a ...interface{}) { fmt.Fprintf(os.Stderr, "peerload: "+format+"\n", a...) }
