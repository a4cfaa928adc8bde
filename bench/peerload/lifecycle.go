// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is a daemon that we start and stop ourselves.
type daemon struct {
	cmd  *exec.Cmd
	done chan error
}

func startDaemon(argv []string, log string) (*daemon, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd, make(chan error, 1)}
	go func() { d.done <- cmd.Wait() }()
	return d, nil
}

// stop sends SIGTERM and returns the time until the process is gone.
func (d *daemon) stop() (time.Duration, error) {
	t := time.Now()
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		return time.Since(t), nil
	case <-time.After(60 * time.Second):
		d.cmd.Process.Kill()
		<-d.done
		return time.Since(t), fmt.Errorf("no exit within 60 s of SIGTERM")
	}
}

// firstRPC waits for the socket and for the first answers on it: version, then
// the images of namespace "default". It returns when each came.
func (d *daemon) firstRPC(ctx context.Context, t target, sock string) (version, list time.Time, err error) {
	end := time.Now().Add(60 * time.Second)
	for {
		c, err := net.Dial("unix", sock)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			return version, list, fmt.Errorf("no socket after 60 s")
		}
		select {
		case err := <-d.done:
			return version, list, fmt.Errorf("the daemon ended: %v", err)
		case <-time.After(300 * time.Microsecond):
		}
	}
	k, err := t.Dial(ctx)
	if err != nil {
		return
	}
	defer k.Close()
	if _, err = k.Version(ctx); err != nil {
		return
	}
	version = time.Now()
	_, err = k.ImageList(ctx, "default")
	list = time.Now()
	return
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

type mem struct{ rss, pss, anon, hwm float64 } // MiB, over the process tree

func memOf(pid int) (m mem, procs, threads int) {
	for _, p := range tree(pid) {
		procs++
		for _, l := range lines(fmt.Sprintf("/proc/%d/status", p)) {
			f := strings.Fields(l)
			if len(f) < 2 {
				continue
			}
			v, _ := strconv.ParseFloat(f[1], 64)
			switch f[0] {
			case "VmRSS:":
				m.rss += v / 1024
			case "RssAnon:":
				m.anon += v / 1024
			case "VmHWM:":
				m.hwm += v / 1024
			case "Threads:":
				threads += int(v)
			}
		}
		for _, l := range lines(fmt.Sprintf("/proc/%d/smaps_rollup", p)) {
			if f := strings.Fields(l); len(f) > 1 && f[0] == "Pss:" {
				v, _ := strconv.ParseFloat(f[1], 64)
				m.pss += v / 1024
			}
		}
	}
	return
}

func lines(path string) (l []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		l = append(l, s.Text())
	}
	return
}

// sizeOf is the length and the allocated size of the files (or trees) that
// match the patterns, in bytes.
func sizeOf(patterns []string) (length, allocated int64) {
	for _, p := range patterns {
		ms, _ := filepath.Glob(p)
		for _, m := range ms {
			filepath.Walk(m, func(_ string, fi os.FileInfo, err error) error {
				if err == nil && fi.Mode().IsRegular() {
					length += fi.Size()
					allocated += fi.Sys().(*syscall.Stat_t).Blocks * 512
				}
				return nil
			})
		}
	}
	return
}

func emitMem(t, when string, pid int) {
	m, procs, threads := memOf(pid)
	emitMetric(t, "rss_"+when, m.rss, "MiB", fmt.Sprintf("%d process(es), %d threads", procs, threads))
	emitMetric(t, "rss_anon_"+when, m.anon, "MiB", "")
	emitMetric(t, "pss_"+when, m.pss, "MiB", "")
	emitMetric(t, "rss_peak_"+when, m.hwm, "MiB", "")
}

// lifecycle: start, idle memory, memory and database after 10,000 images,
// stop, and the same start and stop with the 10,000 images in place.
func lifecycle(t target, sock, log string, db []string, argv []string) error {
	ctx := context.Background()
	name := t.Name()
	startStop := func(label string, k int) error {
		var st, li, sp []float64
		for i := 0; i < k; i++ {
			waitQuiet()
			t0 := time.Now()
			d, err := startDaemon(argv, log)
			if err != nil {
				return err
			}
			t1, t2, err := d.firstRPC(ctx, t, sock)
			if err != nil {
				d.stop()
				return err
			}
			st = append(st, ms(t1.Sub(t0)))
			li = append(li, ms(t2.Sub(t0)))
			time.Sleep(300 * time.Millisecond)
			el, err := d.stop()
			if err != nil {
				return err
			}
			sp = append(sp, ms(el))
		}
		note := fmt.Sprintf("median of %d", k)
		emitMetric(name, "start_to_first_rpc_"+label, median(st), "ms", note)
		emitMetric(name, "start_to_first_list_"+label, median(li), "ms", note)
		emitMetric(name, "shutdown_"+label, median(sp), "ms", note)
		return nil
	}
	// 1. The very first start: the state directories are made.
	waitQuiet()
	t0 := time.Now()
	d, err := startDaemon(argv, log)
	if err != nil {
		return err
	}
	t1, _, err := d.firstRPC(ctx, t, sock)
	if err != nil {
		d.stop()
		return err
	}
	emitMetric(name, "start_to_first_rpc_fresh_root", ms(t1.Sub(t0)), "ms", "")
	time.Sleep(3 * time.Second)
	emitMem(name, "idle", d.cmd.Process.Pid)
	c0 := cpuOf(d.cmd.Process.Pid)
	time.Sleep(5 * time.Second)
	emitMetric(name, "idle_cpu", float64((cpuOf(d.cmd.Process.Pid)-c0).Milliseconds())/5, "ms/s", "CPU time used in 5 s with no client")
	if _, err := d.stop(); err != nil {
		return err
	}
	// 2. Start and stop with an empty database.
	if err := startStop("empty", 7); err != nil {
		return err
	}
	// 3. 10,000 images.
	if d, err = startDaemon(argv, log); err != nil {
		return err
	}
	if _, _, err := d.firstRPC(ctx, t, sock); err != nil {
		d.stop()
		return err
	}
	b := &bencher{ctx: ctx, t: t, pid: d.cmd.Process.Pid, scale: 1, maxTime: time.Minute}
	waitQuiet()
	t0 = time.Now()
	if err := populate(b, "default", 10000); err != nil {
		d.stop()
		return err
	}
	emitMetric(name, "create_10k_images_64_clients", time.Since(t0).Seconds(), "s", "")
	b.close()
	time.Sleep(3 * time.Second)
	emitMem(name, "after_10k", d.cmd.Process.Pid)
	if len(db) > 0 {
		length, alloc := sizeOf(db)
		emitMetric(name, "db_length_after_10k", float64(length)/1e6, "MB", "")
		emitMetric(name, "db_allocated_after_10k", float64(alloc)/1e6, "MB", "")
	}
	ks, err := b.conns(1)
	if err == nil {
		_, err = ks[0].ImageList(ctx, "default")
	}
	b.close()
	if err != nil {
		d.stop()
		return err
	}
	time.Sleep(time.Second)
	emitMem(name, "after_10k_listed", d.cmd.Process.Pid)
	el, err := d.stop()
	if err != nil {
		return err
	}
	emitMetric(name, "shutdown_after_load", ms(el), "ms", "")
	// 4. Start and stop with the 10,000 images there.
	return startStop("10k", 5)
}
