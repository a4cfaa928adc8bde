// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// result is one line of output. Latencies are microseconds.
type result struct {
	Bench   string  `json:"bench"`
	Target  string  `json:"target"`
	Clients int     `json:"clients"`
	N       int     `json:"n"`
	Ops     float64 `json:"ops_per_s"`
	P50     float64 `json:"p50_us"`
	P90     float64 `json:"p90_us"`
	P99     float64 `json:"p99_us"`
	Errors  int     `json:"errors"`

	Max    float64 `json:"max_us"`
	MBs    float64 `json:"mb_per_s,omitempty"`         // 10^6 bytes per second
	Deliv  float64 `json:"deliveries_per_s,omitempty"` // events: subscribers x events
	SrvCPU float64 `json:"srv_cpu_us_per_op,omitempty"`
	CliCPU float64 `json:"cli_cpu_us_per_op,omitempty"`
	Other  float64 `json:"other_cpu"` // processors that others used meanwhile
	Load1  float64 `json:"load1"`
	Rep    int     `json:"rep"`
	Err    string  `json:"first_error,omitempty"`
}

// metric is one line of output for a single value.
type metric struct {
	Metric string  `json:"metric"`
	Target string  `json:"target"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Other  float64 `json:"other_cpu,omitempty"`
	Load1  float64 `json:"load1"`
	Rep    int     `json:"rep"`
	Note   string  `json:"note,omitempty"`
}

var (
	outMu sync.Mutex
	out   = json.NewEncoder(os.Stdout)
	rep   int
)

func emit(v interface{}) {
	outMu.Lock()
	defer outMu.Unlock()
	out.Encode(v)
}

func emitMetric(target, name string, v float64, unit, note string) {
	emit(metric{Metric: name, Target: target, Value: round(v), Unit: unit, Other: calibOthers, Load1: load1(), Rep: rep, Note: note})
}

func load1() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	f, _ := strconv.ParseFloat(strings.SplitN(string(b), " ", 2)[0], 64)
	return f
}

func round(f float64) float64 {
	s, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 5, 64), 64)
	return s
}

func us(d time.Duration) float64 { return round(float64(d.Nanoseconds()) / 1e3) }

func pct(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(p*float64(len(sorted))+0.9999999) - 1
	if i < 0 {
		i = 0
	}
	if i >= len(sorted) {
		i = len(sorted) - 1
	}
	return sorted[i]
}

func (r *result) lat(d []time.Duration) {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	r.P50, r.P90, r.P99 = us(pct(d, .5)), us(pct(d, .9)), us(pct(d, .99))
	if len(d) > 0 {
		r.Max = us(d[len(d)-1])
	}
}

// cpuOf returns the user+system CPU time of a process and its descendants.
func cpuOf(pid int) time.Duration {
	var t time.Duration
	for _, p := range tree(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
		u, _ := strconv.ParseInt(f[11], 10, 64)
		s, _ := strconv.ParseInt(f[12], 10, 64)
		t += time.Duration(u+s) * (time.Second / 100)
	}
	return t
}

// tree lists pid and its descendants.
func tree(pid int) []int {
	if pid <= 0 {
		return nil
	}
	kids := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		b, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
		pp, _ := strconv.Atoi(f[1])
		p, _ := strconv.Atoi(strings.Split(s, "/")[2])
		kids[pp] = append(kids[pp], p)
	}
	l := []int{pid}
	for i := 0; i < len(l); i++ {
		l = append(l, kids[l[i]]...)
	}
	return l
}

// busyCPU is the CPU time that the whole machine has used.
func busyCPU() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	f := strings.Fields(strings.SplitN(string(b), "\n", 2)[0])
	var t int64
	for i, x := range f[1:] {
		if i == 3 || i == 4 || i > 7 { // idle, iowait; guest is in user already
			continue
		}
		v, _ := strconv.ParseInt(x, 10, 64)
		t += v
	}
	return time.Duration(t) * (time.Second / 100)
}

func others(d, el time.Duration) float64 {
	if d < 0 || el <= 0 {
		return 0
	}
	f, _ := strconv.ParseFloat(strconv.FormatFloat(d.Seconds()/el.Seconds(), 'f', 2, 64), 64)
	return f
}

// quietMax is how long a bench waits for a moment in which others use less
// than a third of a processor. It starts anyway after that.
var quietMax time.Duration

func waitQuiet() {
	for end := time.Now().Add(quietMax); time.Now().Before(end); {
		t, b, c := time.Now(), busyCPU(), selfCPU()
		time.Sleep(400 * time.Millisecond)
		if others(busyCPU()-b-(selfCPU()-c), time.Since(t)) < 0.34 {
			return
		}
		time.Sleep(600 * time.Millisecond)
	}
}

func selfCPU() time.Duration {
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// bencher holds the connections and the settings of one run.
type bencher struct {
	ctx     context.Context
	t       target
	pid     int
	scale   float64
	maxTime time.Duration
	pool    []conn
}

func (b *bencher) n(n int) int {
	n = int(float64(n) * b.scale)
	if n < 1 {
		n = 1
	}
	return n
}

// conns returns k separate, warmed connections.
func (b *bencher) conns(k int) ([]conn, error) {
	for len(b.pool) < k {
		c, err := b.t.Dial(b.ctx)
		if err != nil {
			return nil, err
		}
		for i := 0; i < 3; i++ {
			if _, err := c.Version(b.ctx); err != nil {
				return nil, err
			}
		}
		b.pool = append(b.pool, c)
	}
	return b.pool[:k], nil
}

func (b *bencher) close() {
	for _, c := range b.pool {
		c.Close()
	}
	b.pool = nil
}

type bracket struct {
	b             *bencher
	t0            time.Time
	srv, cli, all time.Duration
	load          float64
}

func (b *bencher) begin() bracket {
	return bracket{b: b, load: load1(), srv: cpuOf(b.pid), cli: selfCPU(), all: busyCPU(), t0: time.Now()}
}

func (k bracket) end(r *result, ops int) {
	el := time.Since(k.t0)
	cli, srv, all := selfCPU()-k.cli, time.Duration(0), busyCPU()-k.all
	if k.b.pid > 0 {
		srv = cpuOf(k.b.pid) - k.srv
	}
	r.Ops = round(float64(ops) / el.Seconds())
	r.Other = others(all-cli-srv, el)
	if ops > 0 {
		r.CliCPU = round(float64(cli.Microseconds()) / float64(ops))
		r.SrvCPU = round(float64(srv.Microseconds()) / float64(ops))
	}
	r.Load1 = k.load
	r.Rep = rep
	r.Target = k.b.t.Name()
}

// closed runs op n times from `clients` closed-loop clients, each on a
// connection of its own, and returns the number of indexes used (0..n-1 in
// order, fewer when the time cap is hit).
func (b *bencher) closed(name string, clients, n int, bytesPerOp int64, op func(c conn, i int) error) int {
	conns, err := b.conns(clients)
	if err != nil {
		emit(result{Bench: name, Target: b.t.Name(), Clients: clients, Errors: 1, Err: err.Error(), Rep: rep})
		return 0
	}
	var next, errs int64
	var firstErr atomic.Value
	lats := make([][]time.Duration, clients)
	var wg sync.WaitGroup
	start := make(chan struct{})
	var deadline time.Time
	for w := 0; w < clients; w++ {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			l := make([]time.Duration, 0, n/clients+16)
			<-start
			for {
				t0 := time.Now()
				if t0.After(deadline) {
					break
				}
				i := int(atomic.AddInt64(&next, 1)) - 1
				if i >= n {
					break
				}
				if err := op(conns[w], i); err != nil {
					atomic.AddInt64(&errs, 1)
					firstErr.CompareAndSwap(nil, err.Error())
				}
				l = append(l, time.Since(t0))
			}
			lats[w] = l
		}(w)
	}
	waitQuiet()
	k := b.begin()
	deadline = time.Now().Add(b.maxTime)
	close(start)
	wg.Wait()
	var all []time.Duration
	for _, l := range lats {
		all = append(all, l...)
	}
	r := result{Bench: name, Clients: clients, N: len(all), Errors: int(errs)}
	k.end(&r, len(all))
	if bytesPerOp > 0 {
		r.MBs = round(r.Ops * float64(bytesPerOp) / 1e6)
	}
	if e, ok := firstErr.Load().(string); ok {
		r.Err = e
	}
	r.lat(all)
	emit(r)
	return len(all)
}

// quiet runs op n times without a line of output (setting up, cleaning up).
func (b *bencher) quiet(clients, n int, op func(c conn, i int) error) error {
	conns, err := b.conns(clients)
	if err != nil {
		return err
	}
	var next int64
	var wg sync.WaitGroup
	errc := make(chan error, clients)
	for w := 0; w < clients; w++ {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			for {
				i := int(atomic.AddInt64(&next, 1)) - 1
				if i >= n {
					return
				}
				if err := op(conns[w], i); err != nil {
					errc <- err
					return
				}
			}
		}(w)
	}
	wg.Wait()
	select {
	case err := <-errc:
		return err
	default:
		return nil
	}
}
