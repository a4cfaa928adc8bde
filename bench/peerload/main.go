// Copyright The pluggd Authors.
// SPDX-License-Identifier: Apache-2.0

// Command peerload measures a container daemon from the outside: containerd
// over gRPC or pluggd over msgpack-RPC, with the same benches. See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	cmd, rest := os.Args[1], os.Args[2:]
	var err error
	switch cmd {
	case "echo-server":
		err = echoServer(rest[0])
	case "calib":
		fs := flag.NewFlagSet("calib", flag.ExitOnError)
		dir := fs.String("dir", os.TempDir(), "directory on the file system of the daemon's root")
		fs.IntVar(&rep, "rep", 1, "number of this repetition")
		fs.DurationVar(&quietMax, "quiet", 0, "wait up to this long, before each, for the machine to be quiet")
		fs.Parse(rest)
		err = calib(*dir)
	case "bench", "gc", "gcseed":
		err = bench(cmd, rest)
	case "lifecycle":
		fs := flag.NewFlagSet("lifecycle", flag.ExitOnError)
		tn := fs.String("target", "containerd", "containerd or pluggd")
		sock := fs.String("sock", "", "socket that the daemon will make")
		log := fs.String("log", os.DevNull, "the daemon's output goes here")
		db := fs.String("db", "", "glob patterns of the metadata database, comma separated")
		fs.IntVar(&rep, "rep", 1, "number of this repetition")
		fs.DurationVar(&quietMax, "quiet", 0, "wait up to this long, before each part, for the machine to be quiet")
		fs.Parse(rest)
		var t target
		if t, err = newTarget(*tn, *sock); err == nil {
			var pats []string
			if *db != "" {
				pats = strings.Split(*db, ",")
			}
			err = lifecycle(t, *sock, *log, pats, fs.Args())
		}
	case "summary":
		err = summary(rest)
	default:
		usage()
	}
	if err != nil {
		warn("%s: %v", cmd, err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, `usage: peerload bench     -target containerd|pluggd -sock PATH [-pid N] [-groups a,b] [-scale F]
       peerload gcseed    -target T -sock PATH -blobs 100000 [-from 0]
       peerload gc        -target T -sock PATH [-pid N] -blobs 1000,10000 [-preseeded]
       peerload calib     [-dir DIR]
       peerload lifecycle -target T -sock PATH [-db GLOB] [-log FILE] -- COMMAND...
       peerload summary   FILE.jsonl...`)
	os.Exit(2)
}

func bench(cmd string, argv []string) error {
	fs := flag.NewFlagSet(cmd, flag.ExitOnError)
	tn := fs.String("target", "containerd", "containerd or pluggd")
	sock := fs.String("sock", "", "socket of the running daemon")
	pid := fs.Int("pid", 0, "pid of the daemon, for its CPU time")
	scale := fs.Float64("scale", 1, "factor on the numbers of operations")
	maxT := fs.Duration("maxtime", 20*time.Second, "time cap of one bench")
	gs := fs.String("groups", "", "groups to run, comma separated (all when empty)")
	blobs := fs.String("blobs", "1000,10000,100000", "gc: population sizes, rising")
	from := fs.Int("from", 0, "gcseed: blobs that are there already")
	pre := fs.Bool("preseeded", false, "gc: the population is there already")
	fs.IntVar(&rep, "rep", 1, "number of this repetition")
	fs.DurationVar(&quietMax, "quiet", 0, "wait up to this long, before each bench, for the machine to be quiet")
	fs.Parse(argv)
	t, err := newTarget(*tn, *sock)
	if err != nil {
		return err
	}
	b := &bencher{ctx: context.Background(), t: t, pid: *pid, scale: *scale, maxTime: *maxT}
	defer b.close()
	var sizes []int
	for _, s := range strings.Split(*blobs, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		sizes = append(sizes, n)
	}
	switch cmd {
	case "gcseed":
		return gcSeed(b, *from, sizes[len(sizes)-1])
	case "gc":
		have := *from
		for _, n := range sizes {
			if !*pre {
				if err := gcSeed(b, have, n); err != nil {
					return err
				}
				have = n
			}
			if err := gcBench(b, n); err != nil {
				return err
			}
		}
		return nil
	}
	failed := 0
	for _, g := range groups {
		if *gs != "" && !contains(strings.Split(*gs, ","), g.name) {
			continue
		}
		if err := g.run(b); err != nil {
			warn("%s: %v", g.name, err)
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d group(s) failed", failed)
	}
	return nil
}

func contains(l []string, s string) bool {
	for _, x := range l {
		if x == s {
			return true
		}
	}
	return false
}
